"""SIGKILL at a random moment: what was promised before it is in MongoDB once, as promised."""

import random
from contextlib import ExitStack

import pytest
from faults.harmed import Harmed, settle
from faults.promises import Child, child, judge
from faults.recording import recover
from faults.table import Report
from patience import LONG
from waiting import Calls, until

from llm_audit.settings import Settings

SMALL_BATCH = 20


@pytest.mark.parametrize(
    ("fault", "segment_max_bytes", "times"),
    [
        ("SIGKILL while recording from 4 threads", 8 * 2**20, 200 if LONG else 8),
        ("SIGKILL during segment rotation, 4 threads", 2_000, 100 if LONG else 6),
    ],
)
def test_killed_while_recording(
    harmed: Harmed,
    chance: random.Random,
    report: Report,
    *,
    fault: str,
    segment_max_bytes: int,
    times: int,
) -> None:
    """Of a process killed while four threads record, every promise is kept."""
    settings = harmed.settings(segment_max_bytes=segment_max_bytes)
    killed = []
    for _ in range(times):
        with child(settings, threads=4) as process:
            process.wait_for_promises(chance.randint(1, 300))
        killed.append(process)
    settle(settings)
    report(fault, times, judge(harmed.calls, killed))


def test_killed_while_shipping(harmed: Harmed, chance: random.Random, report: Report) -> None:
    """Of a process killed between two batches, or within one, every promise is kept."""
    settings = harmed.settings(batch_size=SMALL_BATCH)
    times = 100 if LONG else 5
    killed = []
    for _ in range(times):
        with child(settings, calls=400) as process:
            process.wait_for_promises(1)
            arrived, goal = {"metadata.child": process.number}, chance.randint(1, 350)
            until(lambda: harmed.calls.count_documents(arrived) >= goal)  # noqa: B023  (at once)
        killed.append(process)
    settle(settings)
    report("SIGKILL during shipping", times, judge(harmed.calls, killed))


def dead(harmed: Harmed, settings: Settings, count: int) -> Child:
    """Leave a journal behind of which nothing has been shipped."""
    with harmed.frozen(), child(settings) as process:
        process.wait_for_promises(count)
    return process


def taken_care_of(calls: Calls, process: Child) -> int:
    """Count how far the recovery of a process is: calls that arrived and calls that were closed."""
    its = {"metadata.child": process.number}
    return calls.count_documents(its) + calls.count_documents(its | {"status": "ABANDONED"})


def test_killed_while_recovering(harmed: Harmed, chance: random.Random, report: Report) -> None:
    """However often those who look after a dead process are killed, its promises are kept."""
    settings = harmed.settings(batch_size=SMALL_BATCH)
    times = 60 if LONG else 5
    processes = []
    kills = 0
    while kills < times:
        processes.append(dead(harmed, settings, 500))
        for _ in range(chance.randint(1, 5)):
            goal = taken_care_of(harmed.calls, processes[-1]) + chance.randint(0, 150)
            goal = min(goal, len(processes[-1].promises))
            with child(settings, target=recover):
                until(lambda: taken_care_of(harmed.calls, processes[-1]) >= goal)  # noqa: B023
            kills += 1
    settle(settings)
    report("SIGKILL during recovery", kills, judge(harmed.calls, processes))


def test_one_of_two_recoverers_is_killed(
    harmed: Harmed, chance: random.Random, report: Report
) -> None:
    """Where two race for the same journals and one is killed, the other finishes."""
    settings = harmed.settings(batch_size=SMALL_BATCH)
    times = 60 if LONG else 3
    processes = []
    for _ in range(times):
        left = [dead(harmed, settings, 200) for _ in range(2)]
        with ExitStack() as racing:
            racers = [racing.enter_context(child(settings, target=recover)) for _ in range(2)]
            goal = chance.randint(1, 300)
            until(lambda: sum(taken_care_of(harmed.calls, process) for process in left) >= goal)  # noqa: B023
            racers.pop(chance.randrange(2)).kill()
            for process in left:
                until(lambda: not pending(harmed.calls, process))  # noqa: B023
        processes += left
    settle(settings)
    report("SIGKILL of one of two racing recoverers", times, judge(harmed.calls, processes))


def pending(calls: Calls, process: Child) -> bool:
    """Tell whether something of a dead process is missing or still open."""
    its = {"metadata.child": process.number}
    there = calls.count_documents(its)
    return there < len(process.promises) or bool(calls.count_documents(its | {"status": "PENDING"}))
