"""Other tools that stand where capture does: mocks, cassettes, tracers, retries."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
from beside.asking import PATH, PLAIN, STREAMED, WORDS, Same, ask, ask_aiohttp, ask_async, recorded
from on_demand import OnDemand
from pytest_httpx import HTTPXMock
from replay.bodies import ASK_BEDROCK, CHAT, CHAT_STREAM, CONVERSE
from replay.server import ReplayServer, failure

import llm_audit
from llm_audit.testing import RecordedCalls

boto3, respx, sentry_sdk, tenacity, vcr = map(
    OnDemand, ("boto3", "respx", "sentry_sdk", "tenacity", "vcr")
)

URL = "https://api.example" + PATH
SSE = {"content-type": "text/event-stream"}
DRAWN_BY_AWS = ["amz-sdk-invocation-id", "x-amz-date", "authorization"]  # for each request


def both(url: str) -> list[Any]:
    """Ask synchronously and asynchronously."""

    async def go() -> list[Any]:
        async with httpx.AsyncClient() as client:
            return await ask_async(client, url)

    with httpx.Client() as client:
        return [*ask(client, url), *asyncio.run(go())]


def test_respx(same: Same) -> None:
    """It puts a transport of its own into every client of httpx."""

    def go() -> list[Any]:
        with respx.mock:
            respx.post(URL, json=PLAIN).respond(content=CHAT.body)
            respx.post(URL, json=STREAMED).respond(content=CHAT_STREAM.body, headers=SSE)
            seen = both(URL)
            return [*seen, respx.calls.call_count]

    assert same(go) == recorded("httpx", 2)


@pytest.mark.httpx_mock(can_send_already_matched_responses=True)
def test_pytest_httpx(same: Same, httpx_mock: HTTPXMock) -> None:
    """It replaces what transports do."""
    httpx_mock.add_response(url=URL, match_json=PLAIN, content=CHAT.body)
    httpx_mock.add_response(url=URL, match_json=STREAMED, content=CHAT_STREAM.body, headers=SSE)

    assert same(lambda: both(URL)) == recorded("httpx", 2)


def everything(server: str) -> list[Any]:
    """Ask with every library."""
    url = server + PATH

    async def go() -> list[Any]:
        async with httpx2.AsyncClient() as client:
            seen = await ask_async(client, url)
        async with aiohttp.ClientSession() as session:
            return [*seen, *await ask_aiohttp(session, url)]

    with httpx.Client() as legacy, httpx2.Client() as client:
        seen = [*ask(legacy, url), *ask(client, url), *asyncio.run(go())]
    session = boto3.Session("key", "secret", region_name="us-east-1")
    said = session.client("bedrock-runtime", endpoint_url=server).converse(**ASK_BEDROCK)
    return [*seen, said["output"]]


def test_a_cassette_is_the_same_and_a_replayed_one_is_recorded(
    server: ReplayServer, llm_audit_records: RecordedCalls, tmp_path: Path
) -> None:
    """What it holds, byte by byte; and what it plays is a call, of whatever library."""

    def go(cassette: str) -> list[Any]:
        server.play(*(CHAT, CHAT_STREAM) * 4, CONVERSE)
        path, match = tmp_path / cassette, ["method", "uri", "body"]
        with vcr.use_cassette(path, match_on=match, filter_headers=DRAWN_BY_AWS):
            return everything(server.url)

    def once(cassette: str) -> list[Any]:
        before = len(llm_audit_records)
        seen = go(cassette)
        new = llm_audit_records[before:]
        calls = [(str(call.status), call.captured_by) for call in new]
        libraries = ["httpx", "httpx", *["httpx2"] * 4, "aiohttp", "aiohttp", "botocore"]
        assert calls == [("SUCCESS", library) for library in libraries]
        contents = [(call.response_message or {})["content"] for call in new]
        assert contents[:8] == ["Hello!", WORDS] * 4
        return seen

    recording, playing = go("without"), go("without")
    llm_audit.instrument()
    try:
        assert once("with") == recording
        assert server.received
        assert once("with") == playing
        assert server.received == []
        assert once("without") == playing
    finally:
        llm_audit.uninstrument()
    assert go("with") == playing
    kept = [(tmp_path / name).read_bytes() for name in ("with", "without")]
    assert kept[0] == kept[1]


@pytest.fixture
def spans() -> Iterator[list[Any]]:
    """Have Sentry trace, and undo what it wraps by itself."""
    before = [(owner, owner.send) for owner in (httpx.Client, httpx.AsyncClient)]
    sent: list[Any] = []
    # it looks for eventlet, which in this process would warn of every fork from then on
    with pytest.MonkeyPatch.context() as patch:
        for name in ("eventlet", "eventlet.patcher"):
            patch.setitem(sys.modules, name, None)
        from sentry_sdk.integrations.httpx import HttpxIntegration
        from sentry_sdk.transport import Transport

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            transaction = envelope.get_transaction_event()
            sent.extend(span["op"] for span in transaction["spans"])

    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        transport=Kept,
        traces_sample_rate=1.0,
        integrations=[HttpxIntegration()],
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    for owner, send in before:
        owner.send = send
    yield sent
    sentry_sdk.get_global_scope().set_client(None)


@pytest.mark.parametrize("first", ["sentry", "ours"])
def test_sentry(
    first: str, server: ReplayServer, spans: list[Any], llm_audit_records: RecordedCalls
) -> None:
    """It wraps the same methods: before or after us, and whoever goes first."""
    from sentry_sdk.integrations.httpx import HttpxIntegration

    steps: list[Callable[[], None]] = [HttpxIntegration.setup_once, llm_audit.instrument]
    for step in steps if first == "sentry" else reversed(steps):
        step()
    try:
        with sentry_sdk.start_transaction(op="test", name="test"):
            both(server.url + PATH)
        assert spans == ["http.client"] * 4
        assert [call.status for call in llm_audit_records] == ["SUCCESS"] * 4
    finally:
        llm_audit.uninstrument()
    both(server.url + PATH)
    assert len(llm_audit_records) == 4


def test_tenacity(same: Same, server: ReplayServer, llm_audit_records: RecordedCalls) -> None:
    """What it tries again is one call with its attempts; what it gives up has failed."""

    @tenacity.retry(stop=tenacity.stop_after_attempt(3))  # type: ignore[untyped-decorator]
    def persistent(client: httpx.Client) -> Any:
        return client.post(server.url + PATH, json=PLAIN).raise_for_status().json()

    def go() -> list[Any]:
        with httpx.Client() as client:
            server.play(failure(429), failure(503), CHAT)
            seen = [persistent(client)]
            server.play(*[failure(500)] * 3)
            with pytest.raises(tenacity.RetryError):
                persistent(client)
        return seen

    assert same(go) == [("SUCCESS", "httpx", "Hello!"), ("ERROR", "httpx", None)]
    statuses = [[attempt.status for attempt in call.attempts] for call in llm_audit_records]
    assert statuses == [[429, 503, 200], [500, 500, 500]]
