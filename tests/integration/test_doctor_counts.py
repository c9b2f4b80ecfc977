"""What was removed or put there behind our back: the doctor finds it, and raises no false alarm."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from children import child
from dead_processes import left_behind
from patience import PATIENCE
from waiting import Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.diagnosis import counts
from llm_audit.diagnosis.explain import explain
from llm_audit.ids import new_call_id
from llm_audit.recorder import process
from llm_audit.settings.names import PROCESSES
from llm_audit.store.ensure import ensure
from llm_audit.store.indexes import PROCESS_INDEX, call_indexes

MESSAGES = [{"role": "user", "content": "hello"}]


def record(count: int, *, ended: bool = True) -> list[str]:
    call_ids = [LLMLogger.start(model="m", messages=MESSAGES) for _ in range(count)]
    for call_id in call_ids if ended else ():
        LLMLogger.complete(call_id)
    return [str(call_id) for call_id in call_ids]


def found() -> tuple[dict[str, int], dict[str, int]]:
    """Return what the doctor misses, and what it finds too much, by process."""
    diagnosis = llm_audit.doctor()
    assert not diagnosis.not_looked_at
    return diagnosis.missing_calls, diagnosis.invented_calls


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "alive"])
def test_calls_that_were_removed_are_missed(
    recording: Recording, calls: Calls, *, ended: bool
) -> None:
    """Of a process that lives, and of one that has ended, the doctor says how many are gone."""
    recording()
    call_ids = record(20)
    nonce = process.recorder().constants["process_nonce"]
    assert llm_audit.flush(PATIENCE)
    if ended:
        assert llm_audit.shutdown(PATIENCE)
    else:
        process.recorder().shipper.life.soon()
        known = calls.database[PROCESSES]
        until(lambda: known.count_documents({"_id": nonce, "acked_through": 40}))
    assert found() == ({}, {})

    calls.delete_many({"_id": {"$in": call_ids[:5]}})
    assert found() == ({nonce: 5}, {})
    diagnosis = llm_audit.doctor()
    (report,) = diagnosis.processes
    assert report.everything_arrived is False
    assert "of 20 calls that it began 5 are not there" in report.summary
    assert [line for line in diagnosis.problems if line.startswith("5 calls of Process")]


def test_calls_that_were_put_there_are_found(recording: Recording, calls: Calls) -> None:
    """They name a process that began fewer, or one that nobody knows; imports do not count."""
    recording()
    (call_id,) = record(1)
    nonce = process.recorder().constants["process_nonce"]
    assert llm_audit.shutdown(PATIENCE)
    (call,) = calls.find()

    for number in range(2):
        calls.insert_one({**call, "_id": f"{call_id[:-4]}fff{number}"})
    for number in range(3):
        calls.insert_one({**call, "_id": f"{call_id[:-4]}eee{number}", "process_nonce": "nobody"})
        imported = {"process_nonce": "elsewhere", "imported_at": datetime.now(UTC)}
        calls.insert_one({**call, "_id": f"{call_id[:-4]}ddd{number}", **imported})
        older = f"01800000-0000-7000-8000-00000000000{number}"  # documents of then are gone
        calls.insert_one({**call, "_id": older, "process_nonce": "long ago"})
        calls.insert_one({"_id": f"{call_id[:-4]}ccc{number}"})
    assert found() == ({}, {nonce: 2, "nobody": 3})
    problems = llm_audit.doctor().problems
    assert [line for line in problems if line.startswith("2 calls more than Process")]
    assert [line for line in problems if "name a process nobody" in line]


def test_no_false_alarm(recording: Recording, calls: Calls) -> None:
    """Whatever becomes of calls and processes on the way, nothing is said of what may differ."""
    recording(strict=False, recovery_interval_seconds=0.1)
    record(3)
    assert llm_audit.flush(PATIENCE)
    with left_behind():  # adopted: some of it had been counted, some not
        record(4)
        record(2, ended=False)
    assert llm_audit.recover(PATIENCE)
    assert found() == ({}, {})

    with left_behind():
        record(5)
    assert llm_audit.recover(PATIENCE)
    assert llm_audit.shutdown(PATIENCE)
    recording(strict=False, spool_max_bytes=30_000)  # some are dropped whole
    for _ in range(100):
        LLMLogger.start(model="m", messages=MESSAGES, user_id="u" * 1_000)
    LLMLogger.complete(str(uuid.uuid4()))  # only its end is ever told
    LLMLogger.complete(new_call_id()[0])
    assert llm_audit.shutdown(PATIENCE)
    recording(strict=False)
    some_are_refused = {"model": {"$ne": "bad"}, "encoding_notes": {"$exists": False}}
    calls.database.command("collMod", calls.name, validator=some_are_refused)
    record(2)
    for _ in range(3):
        LLMLogger.start(model="bad", messages=MESSAGES)
    assert llm_audit.shutdown(PATIENCE)
    assert found() == ({}, {})

    recording(strict=False, retention_days=3)
    record(3)
    nonce = process.recorder().constants["process_nonce"]
    assert llm_audit.shutdown(PATIENCE)
    began = datetime.now(UTC) - timedelta(days=4)  # then they have expired
    calls.database[PROCESSES].update_one({"_id": nonce}, {"$set": {"started_at": began}})
    calls.delete_many({"process_nonce": nonce})
    assert found() == ({}, {})


def test_a_killed_process_raises_no_alarm(recording: Recording, calls: Calls) -> None:
    """Whether it is only silent yet, or others have shipped the rest of it: nothing was removed."""
    settings = recording(strict=False)
    script = """
import os, signal
import llm_audit
from llm_audit import LLMLogger
for number in range(300):
    call_id = LLMLogger.start(model="m", messages=[])
    LLMLogger.complete(call_id)
    if number == 100:
        assert llm_audit.flush(60)
os.kill(os.getpid(), signal.SIGKILL)
"""
    for _ in range(2):
        with child(script, settings) as killed:
            killed.communicate()
        assert found() == ({}, {})
        assert llm_audit.recover(PATIENCE)
        assert llm_audit.flush(PATIENCE)
        assert found() == ({}, {})
    dead = calls.database[PROCESSES].distinct("_id", {"state": "recovered"})
    calls.delete_many({"process_nonce": dead[0]})
    missing, invented = found()
    assert (missing, invented) == ({dead[0]: 300}, {})


def test_counting_reads_an_index_only(recording: Recording, calls: Calls) -> None:
    """Neither counting the calls of a process nor finding its name reads a call."""
    recording()
    ensure(calls.database, calls.name, call_indexes())
    record(30)
    assert llm_audit.shutdown(PATIENCE)
    nonce = calls.distinct("process_nonce")[0]
    counted = [{"$match": {"process_nonce": nonce}}, {"$count": "calls"}]
    for pipeline in (counted, counts.newest_by_process()):
        plan = explain(calls, pipeline)
        assert (plan.indexes, plan.documents_examined) == ([PROCESS_INDEX], 0), pipeline
    assert explain(calls, counts.newest_by_process()).keys_examined <= 3
