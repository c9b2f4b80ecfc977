"""A fault while a journal is read: nothing is lost by it, and nothing counted twice."""

import pytest
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.records import Record
from llm_audit.journal.segments import segment
from llm_audit.recorder import process


def test_a_fault_while_reading_takes_nothing_twice(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had been read before it is not read again: else no segment would ever be done with."""
    recording(strict=False)
    faults, made_of = iter([None, None, MemoryError()]), segment.made_of

    def short_of_memory(record: Record) -> Record:
        if fault := next(faults, None):
            raise fault
        return made_of(record)

    monkeypatch.setattr(segment, "made_of", short_of_memory)
    for _ in range(5):
        LLMLogger.complete(
            LLMLogger.start(model="m", messages=[]), response_message={"content": "x"}
        )
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"status": "SUCCESS"}) == 5
    journal = process.recorder().journal
    assert [(each.taken, each.unacknowledged) for each in journal.segments] == [(10, 0)]
