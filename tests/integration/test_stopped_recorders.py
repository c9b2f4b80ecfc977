"""A recorder that is stopped leaves nothing behind, however many calls it has recorded."""

import gc
import weakref
from typing import Any

import pytest
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder import process
from llm_audit.recorder.calls import Calls as RecordedCalls
from llm_audit.redaction.rule import Rule


def test_what_is_known_of_a_call_does_not_keep_its_recorder(
    recording: Recording, calls: Calls
) -> None:
    """Its client and threads' state would pile up where each request ends with a `shutdown()`."""
    recording()
    gone, ids = [], []
    for _ in range(3):
        ids.append(LLMLogger.start(model="m", messages=[]))
        gone.append(weakref.ref(process.recorder()))
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
        assert llm_audit.shutdown(PATIENCE)
    gc.collect()
    assert [ref() for ref in gone[:-1]] == [None, None]  # the last one may still be asked

    for call_id in ids:  # and an open call still ends where it began
        LLMLogger.complete(call_id)
        LLMLogger.score(call_id, "good", 1)
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"status": "SUCCESS"}) == 6
    assert llm_audit.stats()["rejected"] == []


def test_rules_of_the_next_recorder_see_what_it_takes_over(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How a call ended was told to a recorder without rules, which is stopped in this moment."""
    recording()
    call_id = LLMLogger.start(model="m", messages=[])
    earlier, end = process.recorder().calls, RecordedCalls.end

    def stop_before(stopped: RecordedCalls, *args: Any) -> None:
        if stopped is earlier:
            assert llm_audit.shutdown(PATIENCE)
            recording(redact=Rule("animal", "zebra", fields=("response_message",)))
        end(stopped, *args)

    monkeypatch.setattr(RecordedCalls, "end", stop_before)
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "a zebra"})
    assert llm_audit.flush(PATIENCE)

    call = calls.find_one({"_id": call_id}) or {}
    assert call["response_message"]["content"] == "a [redacted:animal]"
    assert (call["status"], call["redacted"]) == ("SUCCESS", {"animal": 1})
