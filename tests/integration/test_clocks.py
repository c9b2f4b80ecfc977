"""Clocks that are wrong, put right or frozen: a call has the clock's time, a wait the real one."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from children import child, output_of
from nowhere import NOWHERE
from short_leases import document, set_short_leases, status, waiting
from waiting import Calls, Recording
from wall_clock import SET_CLOCK, give_a_clock

import llm_audit
from llm_audit.ids import created_at

HOURS, YEARS = 2 * 3600, 2 * 365 * 86_400
MONGODB_TICK = timedelta(milliseconds=1)  # as exact as a stored date is
KEPT = timedelta(days=30)

# Records under clocks that are ahead, put right, put forward, and behind; says of each call between
# which times by that clock it began.
UNDER_ALL_CLOCKS = (
    SET_CLOCK
    + f"""
import json, time
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder.process import running
from patience import PATIENCE

def now_ms():
    return time.time_ns() // 1_000_000

def look_at_others():
    due_at = running().shipper.upkeep.others.due_at
    while running().shipper.upkeep.others.due_at == due_at:
        time.sleep(0.01)

for ahead in (0, {HOURS}, 0, {YEARS}, 0, -{HOURS}, -{YEARS}):
    set_clock(ahead)
    for _ in range(20):
        before = now_ms()
        call_id = LLMLogger.start(model="clocks", messages=[])
        print(json.dumps([ahead, call_id, before, now_ms()]))
        LLMLogger.complete(call_id)
    # large enough for GridFS
    LLMLogger.complete(LLMLogger.start(messages=[{{"role": "user", "content": str(ahead) * 9000}}]))
    look_at_others()
    assert call_id.wait(PATIENCE)  # of this recorder, though its id may be less than the first
"""
)

FROZEN = """
import logging, sys, time
import llm_audit
from freezegun import freeze_time
from llm_audit import LLMLogger
from patience import PATIENCE

def record(moments=("2021-01-01", "1960-01-01", "2500-01-01")):
    for moment in moments:
        with freeze_time(moment):
            ids = [LLMLogger.start(model=moment, messages=[]) for _ in range(50)]
            for call_id in ids:
                LLMLogger.complete(call_id)
            assert ids == sorted(set(ids)), moment

def waited(wait, seconds):
    began = time.clock_gettime(time.CLOCK_MONOTONIC)
    result = wait(seconds)
    return result, time.clock_gettime(time.CLOCK_MONOTONIC) - began >= seconds

# where there is no server, each wait ends when its time is over, and no sooner
there = sys.argv[2]
logging.disable()  # that MongoDB is away is known
llm_audit.configure(mongo_url=sys.argv[1])
with freeze_time("2021-01-01"):
    record(["2021-01-01"])
    for wait in (llm_audit.flush, llm_audit.recover, llm_audit.shutdown):
        result, long_enough = waited(wait, 0.2)
        assert not result and long_enough, (wait, result, long_enough)

llm_audit.configure(mongo_url=there)
began = LLMLogger.start(model="thawed", messages=[])
with freeze_time("2021-01-01"):  # a recorder that was made before, in real time
    record()
    late = LLMLogger.start(model="late", messages=[])
    LLMLogger.complete(began)
    assert llm_audit.flush(PATIENCE) and llm_audit.recover(PATIENCE)
LLMLogger.complete(late)
assert llm_audit.shutdown(PATIENCE)
with freeze_time("2021-01-01"):  # and one that is made now
    record()
    assert llm_audit.recover(PATIENCE) and llm_audit.shutdown(PATIENCE)
"""


def test_a_clock_that_is_set(
    recording: Recording, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call has the time that the clock had; MongoDB keeps it as long as it should."""
    give_a_clock(tmp_path, monkeypatch)
    monkeypatch.setenv("LLM_AUDIT_RETENTION_DAYS", str(KEPT.days))
    monkeypatch.setenv("LLM_AUDIT_MEDIA_LIMIT_BYTES", "1000")
    set_short_leases(monkeypatch)
    settings = recording(create_collection=True)
    with waiting(settings) as (other,), child(UNDER_ALL_CLOCKS, settings) as process:
        output, errors = process.communicate()
        assert status(calls, other.call_id) == "PENDING"  # by no clock has it been silent
        calls.delete_many({"process_nonce": other.nonce})
    assert process.returncode == 0, errors

    found = {call["_id"]: call for call in calls.find({"model": "clocks"})}
    promised = [json.loads(line) for line in output.splitlines()]
    assert len(found) == len(promised) == 140
    for ahead, call_id, before, after in promised:
        call = found[call_id]
        assert created_at(call_id) == call["created_at"] <= call["completed_at"]
        assert before <= round(call["created_at"].timestamp() * 1000) <= after
        assert (call["status"], 0 <= call["latency_ms"] < HOURS) == ("SUCCESS", True)
        if abs(ahead) < YEARS:
            assert call["expires_at"] == call["created_at"] + KEPT
    of_one_clock = [[line[1] for line in promised[at : at + 20]] for at in range(0, 140, 20)]
    assert all(ids == sorted(ids) for ids in of_one_clock)

    # what MongoDB would have deleted at once, or kept for years
    now = datetime.now(UTC)
    expiring = [call["expires_at"] for call in calls.find()]
    expiring += [file["metadata"]["expires_at"] for file in calls.database["fs.files"].find()]
    assert len(expiring) == 147 + 5  # equal media are one
    assert all(now + KEPT - timedelta(hours=3) < at < now + 1.1 * KEPT for at in expiring)
    assert "The clock of this machine is" in errors
    known = document(calls.database["llm_audit_processes"], call["process_nonce"])
    assert known["expires_at"] > now
    assert known["clock_ahead_seconds"] == pytest.approx(-YEARS, abs=60)
    assert any("clock was" in problem for problem in llm_audit.doctor().problems)


def test_a_clock_that_stands_still(recording: Recording, calls: Calls) -> None:
    """A call has the time that a test has frozen; waits, leases and durations have the real one."""
    settings = recording()
    url = settings.mongo_url.get_secret_value()
    assert output_of(FROZEN, settings, NOWHERE, url, anew=True) == []

    expected = {"2021-01-01": 2021, "1960-01-01": 1970, "2500-01-01": 2500}
    for model, year in expected.items():
        of_model = list(calls.find({"model": model}))
        assert len(of_model) == 100
        for call in of_model:
            assert call["created_at"] == datetime(year, 1, 1, tzinfo=UTC)
            assert call["status"] == "SUCCESS"
            taken = timedelta(milliseconds=call["latency_ms"])
            assert timedelta(0) <= taken < timedelta(hours=1)
            assert timedelta(0) <= call["completed_at"] - call["created_at"] <= taken + MONGODB_TICK
    for model, frozen in (("thawed", False), ("late", True)):
        (call,) = calls.find({"model": model})
        assert call["latency_ms"] < HOURS
        assert (call["created_at"].year == 2021) is frozen
