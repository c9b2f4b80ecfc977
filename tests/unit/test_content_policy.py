"""Which content of calls is recorded: all, none, or that of some traces and of what went wrong."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import llm_audit
from llm_audit import ConfigurationError, LLMLogger, audited, exchange
from llm_audit.call import Kind, named
from llm_audit.exchange import Received, Sent
from llm_audit.recorder import content, process
from llm_audit.runtime import clock
from llm_audit.settings import Settings, changed_settings, get_settings, reset_settings
from llm_audit.testing import RecordedCall, RecordedCalls
from llm_audit.wire import apis

SECRET = "what nobody may read"
MESSAGES = [{"role": "user", "content": SECRET}, {"role": "user", "content": SECRET}]
ANSWER = {"role": "assistant", "content": SECRET}
START: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "messages": MESSAGES,
    "system_prompt": SECRET,
    "tools": [{"type": "function", "function": {"name": "search", "description": SECRET}}],
    "tool_choice": {"name": SECRET},
    "temperature": 0.5,
    "tags": ["kept"],
    "metadata": {"plan": "kept"},
    "seed": 42,
    "stop": [SECRET],
}
RESPONSE = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-08-06",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": ANSWER},
        {"index": 1, "finish_reason": "stop", "message": ANSWER},
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}


@pytest.fixture
def of_policy(llm_audit_records: RecordedCalls) -> Iterator[RecordedCalls]:
    """Stop recording after each policy, so that the next may come into force."""
    yield llm_audit_records
    llm_audit.shutdown(0)


def journaled() -> bytes:
    """Return all that is on this test's disk."""
    folder = Path(get_settings().spool_dir)
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def call(**given: Any) -> RecordedCall:
    call_id = LLMLogger.start(**START | given)
    LLMLogger.complete(call_id, response=RESPONSE)
    return found(call_id)


def found(call_id: str) -> RecordedCall:
    calls = RecordedCalls(Path(get_settings().spool_dir))
    return next(one for one in calls if one.id == call_id)


def in_and_out(rate: float) -> tuple[str, str]:
    """Return two traces: one in the sample, one not."""
    policy = content.ContentPolicy(Settings(content="sampled", content_sample_rate=rate), None)  # type: ignore[arg-type]
    traces = [f"trace {number}" for number in range(100)]
    inside = [trace for trace in traces if policy._is_in_sample(trace)]
    assert 20 < len(inside) < 80, "about half of them"
    return inside[0], next(trace for trace in traces if trace not in inside)


@pytest.mark.usefixtures("of_policy")
def test_of_metadata_no_content_touches_the_disk() -> None:
    """Whoever records it and however it ends: who, when and how much is there, nothing else."""

    @audited
    def tool(text: str) -> str:
        return text

    @audited
    def failing(text: str) -> str:
        raise ValueError(text)

    with changed_settings(content="metadata"):
        done = call()
        assert (done.model, done.provider, done.temperature) == ("gpt-4o", "openai", 0.5)
        assert (done.prompt_tokens, done.usage) == (5, RESPONSE["usage"])
        assert (done.response_id, done.finish_reason, done.status) == (
            "chatcmpl-1",
            "stop",
            "SUCCESS",
        )
        assert done.estimated_cost
        assert (done.tags, done.metadata) == (["kept"], {"plan": "kept"})
        assert done.request_params == {"seed": 42}
        assert done.content == "metadata"
        assert done.content_left_out == {
            "system_prompt": 1, "messages": 2, "tools": 1, "tool_choice": 1, "request_params": 1,
            "response_message": 1, "other_choices": 1, "response_extra": 1,
        }  # fmt: skip
        for end in (
            lambda one: LLMLogger.fail(one, ValueError(SECRET)),
            lambda one: LLMLogger.fail(one, SECRET, response_message=ANSWER),
            lambda one: LLMLogger.complete(one, response={"error": {"message": SECRET}}),
            lambda _: LLMLogger.end_open_calls(None, error=ValueError(SECRET)),
            lambda one: LLMLogger.complete(one, response_message=ANSWER, status="CANCELLED"),
            lambda _: llm_audit.shutdown(0),
        ):
            end(call_id := LLMLogger.start(**START))
            assert found(call_id).status != "PENDING"
        with pytest.raises(ValueError, match=SECRET), LLMLogger.log_call(**START):
            raise ValueError(SECRET)
        tool(SECRET)
        with pytest.raises(ValueError, match=SECRET):
            failing(SECRET)
        LLMLogger.complete("a call of another process", response=RESPONSE)
        assert found("a call of another process").status == "SUCCESS"
        assert llm_audit.stats()["content_left_out"]["metadata"] >= 4
        on_disk = journaled()
    assert b"chatcmpl-1" in on_disk
    assert SECRET.encode() not in on_disk


@pytest.mark.usefixtures("of_policy")
def test_a_policy_may_be_for_some_types() -> None:
    """Others are recorded in full; an end whose call is unknown says no more than of any."""
    with changed_settings(content_by_call_type={"embedding": "metadata", "PRODUCT_GAP": "full"}):
        assert call(call_type="EMBEDDING").messages == []
        full = call(call_type="PRODUCT_GAP")
        assert (full.messages, full.response_message) == (MESSAGES, ANSWER)
        assert (full.content, full.content_left_out) == (None, {})
        assert call().messages == MESSAGES
        LLMLogger.complete("unknown", response=RESPONSE)
        assert found("unknown").response_message is None
    llm_audit.shutdown(0)
    with changed_settings(content="metadata", content_by_call_type={"CHAT": "full"}):
        assert call().messages == MESSAGES
        assert call(call_type="RAG_QUERY").messages == []


@pytest.mark.usefixtures("of_policy")
def test_a_sample_is_of_whole_traces() -> None:
    """In it everything is recorded, out of it nothing of what went well."""
    inside, outside = in_and_out(0.5)
    with changed_settings(content="sampled", content_sample_rate=0.5):
        for _ in range(3):
            kept, left = call(trace_id=inside), call(trace_id=outside)
            assert (kept.messages, kept.response_message) == (MESSAGES, ANSWER)
            assert (kept.content, kept.content_left_out) == ("sampled", {})
            assert (left.messages, left.response_message, left.tools) == ([], None, None)
            assert (left.content, left.content_left_out["messages"]) == ("sampled", 2)
            assert left.request_params == {"seed": 42}
        assert llm_audit.stats()["content_left_out"] == {"sampled": 3}


@pytest.mark.usefixtures("of_policy")
def test_what_failed_or_was_slow_keeps_its_content() -> None:
    """Whatever ends it: its start's content waits for that, as it was when the call began."""
    _, outside = in_and_out(0.5)
    given = START | {"trace_id": outside}
    odd = {"role": "user", "content": {1, 2}}
    with changed_settings(content="sampled", content_sample_rate=0.5):
        for end, status in (
            (lambda one: LLMLogger.fail(one, ValueError("no")), "ERROR"),
            (lambda one: LLMLogger.fail(one, asyncio.CancelledError()), "CANCELLED"),
            (lambda one: LLMLogger.complete(one, response={"error": {"message": "no"}}), "ERROR"),
            (lambda _: LLMLogger.end_open_calls(None), "INCOMPLETE"),
            (lambda _: llm_audit.shutdown(0), "INCOMPLETE"),
        ):
            messages = [dict(message) for message in MESSAGES]
            call_id = LLMLogger.start(**given | {"messages": [*messages, odd]})
            messages[0]["content"] = "changed since"
            assert found(call_id).messages == []
            end(call_id)
            seen = found(call_id)
            assert seen.status == status
            assert seen.messages[:2] == MESSAGES, status
            assert seen.tools == START["tools"], status
            assert seen.request_params == {"seed": 42, "stop": [SECRET]}, status
            assert seen.content_left_out == {}, status
            assert any("messages.2" in note for note in seen.encoding_notes), seen.encoding_notes
    with changed_settings(content="sampled", content_sample_rate=0, slow_ms=0):
        slow = call(**given)
        assert (slow.messages, slow.response_message) == (MESSAGES, ANSWER)
    llm_audit.shutdown(0)
    with changed_settings(content="sampled", content_sample_rate=0):
        call_id = LLMLogger.start(**given)
        LLMLogger.end_open_calls(None)
        LLMLogger.complete(call_id, response=RESPONSE)  # after all
        late = found(call_id)
        assert (late.status, late.response_message) == ("SUCCESS", ANSWER)


@pytest.mark.usefixtures("of_policy")
def test_secrets_and_media_of_what_is_kept_are_treated_as_ever() -> None:
    """What waited in memory passes the rules that redact, by its call type."""
    key = "sk-" + "a1B2" * 12
    with changed_settings(content="sampled", content_sample_rate=0):
        call_id = LLMLogger.start(model="m", messages=[{"role": "user", "content": f"use {key}"}])
        LLMLogger.fail(call_id, ValueError("no"))
        assert key not in str(found(call_id).messages)
        assert found(call_id).redacted
        assert key.encode() not in journaled()


@pytest.mark.usefixtures("of_policy")
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the content is recorded at once, sample or not; what ended gives its room back."""
    monkeypatch.setattr(content, "HELD_MAX_BYTES", 3_000)
    given: dict[str, Any] = {"model": "m", "messages": [{"content": "x " * 500}]}
    with changed_settings(content="sampled", content_sample_rate=0):
        for _ in range(3):
            ids = [LLMLogger.start(**given) for _ in range(4)]
            assert [bool(found(one).messages) for one in ids] == [False, False, True, True]
            for one in ids:
                LLMLogger.complete(one, response_message={"content": "yes"})
            assert [bool(found(one).messages) for one in ids] == [False, False, True, True]


@pytest.mark.usefixtures("of_policy")
def test_captured_calls_obey_it_too() -> None:
    """What was read from the wire is treated like what is said by hand."""
    asked = apis.matched("POST", "/v1/chat/completions")
    assert asked is not None
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "%s"}]}' % SECRET.encode()
    answer = (
        b'{"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o", "choices": ['
        b'{"index": 0, "finish_reason": "stop", "message": '
        b'{"role": "assistant", "content": "%s"}}]}' % SECRET.encode()
    )
    with changed_settings(content="metadata"):
        sent = Sent("httpx2", asked, "https://a/v1", body, "application/json", "openai")
        call_id = exchange.begin(sent)
        exchange.end(call_id, Received(asked, answer, 200, "application/json"), 0)
        seen = found(call_id)
        assert (seen.status, seen.model, seen.response_id) == ("SUCCESS", "gpt-4o", "chatcmpl-1")
        assert (seen.content_left_out["messages"], seen.messages) == (1, [])
        assert SECRET.encode() not in journaled()


@pytest.mark.usefixtures("of_policy")
def test_captured_calls_obey_it_whatever_ends_them() -> None:
    """Where the client tries again, and where a stream is open as the process ends."""
    asked = apis.matched("POST", "/v1/chat/completions")
    assert asked is not None
    said = SECRET.encode()
    body = b'{"model": "m", "messages": [{"role": "user", "content": "%s"}]}' % said
    refusal = b'{"error": {"message": "%s"}}' % said
    piece = b'data: {"id": "1", "choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % said
    sent = Sent("httpx2", asked, "https://a/v1", body, "application/json", "openai")
    attempts = [{"status": 429, "duration_ms": 1.0, "body": {"error": SECRET}}]
    with changed_settings(content="metadata"):
        retried, left = exchange.begin(sent), exchange.begin(sent)
        first = Received(asked, refusal, 429, "application/json", attempts=attempts)
        exchange.end(retried, first, clock.monotonic_ns(), attempt=1)
        exchange.begin_attempt(retried, attempts)
        assert found(retried).status == "PENDING"
        exchange.end(retried, first, clock.monotonic_ns())
        exchange.when_left(
            process.open_calls().get(left), lambda: Received(asked, piece, 200, "text/event-stream")
        )
        llm_audit.shutdown(0)
        assert [one.status for one in found(retried).attempts] == [429]
        assert (found(left).status, found(left).model) == ("INCOMPLETE", "m")
        assert said not in journaled()


def test_settings_say_it_in_usual_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment too; what is wrong is named with the fix."""
    monkeypatch.setenv("LLM_AUDIT_CONTENT", "sampled")
    monkeypatch.setenv("LLM_AUDIT_CONTENT_BY_CALL_TYPE", "EMBEDDING=metadata, my_type = FULL")
    monkeypatch.setenv("LLM_AUDIT_CONTENT_SAMPLE_RATE", "0.25")
    monkeypatch.setenv("LLM_AUDIT_SLOW_MS", "500")
    reset_settings()
    settings = get_settings()
    assert (settings.content, settings.content_sample_rate) == ("sampled", 0.25)
    assert settings.content_by_call_type == {"EMBEDDING": "metadata", "MY_TYPE": "full"}
    assert settings.slow_ms == 500
    for given, problem in (
        ({"content": "none"}, "'full', 'metadata' or 'sampled'"),
        ({"content_by_call_type": {"CHAT": "none"}}, "CHAT can be full, metadata, sampled"),
        ({"content_by_call_type": "CHAT"}, "say it like EMBEDDING=metadata"),
        ({"content_by_call_type": {"x" * 65: "full"}}, "1 to 64 characters"),
        ({"content_by_call_type": 7}, "a dict of call types"),
        ({"content_sample_rate": 1.5}, "less than or equal to 1"),
        ({"slow_ms": -1}, "greater than or equal to 0"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            llm_audit.configure(**given)
    monkeypatch.setenv("LLM_AUDIT_CONTENT", "none")
    reset_settings()
    assert get_settings().content == "metadata", "who sets it wants less to be stored"
    monkeypatch.delenv("LLM_AUDIT_CONTENT")
    monkeypatch.setenv("LLM_AUDIT_CONTENT_BY_CALL_TYPE", "EMBEDDING:metadata")
    reset_settings()
    assert get_settings().content == "metadata", "of which types nobody knows"


def test_content_is_what_kinds_say() -> None:
    """Every field of what was said, and of what may quote it, is left out, but for a few."""
    kept = {"metadata", "usage", "encoding_notes", "media", "annotations"}
    assert {*named(Kind.SAID, Kind.QUOTES)} - kept == content.CONTENT_FIELDS


@pytest.mark.parametrize(("policy", "kept"), [("metadata", ""), ("sampled", "b"), ("full", "ab")])
@pytest.mark.usefixtures("of_policy")
def test_calls_of_a_batch_obey_it_too(policy: str, kept: str) -> None:
    """They come with their end, so what went wrong is known at once."""
    asked = [{"custom_id": name, "url": "/v1/chat/completions", "body": START} for name in "ab"]
    response = {"status_code": 200, "body": {**RESPONSE, "created": 1_796_000_000}}
    error = {"code": "batch_expired", "message": "Late."}
    results = [
        {"id": "1", "custom_id": "a", "response": response},
        {"id": "2", "custom_id": "b", "response": None, "error": error},
    ]
    with changed_settings(content=policy, content_sample_rate=0):
        recorded = llm_audit.record_batch(results, asked, at=datetime(2026, 11, 29, tzinfo=UTC))
        for name, call_id in zip("ab", recorded.call_ids, strict=True):
            one = found(call_id)
            assert bool(one.messages) == bool(one.tools) == (name in kept), name
            assert bool(one.content_left_out) == (name not in kept), name
            assert one.metadata["custom_id"] == name
        if kept == "":
            assert SECRET.encode() not in journaled()
