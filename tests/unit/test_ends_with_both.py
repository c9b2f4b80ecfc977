"""A call that has both: an error, and what was answered all the same."""

import asyncio
from types import SimpleNamespace
from typing import Any

import anthropic
import openai
import pytest
from openai.types.chat import ChatCompletion
from openai.types.completion_usage import CompletionUsage

from llm_audit import LLMLogger, UsageError, configure
from llm_audit.testing import RecordedCalls
from llm_audit.testing.records import RecordedCall

USAGE = {"prompt_tokens": 10, "completion_tokens": 4096, "total_tokens": 4106}
PARTIAL = {"role": "assistant", "content": '{"a": '}
ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "length", "message": PARTIAL}],
    "usage": USAGE,
}
COMPLETION = ChatCompletion.model_validate(ANSWER)


@pytest.fixture
def call_id(llm_audit_records: RecordedCalls) -> str:  # noqa: ARG001
    """Start a call, of which it is told at once if something is wrong."""
    configure(strict=True)
    return LLMLogger.start(provider="openai", model="gpt-4o", messages=[])


class Gaveup(Exception):  # noqa: N818
    """As instructor raises it: the last of several completions, and what all of them used."""

    last_completion = COMPLETION
    total_usage = CompletionUsage(prompt_tokens=30, completion_tokens=5, total_tokens=35)


def tokens_of(call: RecordedCall) -> tuple[int | None, int | None]:
    return call.prompt_tokens, call.completion_tokens


def test_what_was_streamed_before_the_cut_is_kept(
    call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """Message, tokens, cost and finish reason stand beside the error, and its cause."""
    try:
        raise TimeoutError("cut off")  # noqa: TRY301
    except TimeoutError as error:
        LLMLogger.fail(
            call_id,
            error,
            response_message=PARTIAL,
            tokens=USAGE,
            finish_reason="length",
            response_id="r",
            response_model="gpt-4o",
            time_to_first_token_ms=12.5,
        )
    call = llm_audit_records[-1]

    assert (call.status, call.error_type, call.ended_by) == ("TIMEOUT", "TimeoutError", "exception")
    assert "cut off" in (call.error_traceback or "")
    assert call.response_message == PARTIAL
    assert tokens_of(call) == (10, 4096)
    assert call.estimated_cost
    assert (call.finish_reason, call.response_id, call.response_model) == ("length", "r", "gpt-4o")
    assert call.time_to_first_token_ms == 12.5


@pytest.mark.parametrize("method", [LLMLogger.fail, LLMLogger.complete])
def test_both_methods_say_the_same(
    method: Any, call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """An error ends a call as what it means, whichever method it is given to."""
    method(call_id, error="gave up", response=COMPLETION, estimated_cost=0.5)
    call = llm_audit_records[-1]

    assert (call.status, call.error_message, call.ended_by) == ("ERROR", "gave up", "exception")
    assert (call.api, call.finish_reason) == ("openai.chat", "length")
    assert (call.response_message, call.estimated_cost) == (PARTIAL, 0.5)


def test_a_status_stands_over_what_the_error_means(
    call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """Who ends a call knows best."""
    LLMLogger.complete(call_id, error=TimeoutError("x"), status="CANCELLED")
    call = llm_audit_records[-1]
    assert (call.status, call.error_type, call.ended_by) == (
        "CANCELLED",
        "TimeoutError",
        "exception",
    )


def filtered() -> Exception:
    error: Any = openai.ContentFilterFinishReasonError()
    error.completion = COMPLETION  # where clients of before November 2026 do not put it
    return error


def raised_from(cause: Exception) -> Exception:
    error = ValueError("no JSON")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "tokens"),
    [
        (openai.LengthFinishReasonError(completion=COMPLETION), (10, 4096)),
        (filtered(), (10, 4096)),
        (raised_from(openai.LengthFinishReasonError(completion=COMPLETION)), (10, 4096)),
        (Gaveup("after 3 attempts"), (30, 5)),
    ],
    ids=["length", "filtered", "wrapped", "instructor"],
)
def test_a_completion_in_an_exception_was_billed(
    error: Exception, tokens: tuple[int, int], call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """It is read as if it had been given as the response."""
    LLMLogger.fail(call_id, error)
    call = llm_audit_records[-1]

    assert (call.status, call.error_type) == ("ERROR", type(error).__name__)
    assert (call.response_message, call.finish_reason) == (PARTIAL, "length")
    assert tokens_of(call) == tokens
    assert call.estimated_cost


def test_what_is_given_stands_over_what_the_exception_carries(
    call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """The completion in an exception is read only where no other answer is given."""
    error = openai.LengthFinishReasonError(completion=COMPLETION)
    LLMLogger.fail(call_id, error, response_message={"role": "assistant", "content": "mine"})
    call = llm_audit_records[-1]
    assert call.response_message == {"role": "assistant", "content": "mine"}
    assert tokens_of(call) == (None, None)


class ParserError(ValueError):
    """As langchain raises it: with the text that it cannot parse."""

    llm_output = PARTIAL["content"]


class RunTimedOut(TimeoutError):  # noqa: N818
    """As pydantic-ai raises it: with the last response of the run, and what all of it used."""

    response = SimpleNamespace(parts=[{"part_kind": "text", "content": "half"}], kind="response")
    usage = SimpleNamespace(input_tokens=10, output_tokens=5)


def test_an_answer_that_an_exception_repeats_is_kept(
    call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """What a framework's exception says that the model said is the call's message."""
    LLMLogger.fail(call_id, ParserError("no JSON"))
    assert llm_audit_records[-1].response_message == PARTIAL

    LLMLogger.fail(LLMLogger.start(provider="openai", model="gpt-4o"), RunTimedOut())
    call = llm_audit_records[-1]
    assert (call.status, tokens_of(call)) == ("TIMEOUT", (10, 5))
    assert "half" in str(call.response_message)


def test_a_response_that_does_not_validate_is_kept(
    call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """The client refuses what the provider has answered with HTTP 200, and billed."""
    import httpx2

    request = httpx2.Request("POST", "https://api.example/v1")
    response = httpx2.Response(200, json=ANSWER, request=request)
    LLMLogger.fail(call_id, openai.APIResponseValidationError(response, ANSWER))
    call = llm_audit_records[-1]

    assert (call.status, call.http_status) == ("ERROR", 200)
    assert (call.response_message, call.finish_reason) == (PARTIAL, "length")


@pytest.mark.parametrize(
    ("status", "handled", "ended_by"),
    [
        ("CANCELLED", None, "caller"),
        ("ERROR", None, "caller"),
        ("TIMEOUT", TimeoutError(), "exception"),
        ("CANCELLED", asyncio.CancelledError(), "exception"),
        ("CANCELLED", ValueError(), "caller"),
        ("INCOMPLETE", SystemExit(), "process_exit"),
        ("SUCCESS", ValueError(), None),
    ],
)
def test_a_status_without_an_error_has_a_cause(
    status: str,
    handled: BaseException | None,
    ended_by: str | None,
    call_id: str,
    llm_audit_records: RecordedCalls,
) -> None:
    """It is that of the exception being handled, if this means the status; else the caller."""
    try:
        if handled is not None:
            raise handled  # noqa: TRY301
        LLMLogger.complete(call_id, response_message=PARTIAL, status=status)
    except BaseException:  # noqa: BLE001
        LLMLogger.complete(call_id, response_message=PARTIAL, status=status)
    call = llm_audit_records[-1]
    assert (call.status, call.ended_by) == (status, ended_by)
    assert call.response_message == PARTIAL


def test_what_ends_the_process_keeps_what_was_said(
    call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """SystemExit is no outcome, but what was answered until then stands until there is one."""
    LLMLogger.fail(call_id, SystemExit(1), response_message=PARTIAL)
    call = llm_audit_records[-1]
    assert (call.status, call.ended_by) == ("INCOMPLETE", "process_exit")
    assert call.response_message == PARTIAL


@pytest.mark.parametrize("absent", [openai.NOT_GIVEN, openai.omit, anthropic.NOT_GIVEN, ...])
def test_a_clients_word_for_not_given_is_nothing(
    absent: Any, call_id: str, llm_audit_records: RecordedCalls
) -> None:
    """Every argument may be one."""
    names = ("response_message", "tokens", "estimated_cost", "finish_reason", "response")
    names += ("response_model", "response_id", "time_to_first_token_ms", "status")  # type: ignore[assignment]
    given = dict.fromkeys(names, absent)
    LLMLogger.complete(call_id, error=absent, **given)
    first = llm_audit_records[-1].model_dump(exclude_unset=True)
    other = LLMLogger.start(provider="openai", model="gpt-4o", messages=[])
    LLMLogger.complete(other)
    second = llm_audit_records[-1].model_dump(exclude_unset=True)
    assert first.keys() == second.keys()
    assert first["status"] == "SUCCESS"

    failed = LLMLogger.start(messages=[])
    LLMLogger.fail(failed, "gave up", **given)
    assert (llm_audit_records[-1].status, llm_audit_records[-1].usage) == ("ERROR", {})
    with pytest.raises(UsageError, match="error has to be"):
        LLMLogger.fail(LLMLogger.start(messages=[]), absent)
