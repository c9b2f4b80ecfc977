"""A response that holds an error is one, whatever its HTTP status was."""

from typing import Any
from unittest.mock import MagicMock

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from outcome_fields import outcome_fields
from recorded_traffic import TRAFFIC, recorded_calls

from llm_audit import LLMLogger, response_of
from llm_audit.providers.errors import BODY_MAX_CHARACTERS
from llm_audit.testing import RecordedCalls

BUSY = {"message": "overloaded", "code": 502}
SAID = {"role": "assistant", "content": "Hel"}
CHOICE = {"index": 0, "finish_reason": "stop", "message": SAID}
GEMINI = {"content": {"parts": [{"text": "a"}]}}
CHAT: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
FAILED: dict[str, Any] = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "output": [],
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "status": "failed",
    "error": {"code": "server_error", "message": "it broke"},
}


def ended(response: object, **given: Any) -> dict[str, Any]:
    """Return the outcome that a response gives without its content."""
    fields = outcome_fields({"response": response, **given}, ("p", "m"))
    names = ("status", "error_type", "error_message", "http_status", "ended_by")
    return {name: fields[name] for name in names if name in fields}


def error(
    kind: str | None, message: str | None = None, status: int | None = None
) -> dict[str, Any]:
    given = {"error_type": kind, "error_message": message, "http_status": status}
    found = {name: value for name, value in given.items() if value is not None}
    return {"status": "ERROR", **found, "ended_by": "response"}


ERRORS = {
    "openrouter": ({"id": "gen-1", "error": BUSY}, error("502", "overloaded", 502)),
    "no choices": ({**CHAT, "choices": None, "error": BUSY}, error("502", "overloaded", 502)),
    "the client's object": (
        ChatCompletion.model_construct(**CHAT, choices=None, error=BUSY),
        error("502", "overloaded", 502),
    ),
    "in the choice": (
        {**CHAT, "choices": [{**CHOICE, "finish_reason": "error", "error": BUSY}]},
        error("502", "overloaded", 502),
    ),
    "finish_reason": ({**CHAT, "choices": [{**CHOICE, "finish_reason": "error"}]}, error("error")),
    "responses": (FAILED, error("server_error", "it broke")),
    "responses' object": (Response.model_validate(FAILED), error("server_error", "it broke")),
    "without reason": ({**FAILED, "error": None}, error("failed")),
    "gemini": (
        {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}},
        error("SAFETY", "no"),
    ),
    "gemini's error": (
        {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}},
        error("RESOURCE_EXHAUSTED", "slow", 429),
    ),
    "anthropic": (
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        error("overloaded_error", "Overloaded"),
    ),
    "bedrock": (
        {"throttlingException": {"message": "Too many requests"}},
        error("throttlingException", "Too many requests"),
    ),
    "aws": (
        {"__type": "ThrottlingException", "message": "Too many tokens"},
        error("ThrottlingException", "Too many tokens"),
    ),
    "ollama": ({"error": "model 'x' not found"}, error(None, "model 'x' not found")),
    "tgi": ({"error": "full", "error_type": "overloaded"}, error("overloaded", "full")),
    "vllm": (
        {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
        error("BadRequestError", "too long", 400),
    ),
    "cloudflare": (
        {"result": None, "success": False, "errors": [{"code": 7000, "message": "no route"}]},
        error("7000", "no route"),
    ),
    "cohere": (
        {"id": "c", "finish_reason": "ERROR", "message": {"role": "assistant", "content": []}},
        error("ERROR"),
    ),
    "of unknown form": ({"error": {"reasons": ["x"]}}, error(None, '{"reasons": ["x"]}')),
    "time was up": (
        {"error": {"message": "upstream", "code": 504}},
        {**error("504", "upstream", 504), "status": "TIMEOUT"},
    ),
    "no time": (
        {"modelTimeoutException": {"message": "slow"}},
        {**error("modelTimeoutException", "slow"), "status": "TIMEOUT"},
    ),
    "cancelled": (
        {**FAILED, "status": "cancelled", "error": None},
        {**error("cancelled"), "status": "CANCELLED"},
    ),
}
ANSWERS = [
    {**CHAT, "choices": [CHOICE]},
    {**CHAT, "choices": [{**CHOICE, "error": None}], "error": None},
    {**CHAT, "choices": [CHOICE], "error": {}},
    {**FAILED, "status": "completed", "error": None},
    {**FAILED, "status": "incomplete", "error": None, "incomplete_details": {"reason": "x"}},
    {"candidates": [GEMINI], "promptFeedback": {"blockReason": "X"}},
    {"candidates": [GEMINI], "promptFeedback": {}},
    {"message": "just a text", "code": 0, "data": {"x": 1}},
    {"error": False, "errors": [], "error_code": 0, "data": {"x": 1}},
    *({}, [], "", "error", MagicMock(), {"error": ""}),
]  # fmt: skip


def test_an_error_in_a_response_ends_the_call_as_one() -> None:
    """Its type or code and its message are kept, in each API's spelling."""
    found = {name: ended(response) for name, (response, _) in ERRORS.items()}
    assert found == {name: expected for name, (_, expected) in ERRORS.items()}


def test_an_answer_is_a_success() -> None:
    """Where the error is null or empty, or says nothing of the answer, there is none."""
    assert [ended(answer) for answer in ANSWERS] == [{"status": "SUCCESS"}] * len(ANSWERS)


def test_what_the_caller_says_stands() -> None:
    """A status given is the call's; an exception or text given is the error."""
    body = {"error": BUSY}
    cancelled = ended(body, status="CANCELLED")
    assert cancelled == {**error("502", "overloaded", 502), "status": "CANCELLED"} | {
        "ended_by": "caller"
    }
    assert ended(body, status="SUCCESS") == {"status": "SUCCESS"}
    assert ended(body, error="mine")["error_message"] == "mine"
    assert ended({**CHAT, "choices": [CHOICE]}, finish_reason="error") == {"status": "SUCCESS"}


def test_message_and_error_are_both_kept(llm_audit_records: RecordedCalls) -> None:
    """What was said before the cut, what it used, and the whole response stand beside the error."""
    body = {
        **CHAT,
        "choices": [{**CHOICE, "finish_reason": "error", "error": BUSY}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    LLMLogger.complete(LLMLogger.start(messages=[]), response=body)
    LLMLogger.complete(LLMLogger.start(messages=[]), response={"id": "gen-1", "error": BUSY})
    partial, empty = llm_audit_records

    assert (partial.status, partial.error_type) == ("ERROR", "502")
    assert partial.response_message == SAID
    assert partial.completion_tokens == 1
    assert response_of(partial) == body
    assert (empty.status, empty.encoding_notes) == ("ERROR", [])
    assert response_of(empty) == {"id": "gen-1", "error": BUSY}


def test_a_long_message_is_cut() -> None:
    """An error that is a page keeps its beginning."""
    message = ended({"error": "x" * 2 * BODY_MAX_CHARACTERS})["error_message"]
    assert len(message) < BODY_MAX_CHARACTERS + 50


@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_recorded_answers_and_errors_are_told_apart() -> None:
    """No answer of a real provider is taken for an error, and the errors of most are found."""
    wrong = []
    for call in recorded_calls():
        status = call.get("status")
        if isinstance(call["response"], dict) and isinstance(status, int):
            failed = ended(call["response"])["status"] != "SUCCESS"
            if failed != (status >= 400):
                wrong.append({"id", *call["response"]})
    # a body that is nothing but a text may be an answer as well: AWS', Cohere's, Voyage's
    assert [names for names in wrong if not names <= {"id", "message", "detail"}] == []
