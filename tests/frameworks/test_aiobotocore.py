"""aiobotocore: Bedrock's calls through aiohttp, each once; boto3's hook lets them pass."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from wire_traffic import aws_message

import llm_audit
from llm_audit import request_of
from llm_audit.testing import RecordedCalls

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
SAID = {"message": {"role": "assistant", "content": [{"text": "Hello"}]}}
ANSWER = {"output": SAID, "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 2}}
EVENTS = (
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"delta": {"text": "Hel"}, "contentBlockIndex": 0}),
    ("contentBlockDelta", {"delta": {"text": "lo"}, "contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2}}),
)


class _Bedrock(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        kind, body = "application/json", json.dumps(ANSWER).encode()
        if self.path.endswith("-stream"):
            kind = "application/vnd.amazon.eventstream"
            body = b"".join(aws_message(name, payload) for name, payload in EVENTS)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start Bedrock on loopback."""
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("REGION", "r")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bedrock) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("names", [(), ("bedrock",)])
async def test_each_call_is_recorded_once(
    names: tuple[str, ...], url: str, llm_audit_records: RecordedCalls
) -> None:
    """In one piece and streamed: the app gets what it gets without us."""
    session: Any = pytest.importorskip("aiobotocore.session").get_session()
    llm_audit.instrument(*names)
    try:
        async with session.create_client(
            "bedrock-runtime", region_name="eu-central-1", endpoint_url=url
        ) as client:
            answer = await client.converse(modelId="nova", **ASKED)
            assert answer["output"] == SAID
            stream = await client.converse_stream(modelId="nova", **ASKED)
            assert len([event async for event in stream["stream"]]) == len(EVENTS)
    finally:
        llm_audit.uninstrument()

    for call in llm_audit_records:
        assert request_of(call) == ASKED
        assert (call.model, call.provider, call.status) == ("nova", "bedrock", "SUCCESS")
        assert call.captured_by == "aiohttp"
        assert call.response_message == SAID["message"]
        assert call.total_tokens == 3
    assert [call.streamed for call in llm_audit_records] == [None, True]
