"""Fail-over of a replica set of three under load: nothing lost with write concern majority."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pymongo
import pytest
from faults.promises import Child, child, judge
from faults.replica_set import ReplicaSet
from faults.table import Report
from patience import LONG
from waiting import Recording, until


@pytest.fixture(scope="module")
def three() -> Iterator[ReplicaSet]:
    """Run a replica set of three."""
    with ReplicaSet() as members:
        yield members


def wait_for_progress(process: Child) -> None:
    """Wait until more is recorded and more is acknowledged than now."""
    before = process.acknowledged[-1][1] if process.acknowledged else 0
    process.wait_for_promises(300)
    until(lambda: process.acknowledged[-1][1] > before)


def longest_pause_seconds(process: Child) -> float:
    """Return for how long at the most nothing was acknowledged while there was something to."""
    moved = [
        seconds
        for (_, before), (seconds, after) in pairwise(process.acknowledged)
        if after > before
    ]
    return max(later - earlier for earlier, later in pairwise(moved))


@pytest.mark.parametrize(
    ("fault", "bring_about", "times"),
    [
        ("primary of three killed -9", ReplicaSet.kill_primary, 6 if LONG else 1),
        ("primary of three stepped down", ReplicaSet.step_down, 6 if LONG else 1),
    ],
)
def test_another_becomes_primary(
    recording: Recording,
    three: ReplicaSet,
    report: Report,
    *,
    fault: str,
    bring_about: Callable[[ReplicaSet], None],
    times: int,
) -> None:
    """Whatever makes another member the primary, calls arrive once, with no help from outside."""
    settings = recording(mongo_url=three.url)
    with child(settings, threads=4, pause_seconds=0.01) as process:
        for _ in range(times):
            wait_for_progress(process)
            bring_about(three)
        wait_for_progress(process)
        process.stop()
    with pymongo.MongoClient(three.url) as client:
        verdict = judge(client[settings.database]["llm_calls"], [process])
        client.drop_database(settings.database)
    pause = longest_pause_seconds(process)
    report(fault, times, verdict, f"shipping paused {pause:.1f} s at the longest")
