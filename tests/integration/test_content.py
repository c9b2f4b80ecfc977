"""Content that is not recorded, on its way into MongoDB, and what the doctor says of it."""

import asyncio
from typing import Any

import pytest
from waiting import Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMCall, LLMLogger

START: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "hello"}, {"role": "user", "content": "again"}],
    "tools": [{"type": "function", "function": {"name": "search"}}],
    "seed": 42,
    "stop": ["END"],
}
ANSWER = {"role": "assistant", "content": "yes"}
ALL_THREE = {"metadata": 3}


@pytest.mark.parametrize("apart", [False, True], ids=["merged", "apart"])
def test_what_waited_in_memory_arrives_with_the_end(
    recording: Recording, calls: Calls, *, apart: bool
) -> None:
    """Together with its start or after it: nothing is there twice, nothing is missing."""
    recording(content="sampled", content_sample_rate=0, pending_after_seconds=0)

    def started(**given: Any) -> str:
        call_id = LLMLogger.start(**START | given)
        if apart:
            until(lambda: calls.find_one({"_id": call_id, "status": "PENDING"}))
            shown = calls.find_one({"_id": call_id}) or {}
            assert not {"messages", "tools", "request_params"} & shown.keys()
            assert shown["content"] == "sampled"
        return call_id

    LLMLogger.fail(failed := started(), ValueError("no"), response_message=ANSWER)
    left = started()
    LLMLogger.end_open_calls(None)
    LLMLogger.complete(fine := started(), response_message=ANSWER, tokens={"prompt_tokens": 1})
    LLMLogger.fail(cancelled := started(), asyncio.CancelledError())

    for call_id, status in (
        (failed, "ERROR"),
        (left, "INCOMPLETE"),
        (cancelled, "CANCELLED"),
    ):
        call = arrived(calls, call_id)
        assert call["status"] == status
        assert (call["messages"], call["tools"]) == (START["messages"], START["tools"])
        assert call["request_params"] == {"seed": 42, "stop": ["END"]}
        assert "content_left_out" not in call
        LLMCall.model_validate(call)
    assert arrived(calls, failed)["response_message"] == ANSWER
    call = arrived(calls, fine)
    assert not {"messages", "tools", "response_message"} & call.keys()
    assert (call["request_params"], call["prompt_tokens"]) == ({"seed": 42}, 1)
    assert call["content_left_out"] == {
        "messages": 2, "tools": 1, "request_params": 1, "response_message": 1,
    }  # fmt: skip
    LLMCall.model_validate(call)


def test_the_doctor_counts_what_is_left_out(recording: Recording, calls: Calls) -> None:
    """By process and policy; it is nothing to look at."""
    recording(content="metadata", heartbeat_seconds=0.1)
    for _ in range(3):
        LLMLogger.complete(call_id := LLMLogger.start(**START), response_message=ANSWER)
    call = arrived(calls, call_id)
    assert not {"messages", "tools", "response_message"} & call.keys()
    until(lambda: [one.content_left_out for one in llm_audit.doctor().processes] == [ALL_THREE])
