"""Which requests are attempts of one call, and which are calls of their own."""

import asyncio
import gzip
import io
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx2
import pytest

import llm_audit
from llm_audit import LLMLogger, audit_context
from llm_audit.capture import calls
from llm_audit.testing import RecordedCalls

URL = "https://api.mistral.ai/v1/chat/completions"
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Hi."}}]}
COUNT = "x-stainless-retry-count"
BROKEN = httpx2.ConnectError("no")


class Client(httpx2.Client):
    """Is answered with what is said with each request: a status, or an exception."""

    def __init__(self) -> None:
        super().__init__(transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        said = request.extensions["said"]
        if isinstance(said, BaseException):
            raise said
        body = ANSWER if said < 400 else {"error": {"message": "no", "type": "busy"}}
        return httpx2.Response(said, json=body, headers=request.extensions["headers"])

    def ask(
        self, said: Any, text: str = "Hi", url: str = URL, count: int | None = None, **headers: str
    ) -> None:
        """Ask once, as a client does for one attempt."""
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        named = {} if count is None else {COUNT: str(count)}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        request = self.build_request("POST", url, json=body, headers=named)
        request.extensions |= {"said": said, "headers": given}
        with suppress(httpx2.TransportError):
            self.send(request)


@pytest.fixture
def client(llm_audit_records: RecordedCalls) -> Iterator[Client]:
    """Give a client whose calls are captured."""
    assert len(llm_audit_records) == 0
    calls.last_begun.set(None)
    llm_audit.instrument()
    yield Client()
    llm_audit.uninstrument()
    calls.last_begun.set(None)


def found(records: RecordedCalls) -> list[tuple[str, list[Any]]]:
    """Return how each call ended, and what each of its attempts was, if several."""
    return [
        (str(call.status), [attempt.status or attempt.error for attempt in call.attempts])
        for call in records
    ]


ALIKE: list[tuple[str, list[dict[str, Any]], list[tuple[str, list[Any]]]]] = [
    ("tried again", [{"said": 500}, {"said": 200}], [("SUCCESS", [500, 200])]),
    (
        "tried until it is given up",
        [{"said": 429}, {"said": BROKEN}, {"said": 503}],
        [("ERROR", [429, "ConnectError", 503])],
    ),
    ("another body", [{"said": 500}, {"said": 200, "text": "x"}], [("ERROR", []), ("SUCCESS", [])]),
    ("nothing to retry", [{"said": 400}, {"said": 200}], [("ERROR", []), ("SUCCESS", [])]),
    ("asked twice", [{"said": 200}, {"said": 200}], [("SUCCESS", []), ("SUCCESS", [])]),
    (
        "not to be tried again",
        [{"said": 500, "x_should_retry": "false"}, {"said": 200}],
        [("ERROR", []), ("SUCCESS", [])],
    ),
    (
        "to be tried again",
        [{"said": 400, "x_should_retry": "true"}, {"said": 200}],
        [("SUCCESS", [400, 200])],
    ),
    (
        "counted",
        [{"said": 500, "count": 0}, {"said": 500, "count": 1}, {"said": 200, "count": 2}],
        [("SUCCESS", [500, 500, 200])],
    ),
    (
        "counted anew",
        [{"said": 500, "count": 0}, {"said": 200, "count": 0}],
        [("ERROR", []), ("SUCCESS", [])],
    ),
    (
        "at another place",
        [{"said": 500, "count": 0}, {"said": 200, "count": 1, "url": URL.replace("api", "eu")}],
        [("ERROR", []), ("SUCCESS", [])],
    ),
    (
        "another between them",
        [{"said": 500}, {"said": 200, "text": "x"}, {"said": 200}],
        [("ERROR", []), ("SUCCESS", []), ("SUCCESS", [])],
    ),
]


@pytest.mark.parametrize(
    ("asked", "expected"), [case[1:] for case in ALIKE], ids=[case[0] for case in ALIKE]
)
def test_requests_are_one_call_or_several(
    asked: list[dict[str, Any]],
    expected: list[tuple[str, list[Any]]],
    client: Client,
    llm_audit_records: RecordedCalls,
) -> None:
    """By the number that the client gives its retries, else by being alike."""
    for request in asked:
        client.ask(**request)
    assert found(llm_audit_records) == expected


def test_a_retry_comes_soon_and_in_the_same_place(
    client: Client, llm_audit_records: RecordedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked like it much later, or in another call's block, is another call."""
    client.ask(500)
    with LLMLogger.log_call(call_type="AGENT"):
        client.ask(500)
        monkeypatch.setattr(calls, "LONGEST_WAIT_NS", -1)
        client.ask(200)
    assert [one for one in found(llm_audit_records) if one[1]] == []
    assert len(llm_audit_records) == 4


def test_no_two_who_ask_share_a_call(client: Client, llm_audit_records: RecordedCalls) -> None:
    """The thread that serves them one after the other is the same, and so is what they ask."""
    for about in ({"user_id": 1}, {"session_id": 1}, {"company_id": 1}, {"trace_id": 1}, {}, {}):
        with audit_context(**about):
            client.ask(500)
    assert found(llm_audit_records) == [("ERROR", [])] * 6


def test_what_nobody_has_read_is_not_asked_again(
    client: Client, llm_audit_records: RecordedCalls
) -> None:
    """Two uploads from files may be of two files, unless the client says which try it is."""
    assert client
    made = httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(500, json={"error": "no"}))
    )
    url = URL.replace("chat/completions", "audio/transcriptions")
    for count in ({}, {}, {COUNT: "0"}, {COUNT: "1"}):
        files = {"file": ("a.wav", io.BytesIO(b"RIFF"), "audio/wav")}
        made.post(url, data={"model": "m"}, files=files, headers=count)
    assert found(llm_audit_records) == [("ERROR", []), ("ERROR", []), ("ERROR", [500, 500])]


def test_one_of_several_tasks_goes_on_with_a_call(
    client: Client, llm_audit_records: RecordedCalls
) -> None:
    """Tasks inherit what has failed before they began: the first that asks again takes it."""

    async def run() -> None:
        client.ask(500)

        async def again() -> None:
            client.ask(200)

        await asyncio.gather(*(again() for _ in range(3)))

    asyncio.run(run())
    assert sorted(found(llm_audit_records)) == [
        ("SUCCESS", []),
        ("SUCCESS", []),
        ("SUCCESS", [500, 200]),
    ]


def test_attempts_without_end_are_several_calls(
    client: Client, llm_audit_records: RecordedCalls
) -> None:
    """A loop that asks for ever makes no document without bound."""
    for _ in range(calls.ATTEMPTS_MAX + 2):
        client.ask(500)
    assert [len(call.attempts) for call in llm_audit_records] == [calls.ATTEMPTS_MAX, 2]


def test_an_attempt_has_the_body_of_its_error(
    client: Client, llm_audit_records: RecordedCalls
) -> None:
    """As it was before it was compressed, where the app has read it, also as a stream."""
    body = gzip.compress(b'{"error": {"type": "busy"}}')
    for status in (500, 200):

        def reply(_: httpx2.Request, status: int = status) -> httpx2.Response:
            stream = httpx2.ByteStream(body)
            headers = {"content-encoding": "gzip", "content-type": "application/json"}
            return httpx2.Response(status, headers=headers, stream=stream)

        made = httpx2.Client(transport=httpx2.MockTransport(reply))
        request = made.build_request("POST", URL, json={"model": "m", "messages": []})
        made.send(request, stream=True).read()
    (call,) = llm_audit_records
    assert client
    assert call.attempts[0].body == {"error": {"type": "busy"}}


class _Aws(BaseHTTPRequestHandler):
    """Has credentials for whoever asks, says who asks, and answers a model's call at the second."""

    credentials: ClassVar = {
        "Code": "Success",
        "AccessKeyId": "key",
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": "2999-01-01T00:00:00Z",
    }
    asked: ClassVar[list[str]] = []

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.asked.append(self.path)
        status, body = 200, b"token"
        if self.path.endswith("/security-credentials/"):
            body = b"role"
        elif self.path.endswith("/role"):
            body = json.dumps(self.credentials).encode()
        elif self.path == "/":
            body = b"<Response><GetCallerIdentityResult/></Response>"
        elif self.path.startswith("/model/"):
            status = 503 if self.asked.count(self.path) == 1 else 200
            message = {"role": "assistant", "content": [{"text": "Hi."}]}
            body = json.dumps({"output": {"message": message}, "stopReason": "end_turn"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_what_boto3_asks_for_itself_is_no_attempt(
    client: Client, llm_audit_records: RecordedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a call it may fetch credentials, and other clients be used."""
    assert client
    import boto3
    from botocore.config import Config

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
    try:
        session = boto3.Session(region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 2, "mode": "standard"})
        named: Any = {"endpoint_url": url, "config": config}
        sts = boto3.client("sts", "us-east-1", **named)
        bedrock = session.client("bedrock-runtime", **named)
        credentials: Any = session.get_credentials()
        credentials._expiry_time -= timedelta(days=400_000)  # to be fetched as the call is signed
        events = bedrock.meta.events
        events.register("before-send", lambda **_: sts.get_caller_identity() and None)
        before = len(_Aws.asked)
        bedrock.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "Hi"}]}])
        asked = _Aws.asked[before:]
    finally:
        server.shutdown()
        server.server_close()
    assert len(asked) > 4, asked
    assert found(llm_audit_records) == [("SUCCESS", [503, 200])]
