"""A server that dies, freezes, refuses or lets nobody write: recording goes on, all arrives once.

That recording never waits is shown by promises that go on being given while the fault lasts.
"""

import time
from collections.abc import Callable, Iterator

import pymongo
import pytest
from faults.guarded import DATABASE, GuardedMongod
from faults.harmed import Harmed
from faults.promises import Child, child, judge
from faults.table import Report
from patience import LONG
from waiting import Calls, Recording, until

PACED = {"threads": 4, "pause_seconds": 0.01}
HASTY = {"threads": 4, "pause_seconds": 0.002}
TIMES = 15 if LONG else 2
FROZEN_SECONDS = 30 if LONG else 3


def outages(process: Child) -> tuple[int, int]:
    """Count how often the process said that MongoDB went and came back, and nothing else.

    A heartbeat may be the first to meet a database that only lets read, and says so once.
    """
    said = [line for line in process.log if "processes and their calls" not in line]
    gone = ["not available" in line for line in said]
    back = ["available again" in line for line in said]
    assert gone == [number % 2 == 0 for number in range(len(gone))], process.log
    assert back == [number % 2 == 1 for number in range(len(back))], process.log
    return sum(gone), sum(back)


def live_through(process: Child, end: Callable[[], object]) -> None:
    """Wait until a fault is noticed, see that recording goes on, end it, and wait for that."""
    until(lambda: outages(process)[0] > outages(process)[1])
    process.wait_for_promises(100)
    end()
    until(lambda: outages(process)[0] == outages(process)[1])


def test_killed_in_mid_batch(harmed: Harmed, report: Report) -> None:
    """Killed while it takes batches and restarted, again and again, MongoDB has all calls once."""
    with child(harmed.settings(), **HASTY) as process:
        for number in range(TIMES):
            process.wait_for_promises(100)
            harmed.server.kill()
            live_through(process, harmed.server.restart)
            assert outages(process) == (number + 1, number + 1)
        process.stop()
    report("mongod killed -9 in mid-batch", TIMES, judge(harmed.calls, [process]))


def test_killed_and_restarted_at_once(harmed: Harmed, report: Report) -> None:
    """Restarted so fast that the log may not even say so, MongoDB has all calls once."""
    with child(harmed.settings(), **HASTY) as process:
        for _ in range(TIMES):
            process.wait_for_promises(300)
            harmed.server.restart()
        process.stop()
    gone, back = outages(process)
    assert gone == back <= TIMES
    report("mongod killed -9 and restarted at once", TIMES, judge(harmed.calls, [process]))


def test_frozen(harmed: Harmed, report: Report) -> None:
    """While it is frozen recording goes on; what it executes when it thaws is not doubled."""
    with child(harmed.settings(), **PACED) as process:
        process.wait_for_promises(100)
        thaws = time.monotonic() + FROZEN_SECONDS
        with harmed.frozen():
            while time.monotonic() < thaws:
                process.wait_for_promises(50)
        process.stop()
    gone, back = outages(process)
    assert gone == back <= 1
    report(f"mongod frozen for {FROZEN_SECONDS} s", 1, judge(harmed.calls, [process]))


def test_refusing_from_the_start(harmed: Harmed, report: Report) -> None:
    """What was recorded before MongoDB took its first connection arrives when it does."""
    harmed.server.kill()
    with child(harmed.settings(), **PACED) as process:
        live_through(process, harmed.server.restart)
        process.stop()
    assert outages(process) == (1, 1)
    report("mongod refuses connections from the start", 1, judge(harmed.calls, [process]))


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedMongod]:
    """Run a mongod that asks for a password."""
    with GuardedMongod() as server:
        server.create_users()
        yield server


@pytest.fixture
def guarded_calls(guarded: GuardedMongod) -> Iterator[Calls]:
    """Give the calls on the server that asks for a password."""
    with pymongo.MongoClient(guarded.url_with("right", "root"), tz_aware=True) as client:
        yield client[DATABASE]["llm_calls"]
        client.drop_database(DATABASE)


def test_wrong_password(
    recording: Recording, guarded: GuardedMongod, guarded_calls: Calls, report: Report
) -> None:
    """With a wrong password calls stay in the journal, and arrive once it is right."""
    settings = recording(mongo_url=guarded.url_with("wrong"), database=DATABASE)
    with child(settings, **PACED) as process:
        live_through(process, lambda: guarded.set_password("wrong"))
        process.stop()
    guarded.set_password("right")
    assert outages(process) == (1, 1)
    report("wrong password", 1, judge(guarded_calls, [process]))


def test_database_read_only(
    recording: Recording, guarded: GuardedMongod, guarded_calls: Calls, report: Report
) -> None:
    """While its user may only read, calls stay in the journal, and arrive once it may write."""
    settings = recording(mongo_url=guarded.url, database=DATABASE)
    with child(settings, **PACED) as process:
        for number in range(TIMES):
            process.wait_for_promises(100)
            guarded.let_write(may=False)
            live_through(process, lambda: guarded.let_write(may=True))
            assert outages(process) == (number + 1, number + 1)
        process.stop()
    report("database read-only", TIMES, judge(guarded_calls, [process]))
