"""Calls of the real clients of OpenAI and Anthropic are recorded as they go over the wire."""

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from scripted_provider import ANSWER, CHAT, DONE, STREAM, Answer, Provider, captured_provider

import llm_audit
from llm_audit import LLMCallStatusEnum, LLMLogger, audit_context, response_of
from llm_audit.testing import RecordedCalls

MESSAGES: Any = [{"role": "user", "content": "Where is the Louvre?"}]
PARIS = {"role": "assistant", "content": "In Paris."}


@pytest.fixture
def provider(llm_audit_records: RecordedCalls) -> Iterator[Provider]:
    """Serve, and record what the clients ask."""
    assert len(llm_audit_records) == 0
    with captured_provider() as served:
        yield served


@pytest.fixture
def client(provider: Provider) -> Iterator[openai.OpenAI]:
    """Give a client of OpenAI's."""
    with openai.OpenAI(api_key="sk-1", base_url=f"{provider.url}/v1", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, **given: Any) -> Any:
    return client.chat.completions.create(model="gpt-5", messages=MESSAGES, **given)


def test_a_call_is_on_disk_before_its_request_leaves(
    provider: Provider, client: openai.OpenAI, llm_audit_records: RecordedCalls
) -> None:
    """It is PENDING with all that is asked while the provider works, and has the answer then."""
    seen: list[Any] = []
    provider.when_asked = lambda: seen.extend(llm_audit_records)
    with audit_context(user_id=7, call_type="CLASSIFICATION"):
        answer = ask(client, temperature=0.5, seed=3)

    assert [(call.status, call.messages) for call in seen] == [("PENDING", MESSAGES)]
    call = llm_audit_records[0]
    assert (call.status, call.captured_by, call.user_id) == ("SUCCESS", "httpx2", "7")
    assert (call.call_type, call.model, call.temperature) == ("CLASSIFICATION", "gpt-5", 0.5)
    assert (call.endpoint, call.request_params) == (provider.url + CHAT, {"seed": 3})
    assert response_of(call) == ANSWER
    assert answer.to_dict() == ANSWER
    assert len(llm_audit_records) == 1


def test_a_stream_is_the_same_and_is_recorded_whole(
    provider: Provider, client: openai.OpenAI, llm_audit_records: RecordedCalls
) -> None:
    """The app reads what it would read without us, from objects of the same classes."""
    for how in ("events", "raw", "lines"):
        provider.stream()
        if how == "events":
            stream = ask(client, stream=True)
            assert type(stream) is openai.Stream
            assert stream.response.stream.elapsed is None
            assert isinstance(stream.response.stream, httpx2.SyncByteStream)
            assert type(stream.response.stream).__name__ == "BoundSyncStream"
            said = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            assert said == "In Paris."
            assert stream.response.elapsed.total_seconds() > 0
        elif how == "raw":
            raw = client.chat.completions.with_raw_response.create(
                model="gpt-5", messages=MESSAGES, stream=True
            )
            assert len(list(raw.parse())) == len(STREAM) - 1
        else:
            with client.chat.completions.with_streaming_response.create(
                model="gpt-5", messages=MESSAGES, stream=True
            ) as lines:
                assert "\n".join(lines.iter_lines()) + "\n" == b"".join(STREAM).decode()
        call = llm_audit_records[-1]

        assert (call.status, call.streamed, call.response_message) == ("SUCCESS", True, PARIS), how
        assert (call.finish_reason, call.encoding_notes) == ("stop", [])
        assert call.time_to_first_token_ms is not None
        assert call.latency_ms is not None
        assert 0 < call.time_to_first_token_ms < call.latency_ms


def _break_and_close(stream: Any) -> None:
    for _ in stream:
        break
    stream.close()


def _drop(stream: Any) -> None:
    """Never iterate."""


def _break_and_drop(stream: Any) -> None:
    for _ in stream:
        break


def _read(stream: Any) -> None:
    with pytest.raises(openai.APIConnectionError):
        list(stream)


@pytest.mark.parametrize(
    ("leave", "how", "ended"),
    [
        (_break_and_close, {"pieces": STREAM}, ("INCOMPLETE", "stream_closed")),
        (_drop, {"pieces": STREAM}, ("INCOMPLETE", "stream_dropped")),
        (_break_and_drop, {"pieces": STREAM}, ("INCOMPLETE", "stream_closed")),
        (list, {"pieces": STREAM[:3]}, ("INCOMPLETE", "broken_off")),
        (_read, {"pieces": STREAM[:3], "ends": False}, ("ERROR", "exception")),
        (list, {"pieces": (*STREAM, b": bye\n\n"), "ends": False}, ("SUCCESS", None)),
    ],
)
def test_a_stream_left_early_keeps_what_came(
    leave: Callable[[Any], object],
    how: dict[str, Any],
    *,
    ended: tuple[str, str | None],
    provider: Provider,
    client: openai.OpenAI,
    llm_audit_records: RecordedCalls,
) -> None:
    """Closed, dropped, cut or broken off: the call says which, unless the answer is whole."""
    provider.stream(**{"wait": provider.hold, **how} if leave is _break_and_close else how)
    stream = ask(client, stream=True)
    leave(stream)
    del stream
    if leave in {_drop, _break_and_drop}:
        gc.collect()
    provider.let_go.set()
    client.models  # noqa: B018  (a stream that was dropped waits for the next who comes by)
    LLMLogger.end_open_calls(None)
    call = llm_audit_records[0]

    assert (call.status, call.ended_by) == ended
    if leave is not _drop:
        assert call.response_message is not None
        assert PARIS["content"].startswith(call.response_message["content"])


def test_what_the_client_tries_again_is_one_call(
    provider: Provider, llm_audit_records: RecordedCalls
) -> None:
    """Its attempts say what became of each; what is asked afterwards is another call."""
    provider.refuse(429, retry_after_ms="1", x_request_id="req-1")
    provider.refuse(500, retry_after_ms="1")
    with openai.OpenAI(api_key="sk-1", base_url=f"{provider.url}/v1", max_retries=2) as client:
        ask(client)
        ask(client)
        provider.refuse(429, retry_after_ms="1")
        provider.stream()
        list(ask(client, stream=True))
    first, second, third = llm_audit_records

    assert [attempt.status for attempt in first.attempts] == [429, 500, 200]
    assert first.attempts[0].body == {
        "error": {"message": "Not now.", "type": "requests", "code": "busy"}
    }
    assert all(attempt.duration_ms for attempt in first.attempts)
    assert (first.status, first.error_type, first.http_status) == ("SUCCESS", None, None)
    assert (second.status, second.attempts) == ("SUCCESS", [])
    assert [attempt.status for attempt in third.attempts] == [429, 200]
    assert third.response_message == PARIS


def test_a_call_that_fails_is_recorded_at_once(
    provider: Provider, llm_audit_records: RecordedCalls
) -> None:
    """The app need do nothing more, and its next call is another, however like it is."""
    for status in (429, 400):
        provider.refuse(status, retry_after="0", x_request_id="req-7")
        with (
            openai.OpenAI(api_key="sk-1", base_url=f"{provider.url}/v1", max_retries=0) as client,
            pytest.raises(openai.APIStatusError),
        ):
            ask(client)
        call = llm_audit_records[-1]

        assert (call.status, call.http_status, call.error_type) == ("ERROR", status, "requests")
        assert (call.error_message, call.provider_request_id) == ("Not now.", "req-7")
        assert call.attempts == []
    with openai.OpenAI(api_key="sk-1", base_url="http://127.0.0.1:9/v1", max_retries=1) as client:
        client._calculate_retry_timeout = lambda *_: 0.0  # type: ignore[method-assign, assignment]
        with pytest.raises(openai.APIConnectionError):
            ask(client)
    call = llm_audit_records[-1]
    assert (call.status, call.error_type, len(call.attempts)) == ("ERROR", "ConnectError", 2)
    assert len(llm_audit_records) == 3


def test_timeouts_and_cancellation_say_so(
    provider: Provider, llm_audit_records: RecordedCalls
) -> None:
    """A call that took too long, or whose task was cancelled, within an answer or before it."""

    async def run() -> None:
        url = f"{provider.url}/v1"
        async with openai.AsyncOpenAI(api_key="sk-1", base_url=url, max_retries=0) as client:
            provider.stream(wait=provider.hold)
            begun = asyncio.Event()

            async def read() -> None:
                stream = await client.chat.completions.create(
                    model="gpt-5", messages=MESSAGES, stream=True
                )
                async for _ in stream:
                    begun.set()

            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            provider.let_go.set()
            provider.let_go = threading.Event()
            provider.answers.append(Answer(body=ANSWER, wait=provider.hold))
            with pytest.raises(openai.APITimeoutError):
                await client.with_options(timeout=0.05).chat.completions.create(
                    model="gpt-5", messages=MESSAGES
                )

    asyncio.run(run())
    cancelled, late = llm_audit_records

    assert (cancelled.status, cancelled.ended_by) == ("CANCELLED", "exception")
    assert cancelled.response_message is not None
    assert (late.status, late.error_type) == ("TIMEOUT", "ReadTimeout")


def test_calls_at_once_keep_their_own(provider: Provider, llm_audit_records: RecordedCalls) -> None:
    """Tasks of one loop, each with a context of its own, are told apart."""

    async def run() -> None:
        url = f"{provider.url}/v1"
        async with openai.AsyncOpenAI(api_key="sk-1", base_url=url) as client:

            async def one(number: int) -> None:
                with audit_context(user_id=number):
                    await client.chat.completions.create(model=f"m{number}", messages=MESSAGES)

            await asyncio.gather(*map(one, range(8)))

    asyncio.run(run())
    assert sorted((call.user_id, call.model) for call in llm_audit_records) == [
        (str(number), f"m{number}") for number in range(8)
    ]
    assert {call.status for call in llm_audit_records} == {LLMCallStatusEnum.SUCCESS}


def test_anthropic_is_recorded_alike(provider: Provider, llm_audit_records: RecordedCalls) -> None:
    """Its messages are another API of the same hook."""
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": "In Paris."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
        "of_next_year": {"a": 1},
    }
    provider.answers.append(Answer(body=body))
    with anthropic.Anthropic(api_key="k", base_url=provider.url) as client:
        client.messages.create(model="claude-x", max_tokens=9, system="Be kind.", messages=MESSAGES)
    call = llm_audit_records[0]

    assert (call.api, call.system_prompt, call.max_tokens) == ("anthropic.messages", "Be kind.", 9)
    assert response_of(call) == body


def test_what_is_no_call_is_left_alone(
    provider: Provider, llm_audit_records: RecordedCalls
) -> None:
    """Other requests of the app, and calls of clients that were not named, leave no record."""
    llm_audit.uninstrument()
    llm_audit.instrument("anthropic")
    with httpx2.Client() as client:
        client.post(f"{provider.url}/orders", json={"model": "T"})
        client.post(provider.url + CHAT, json={"model": "gpt-5", "messages": MESSAGES})
    with openai.OpenAI(api_key="sk-1", base_url=f"{provider.url}/v1") as sdk:
        ask(sdk)
        assert len(llm_audit_records) == 0
        llm_audit.instrument("openai")
        ask(sdk)
        assert len(llm_audit_records) == 1
        llm_audit.uninstrument()
        ask(sdk)
    assert len(llm_audit_records) == 1


def test_a_process_that_ends_in_mid_stream_keeps_what_came(
    provider: Provider, client: openai.OpenAI, llm_audit_records: RecordedCalls
) -> None:
    """Whoever ends the open calls, as a task or a process does at its end, has what has arrived."""
    provider.stream(wait=provider.hold)
    stream = ask(client, stream=True)
    for event in stream:
        if event.choices[0].delta.content == "Pa":
            break
    LLMLogger.end_open_calls(None, ended_by="process_exit")
    call = llm_audit_records[0]
    assert (call.status, call.ended_by) == ("INCOMPLETE", "process_exit")
    assert call.response_message is not None
    assert PARIS["content"].startswith(call.response_message["content"])
    assert call.response_message["content"]
    provider.let_go.set()
    assert len(list(stream)) == 2
    assert llm_audit_records[0].response_message == PARIS
    assert llm_audit_records[0].status == "SUCCESS"


def test_what_was_sent_is_sent_unchanged(provider: Provider, client: openai.OpenAI) -> None:
    """The request that arrives is byte for byte the one that would have been sent without us."""
    ask(client)
    llm_audit.uninstrument()
    ask(client)
    with_us, without = provider.asked

    assert json.loads(with_us["body"])["messages"] == MESSAGES
    assert {**with_us, "headers": None} == {**without, "headers": None}
    assert with_us["headers"].keys() == without["headers"].keys()
    assert DONE
