"""Nothing that goes wrong in capture, or is odd in what it captures, reaches the app."""

import asyncio
import dis
import gc
import itertools
import json
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from types import FrameType
from typing import Any

import aiohttp
import httpx2
import pytest
from aiohttp import web
from patience import LONG

import llm_audit
from llm_audit import LLMLogger, request_of
from llm_audit.capture import attempt, calls, httpx_client, sending
from llm_audit.recorder.captured import Captured, end_dropped
from llm_audit.testing import RecordedCalls

URL = "https://api.openai.com/v1/chat/completions"
BODY: Any = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Hi."}}]}
CHOICE = b'{"index": 0, "delta": {"content": "Hi."}, "finish_reason": null}'
EVENT = b'data: {"choices": [' + CHOICE + b"]}\n\n"
DONE = b"data: [DONE]\n\n"
STREAM = {"content-type": "text/event-stream"}
POP_TOP = dis.opmap["POP_TOP"]


class Pieces(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in pieces; one that is an exception is raised."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        """Count."""
        self.closed += 1

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


@pytest.fixture
def capturing(llm_audit_records: RecordedCalls) -> Iterator[RecordedCalls]:
    """Capture, and give what was recorded."""
    llm_audit.instrument()
    Captured.counts.faults = 0
    yield llm_audit_records
    llm_audit.uninstrument()
    calls.last_begun.set(None)


def client(answer: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(answer))


def streaming(*pieces: Any) -> httpx2.Client:
    """Return a client that is answered with a stream."""
    return client(lambda _: httpx2.Response(200, headers=STREAM, stream=Pieces(*pieces)))


def opened(made: httpx2.Client) -> httpx2.Response:
    return made.send(made.build_request("POST", URL, json=BODY), stream=True)


@pytest.mark.parametrize(
    "broken",
    [
        (httpx_client, "begin"),
        (httpx_client, "matched"),
        (httpx_client, "watch"),
        (calls, "provider_of"),
        (calls.exchange, "begin"),
        (calls.exchange, "end"),
        (calls.exchange, "when_left"),
        (attempt.Attempt, "received"),
        (attempt.clock, "monotonic_ns"),
    ],
    ids=lambda broken: f"{broken[0].__name__}.{broken[1]}",
)
def test_a_fault_of_ours_is_counted_and_the_call_goes_through(
    broken: tuple[Any, str],
    capturing: RecordedCalls,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever part of it breaks, the app reads the same."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(*broken, fail)
        plain = client(lambda _: httpx2.Response(200, json=ANSWER)).post(URL, json=BODY)
        response = opened(streaming(EVENT, DONE))
        read = b"".join(response.iter_bytes())
        response.close()

    assert (plain.json(), read) == (ANSWER, EVENT + DONE)
    assert Captured.counts.faults > 0
    assert caplog.text.count("could not be captured") == 1
    assert all(call.status != "SUCCESS" or call.response_message for call in capturing)


def test_odd_requests_and_answers_pass(capturing: RecordedCalls) -> None:
    """Bodies that are no JSON, of no kind or of a wrong one, under any status and header."""
    bodies: list[Any] = [
        *(b"", b"null", b"[]", b"\xff\xfe", b"{", b'{"messages": 1, "model": []}'),
        json.dumps({"messages": [], "model": "m" * 9_999}).encode(),
        b'{"model": "m", "messages": [' + b"[" * 9_000 + b"]" * 9_000 + b"]}",
    ]
    answers: list[Any] = [
        *(b"", b"\x00", b"null", b"[1]", b"\xff", b'{"choices": 5}', b'{"error": []}'),
        b"[" * 9_000,
    ]
    kinds = ["application/json", "", "x", "text/event-stream", "audio/mpeg", "application/\xff"]
    for body in bodies:
        for answer in answers:
            for status in (200, 204, 302, 404, 500, 599):
                kind = kinds[(len(body) + len(answer) + status) % len(kinds)]
                headers = {b"content-type": kind.encode("latin-1")} if kind else {}

                def reply(
                    _: httpx2.Request,
                    status: int = status,
                    answer: bytes = answer,
                    headers: Any = headers,
                ) -> httpx2.Response:
                    return httpx2.Response(status, headers=headers, stream=Pieces(answer))

                response = client(reply).post(URL, content=body)
                assert (response.content, response.status_code) == (answer, status)
    assert Captured.counts.faults == 0
    assert {str(call.status) for call in capturing} <= {"SUCCESS", "ERROR", "INCOMPLETE", "TIMEOUT"}


def test_streams_are_closed_once_and_raise_what_they_raise(capturing: RecordedCalls) -> None:
    """The transport's stream sees what it would see without us."""
    for error in (httpx2.ReadTimeout("slow"), ValueError("mine"), KeyboardInterrupt()):
        pieces = Pieces(EVENT, error)

        def reply(_: httpx2.Request, pieces: Pieces = pieces) -> httpx2.Response:
            return httpx2.Response(200, headers=STREAM, stream=pieces)

        response = opened(client(reply))
        with pytest.raises(type(error)) as raised:
            list(response.iter_bytes())
        assert raised.value is error
        assert pieces.closed == 1
    assert [str(call.status) for call in capturing] == ["TIMEOUT", "ERROR", "INCOMPLETE"]
    assert all(call.response_message == {"content": "Hi."} for call in capturing) or all(
        call.response_message for call in capturing
    )


class SoftTimeLimitExceeded(Exception):  # noqa: N818  (Celery's is called so)
    """What a signal handler raises."""


class OwnError(Exception):
    """What has nothing to do with a call."""


def test_a_stream_that_is_closed_because_of_a_time_limit_says_so(capturing: RecordedCalls) -> None:
    """Another error of the app's own is none of the call, which was only left, but it is named."""

    def leave(error: Exception) -> None:
        with closing(opened(streaming(EVENT, EVENT))) as response:
            chunks = response.iter_bytes()
            next(chunks)
            raise error

    def loop(error: Exception) -> None:
        with closing(opened(streaming(EVENT, EVENT))) as response:
            for _ in response.iter_bytes():
                raise error

    for by, kind in itertools.product((leave, loop), (SoftTimeLimitExceeded, OwnError)):
        error = kind("its own")
        with pytest.raises(kind):
            by(error)
        held = weakref.ref(error)
        del error
        gc.collect()
        assert held() is None
    ends = [(call.status, call.ended_by, call.error_type) for call in capturing]
    assert ends == 2 * [
        ("TIMEOUT", "soft_time_limit", "SoftTimeLimitExceeded"),
        ("INCOMPLETE", "stream_closed", "OwnError"),
    ]
    assert capturing[3].error_message == "its own"
    assert [call.response_message for call in capturing] == [{"content": "Hi."}] * 4


def _raise_in(pieces: Iterator[bytes]) -> None:
    with closing(pieces):  # type: ignore[type-var]
        for _ in pieces:
            raise OwnError


def test_leaving_a_stream_is_no_error(capturing: RecordedCalls) -> None:
    """By a break, or by leaving a generator around it, as SDKs have some, also with blocks."""

    def pieces() -> Iterator[bytes]:
        with closing(opened(streaming(EVENT, EVENT))) as response:
            yield from response.iter_bytes()

    def closing_itself() -> Iterator[bytes]:
        response = opened(streaming(EVENT, EVENT))
        try:
            yield from response.iter_bytes()
        finally:
            response.close()

    for make in (pieces, closing_itself):
        for _ in make():
            break
        left = make()
        next(left)
        left.close()  # type: ignore[attr-defined]
        left = make()
        next(left)
        del left
        left = make()
        with pytest.raises(OwnError):
            _raise_in(left)
    gc.collect()
    ends = [(call.status, call.ended_by, call.error_type) for call in capturing]
    assert ends == 8 * [("INCOMPLETE", "stream_closed", None)]


def test_a_stream_that_is_begun_after_a_time_limit_has_not_failed_by_it(
    capturing: RecordedCalls,
) -> None:
    """What is asked and left while that is handled was only left."""

    def fail(error: Exception) -> None:
        raise error

    for error in (SoftTimeLimitExceeded(), TimeoutError()):
        try:
            fail(error)
        except type(error):
            with closing(opened(streaming(EVENT, EVENT))) as response:
                chunks = response.iter_bytes()
                next(chunks)
                response.close()
            asyncio.run(_left())
    ends = [(call.captured_by, call.status, call.ended_by) for call in capturing]
    assert ends == [(by, "INCOMPLETE", "stream_closed") for by in ("httpx2", "aiohttp") * 2]


async def _left() -> None:
    """Ask with aiohttp, and leave the stream."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=STREAM)
        await response.prepare(request)
        await response.write(EVENT)
        await left.wait()
        return response

    left = asyncio.Event()
    async with _serving(answer) as url, aiohttp.ClientSession() as session:
        async with session.post(url, json=BODY) as response:
            await response.content.readany()
            response.close()
        left.set()


@asynccontextmanager
async def _serving(answer: Any) -> AsyncIterator[str]:
    """Serve; return the URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/chat/completions"
    finally:
        await runner.cleanup()


def test_what_strikes_as_a_request_leaves_ends_no_recording(capturing: RecordedCalls) -> None:
    """Wherever a function of capture has called another: what is asked later is recorded."""

    def asked_and_struck(number: int) -> bool:
        """Ask, and be struck after so many returns to the hook; tell whether there were so many."""
        returned = 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal returned
            if frame.f_code.co_filename != sending.__file__ or frame.f_code.co_name != "send":
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event == "opcode" and frame.f_code.co_code[frame.f_lasti] == POP_TOP:
                returned += 1  # of a call of which nobody wants the result
                if returned == number:
                    raise SoftTimeLimitExceeded
            return trace

        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # or Python 3.12 tells of none
        sys.settrace(trace)
        try:
            client(lambda _: httpx2.Response(200, json=ANSWER)).post(URL, json=BODY)
        except SoftTimeLimitExceeded:
            return True
        finally:
            sys.settrace(before)
        return False

    assert not asked_and_struck(0)  # Python 3.13 tells of instructions from the second time on
    number = 1
    while asked_and_struck(number):
        count = len(capturing)
        assert not sending.is_inside(), number
        other = {**BODY, "seed": number}
        client(lambda _: httpx2.Response(200, json=ANSWER)).post(URL, json=other)
        assert len(capturing) == count + 1, number
        number += 1
    assert number > 1


async def _served(headers: list[Any]) -> list[str | None]:
    """Ask with aiohttp with each of these headers; return what the server was told by them."""
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("authorization"))
        return web.json_response(ANSWER)

    async with _serving(answer) as url, aiohttp.ClientSession() as session:
        for given in headers:
            async with session.post(url, json=BODY, headers=given) as response:
                await response.json()
    return seen


def test_headers_of_aiohttp_are_read_once(capturing: RecordedCalls) -> None:
    """They may be an iterator."""
    pair = ("authorization", "Bearer x")
    given = [
        dict([pair]),
        [pair],
        iter([pair]),
        dict([pair]).items(),
        (one for one in [pair]),
    ]
    assert asyncio.run(_served(given)) == ["Bearer x"] * len(given)
    assert [str(call.status) for call in capturing] == ["SUCCESS"] * len(given)
    assert Captured.counts.faults == 0


def test_a_serializer_of_the_apps_is_called_once(capturing: RecordedCalls) -> None:
    """What it made, text or bytes, is sent and recorded; if it fails, that is the app's."""
    asked: list[object] = []

    def dumps(value: object) -> str:
        asked.append(value)
        if value == "no":
            raise ValueError(value)
        return json.dumps({**BODY, "seed": len(asked)})

    async def ask() -> list[Any]:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response({**ANSWER, "received": await request.json()})

        seen = []
        async with _serving(answer) as url:
            for given in (
                {"json_serialize": dumps},
                {"json_serialize_bytes": lambda value: dumps(value).encode()},
            ):
                async with aiohttp.ClientSession(**given) as session:  # type: ignore[arg-type]
                    async with session.post(url, json={"an object": "of its own"}) as response:
                        seen.append((await response.json())["received"])
                    with pytest.raises(ValueError, match="no"):
                        await session.post(url, json="no")
        return seen

    received = asyncio.run(ask())
    assert asked.count({"an object": "of its own"}) == 2
    assert [request_of(call) for call in capturing] == received


def test_who_ends_a_task_knows_better_why_a_stream_was_left(capturing: RecordedCalls) -> None:
    """A stream that is closed after that, with the last reference to it, changes nothing."""
    left, whole = opened(streaming(EVENT, EVENT)), opened(streaming(EVENT, DONE))
    of_left, of_whole = left.iter_bytes(), whole.iter_bytes()
    assert [next(of_left), next(of_whole), next(of_whole)] == [EVENT, EVENT, DONE]
    LLMLogger.end_open_calls(None, error=SoftTimeLimitExceeded(), ended_by="soft_time_limit")
    left.close()
    whole.close()

    assert [(call.status, call.ended_by) for call in capturing] == [
        ("TIMEOUT", "soft_time_limit"),
        ("SUCCESS", None),
    ]


COLLECTED = 1_000 if LONG else 200


@pytest.mark.many
def test_streams_are_collected_in_the_midst_of_recording(capturing: RecordedCalls) -> None:
    """The garbage collector drops and closes them in any thread, whatever that holds."""
    before = gc.get_threshold()
    lock = threading.Lock()
    stop = threading.Event()

    def record() -> None:
        while not stop.is_set():
            with lock:
                LLMLogger.complete(LLMLogger.start(model="m", messages=[{"a": [{}] * 20}]))

    threads = [threading.Thread(target=record, daemon=True) for _ in range(2)]
    gc.set_threshold(20, 2, 2)
    try:
        for thread in threads:
            thread.start()
        for count in range(1, COLLECTED + 1):
            response = opened(streaming(EVENT, EVENT))
            cycle: list[Any] = [response]
            if count % 2:
                cycle.append(response.iter_bytes())
                next(cycle[1])
            cycle.append(cycle)
            del response, cycle
    finally:
        stop.set()
        gc.set_threshold(*before)
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    gc.collect()
    LLMLogger.end_open_calls(None)
    captured = [call for call in capturing if call.captured_by]

    assert len(captured) == COLLECTED
    assert {(str(call.status), call.ended_by) for call in captured} <= {
        ("INCOMPLETE", "stream_dropped"),
        ("INCOMPLETE", "stream_closed"),
    }
    assert Captured.counts.faults == 0


def test_a_stream_that_is_collected_sets_no_context_variable(capturing: RecordedCalls) -> None:
    """Python 3.11 crashes if the collector comes while another is set, and one is set meanwhile."""
    set_here: set[str] = set()

    def profile(_: FrameType, event: str, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        if event == "c_call" and isinstance(owner, ContextVar) and function.__name__ != "get":
            set_here.add(owner.name)

    for status in (200, 500):

        def reply(_: httpx2.Request, status: int = status) -> httpx2.Response:
            return httpx2.Response(status, headers=STREAM, stream=Pieces(EVENT, EVENT))

        made = client(reply)
        requests = [made.build_request("POST", URL, json={**BODY, "seed": n}) for n in range(3)]
        responses = [made.send(request, stream=True) for request in requests]
        for response in responses:
            next(response.iter_raw())
        del response
        sys.setprofile(profile)
        try:
            responses.pop().close()
            responses.clear()
            gc.collect()
            end_dropped()
        finally:
            sys.setprofile(None)
    assert len(capturing) == 6
    assert all(call.ended_by for call in capturing)
    assert set_here == set()
