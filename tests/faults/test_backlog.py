"""A long outage: what waits is on disk, not in memory, and drains while new calls keep coming."""

import resource
import time
from pathlib import Path

from faults.harmed import Harmed
from faults.promises import Child, child, judge
from faults.table import Report
from patience import LONG
from waiting import PATIENCE, until

CALLS = 500_000 if LONG else 10_000
CALLS_AT_ONCE = 100
DRAINING_SECONDS = PATIENCE * (20 if LONG else 1)
MAX_GROWTH_BYTES = 64 * 2**20


def resident_bytes(process: Child) -> int:
    """Return how much memory a process holds."""
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def operations_per_second(process: Child, begin: float, end: float) -> float:
    """Return how fast operations were acknowledged between two moments."""
    within = [(when, count) for when, count in process.acknowledged if begin <= when <= end]
    (first, before), (last, after) = within[0], within[-1]
    return (after - before) / (last - first)


def test_backlog(harmed: Harmed, report: Report) -> None:
    """However many calls an outage holds back, memory stays bounded, and all arrive once."""
    settings = harmed.settings()
    with child(settings, threads=2, pause_seconds=0.0001) as process:
        process.wait_for_promises(100)
        until(lambda: process.acknowledged[-1][1] > 0)
        began = time.monotonic()
        for _ in range(CALLS // 5 // CALLS_AT_ONCE):
            process.wait_for_promises(CALLS_AT_ONCE)
        normal = (began, time.monotonic())
        largest = before = resident_bytes(process)
        with harmed.frozen():
            goal = len(process.promises) + CALLS
            deadline = time.monotonic() + DRAINING_SECONDS
            while len(process.promises) < goal and time.monotonic() < deadline:
                process.wait_for_promises(CALLS_AT_ONCE)
                largest = max(largest, resident_bytes(process))
            assert len(process.promises) >= goal
        thawed = time.monotonic()
        held_back = 2 * goal
        deadline += DRAINING_SECONDS
        while process.acknowledged[-1][1] < held_back and time.monotonic() < deadline:
            process.wait_for_promises(CALLS_AT_ONCE)
            largest = max(largest, resident_bytes(process))
        drained = time.monotonic()
        process.stop()
    rates = [operations_per_second(process, *when) for when in (normal, (thawed, drained))]
    remark = (
        f"drained at {rates[1]:,.0f} operations/s, recorded and shipped before at {rates[0]:,.0f}; "
        f"memory grew {(largest - before) / 2**20:.0f} MiB"
    )
    verdict = judge(harmed.calls, [process])
    report(f"outage of {CALLS:,} calls", 1, verdict, remark)
    assert largest - before < MAX_GROWTH_BYTES
