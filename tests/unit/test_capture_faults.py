"""Nothing that goes wrong in capture, or is odd in what it captures, reaches the app."""

import gc
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest

import llm_audit
from llm_audit import LLMLogger
from llm_audit.capture import attempt, calls, httpx_client
from llm_audit.recorder.captured import Captured
from llm_audit.testing import RecordedCalls

URL = "https://api.openai.com/v1/chat/completions"
BODY: Any = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Hi."}}]}
CHOICE = b'{"index": 0, "delta": {"content": "Hi."}, "finish_reason": null}'
EVENT = b'data: {"choices": [' + CHOICE + b"]}\n\n"
DONE = b"data: [DONE]\n\n"
STREAM = {"content-type": "text/event-stream"}


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
    Captured.faults = 0
    yield llm_audit_records
    llm_audit.uninstrument()
    calls.last_failed.set(None)


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
        (httpx_client, "asked"),
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
    assert Captured.faults > 0
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
    assert Captured.faults == 0
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


def test_a_stream_that_is_closed_because_of_a_time_limit_says_so(capturing: RecordedCalls) -> None:
    """Other errors of the app's own are none of the call; then it was only left."""

    def leave(error: Exception) -> None:
        with closing(opened(streaming(EVENT, EVENT))) as response:
            chunks = response.iter_bytes()
            next(chunks)
            raise error

    for error in (SoftTimeLimitExceeded(), ValueError()):
        with pytest.raises(type(error)):
            leave(error)
    assert [(call.status, call.ended_by) for call in capturing] == [
        ("TIMEOUT", "soft_time_limit"),
        ("INCOMPLETE", "stream_closed"),
    ]


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
        until = time.monotonic() + 2
        count = 0
        while time.monotonic() < until:
            count += 1
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

    assert len(captured) == count
    assert {(str(call.status), call.ended_by) for call in captured} <= {
        ("INCOMPLETE", "stream_dropped"),
        ("INCOMPLETE", "stream_closed"),
    }
    assert Captured.faults == 0
