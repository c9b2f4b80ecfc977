"""Clocks that are wrong, put right or frozen: a call has the clock's time, a wait the real one."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from children import output_of
from nowhere import NOWHERE
from waiting import Calls, Recording
from wall_clock import SET_CLOCK, give_a_clock

from llm_audit.ids import created_at

HOURS = 2 * 3600

# Records under a clock that is ahead, put right, put forward, put right again, and long ago; says
# of each call between which times by that clock it began.
UNDER_FIVE_CLOCKS = (
    SET_CLOCK
    + f"""
import json, time
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder.process import running
from patience import PATIENCE

def now_ms():
    return time.time_ns() // 1_000_000

first = None
for ahead in ({HOURS}, 0, {HOURS}, 0, -{HOURS}):
    set_clock(ahead)
    for _ in range(20):
        before = now_ms()
        call_id = LLMLogger.start(model="m", messages=[], metadata={{"ahead": ahead}})
        print(json.dumps([call_id, before, now_ms()]))
        LLMLogger.complete(call_id)
    assert call_id.wait(PATIENCE)  # of this recorder, though its id is the lesser
assert llm_audit.flush(PATIENCE)
"""
)

FROZEN = """
import sys, time
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
    """Each call has the time that the clock had, and no other is mistaken for it."""
    give_a_clock(tmp_path, monkeypatch)
    lines = output_of(UNDER_FIVE_CLOCKS, recording())

    found = {call["_id"]: call for call in calls.find()}
    promised = [json.loads(line) for line in lines]
    assert len(found) == len(promised) == 100
    for call_id, before, after in promised:
        call = found[call_id]
        made = created_at(call_id)
        assert made == call["created_at"]
        epoch_ms = call["created_at"].timestamp() * 1000
        assert before <= round(epoch_ms) <= after
        assert (call["status"], 0 <= call["latency_ms"] < HOURS) == ("SUCCESS", True)
        assert call["created_at"] <= call["completed_at"]
    ids = [call_id for call_id, _, _ in promised]
    for first in range(0, 100, 20):
        assert all(earlier < later for earlier, later in pairwise(ids[first : first + 20]))


def test_a_clock_that_stands_still(recording: Recording, calls: Calls) -> None:
    """A call has the time that a test has frozen; waits, leases and durations have the real one."""
    settings = recording()
    url = settings.mongo_url.get_secret_value()
    assert output_of(FROZEN, settings, NOWHERE, url) == []

    expected = {"2021-01-01": 2021, "1960-01-01": 1970, "2500-01-01": 2500}
    for model, year in expected.items():
        of_model = list(calls.find({"model": model}))
        assert len(of_model) == 100
        for call in of_model:
            assert call["created_at"] == datetime(year, 1, 1, tzinfo=UTC)
            assert call["status"] == "SUCCESS"
            taken = timedelta(milliseconds=call["latency_ms"])
            assert timedelta(0) <= taken < timedelta(hours=1)
            assert timedelta(0) <= call["completed_at"] - call["created_at"] <= taken
    for model, frozen in (("thawed", False), ("late", True)):
        (call,) = calls.find({"model": model})
        assert call["latency_ms"] < HOURS
        assert (call["created_at"].year == 2021) is frozen
