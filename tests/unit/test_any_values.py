"""Whatever a program hands over: recording raises nothing but what it says, and keeps the rest."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anything import PYTHON, bent, no_hang
from properties import given, st

from llm_audit import LLMCall, LLMLogger, UsageError, audit_context
from llm_audit.settings import changed_settings
from llm_audit.testing.records import recorded_nowhere

USUAL: dict[Callable[..., Any], dict[str, Any]] = {
    LLMLogger.start: {
        "call_type": "CHAT",
        "provider": "openai",
        "model": "gpt-4",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "input": None,
        "system_prompt": "Be brief.",
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
        **dict.fromkeys(("trace_id", "session_id", "user_id", "company_id"), "x"),
        **dict.fromkeys(("parent_call_id", "review_id", "task_id"), "y"),
        "tags": ["a"],
        "metadata": {"a": {"b": 1}},
        "temperature": 0.5,
        "max_tokens": 5,
        "top_p": 1,
    },
    LLMLogger.complete: {
        "response_message": {"role": "assistant", "content": "Good bye", "tool_calls": []},
        "tokens": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {}},
        "estimated_cost": 0.1,
        "finish_reason": "stop",
        "response": {
            "id": "r",
            "model": "gpt-4",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        },
        "response_model": "gpt-4",
        "response_id": "r",
        "time_to_first_token_ms": 5,
        "status": "SUCCESS",
    },
    LLMLogger.fail: {"error": "no", "response_message": None, "tokens": {}, "status": "ERROR"},
    LLMLogger.score: {"name": "good", "value": True, "comment": "why", "source": "me"},
    LLMLogger.annotate: {"tags": ["b"], "metadata": {"c": 1}},
    audit_context: {
        **dict.fromkeys(("trace_id", "session_id", "user_id", "company_id"), "x"),
        "tags": ["a"],
        "metadata": {"a": 1},
    },
}


SAID = st.fixed_dictionaries(
    {what.__name__: bent([usual], PYTHON) for what, usual in USUAL.items()}
)


REQUIRED: dict[Any, Any] = {LLMLogger.fail: {"error": 1}, LLMLogger.score: {"name": 1, "value": 1}}


def attempt(what: Callable[..., Any], *arguments: Any, strict: bool, **given: Any) -> Any:
    """Record, where in strict mode it may be said that something is wrong; nothing else is."""
    try:
        return what(*arguments, **REQUIRED.get(what, {}) | given)
    except UsageError:
        assert strict
        return None


@given(
    said=SAID,
    ended=st.sampled_from([LLMLogger.complete, LLMLogger.fail]),
    later=st.sampled_from([LLMLogger.score, LLMLogger.annotate]),
    strict=st.booleans(),
    odd_id=st.none() | PYTHON,
)
def test_anything_may_be_recorded(
    said: dict[str, Any], ended: Any, later: Any, strict: bool, odd_id: Any
) -> None:
    """Every call is a document that is read without a rest, and what stands beside it is kept."""
    with (
        TemporaryDirectory() as spool,
        recorded_nowhere(Path(spool)) as recorded,
        changed_settings(strict=strict),
        no_hang(),
    ):
        beside = LLMLogger.start(model="beside")
        ids = [attempt(LLMLogger.start, strict=strict, **said["start"])]
        context = attempt(audit_context, strict=strict, **said["audit_context"])
        if context is not None:
            try:
                with context:
                    ids.append(LLMLogger.start(model="within"))
            except UsageError:
                assert strict
        for call_id in (*ids, odd_id):
            for what in (ended, later):
                attempt(what, call_id, strict=strict, **said[what.__name__])
        LLMLogger.complete(beside, response_message={"content": "kept"})
        calls = {call.id: call for call in recorded}
    assert calls[beside].response_message == {"content": "kept"}
    assert {call_id for call_id in ids if call_id} <= calls.keys()
    for call in calls.values():
        read = LLMCall.model_validate({**call.model_dump(), "_id": call.id})
        assert read.unreadable == []
        read.model_dump_json()
