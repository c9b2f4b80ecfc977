"""What happens to processes and to the clock: no deadlock, no wrong adoption, nothing lost.

Every process is under a watchdog: `Child.wait` fails where one does not end.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from children import output_of
from faults import scenes
from faults.harmed import Harmed, process_folders, settle
from faults.promises import Child, Verdict, child, judge
from faults.table import Report
from patience import LONG
from waiting import until
from wall_clock import SET_CLOCK, give_a_clock

import llm_audit

END_AFTER_THE_CLOCK_WAS_SET_BACK = (
    SET_CLOCK
    + """
import logging, time
from llm_audit import LLMLogger

logging.disable()  # it is said that the clock is wrong

def record():
    return LLMLogger.start(model="m", messages=[])

ids = [record() for _ in range(20)]
before = time.time()
set_clock(-3600)
assert time.time() < before - 3000
ids += [record() for _ in range(20)]
for call_id in ids:
    LLMLogger.complete(call_id)
print(*ids)
"""
)

TIMES = 10 if LONG else 1
FOUR_THREADS = {"threads": 4, "pause_seconds": 0.001}


def may(what: int) -> bool:
    """Tell whether this machine lets us leave a namespace, by trying it in a process."""
    import multiprocessing

    trial = multiprocessing.get_context("forkserver").Process(target=scenes.unshare, args=(what,))
    trial.start()
    trial.join()
    return trial.exitcode == 0


def test_clock_set_back(
    harmed: Harmed, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that run while the clock is set back an hour take as long as they did take."""
    give_a_clock(tmp_path, monkeypatch)
    settings = harmed.settings()
    (line,) = output_of(END_AFTER_THE_CLOCK_WAS_SET_BACK, settings)
    ids = line.split()

    found = {call["_id"]: call for call in harmed.calls.find()}
    verdict = Verdict(recorded=len(ids), lost=len(set(ids) - found.keys()))
    verdict.wrong_status = sum(call["status"] != "SUCCESS" for call in found.values())
    report("clock set back an hour during calls", 1, verdict)
    assert len(found) == len(ids)
    for call in found.values():
        assert 0 <= call["latency_ms"] < 60_000
        assert call["created_at"] <= call["completed_at"]
    assert process_folders(settings.spool_dir / settings.target()) == []


def test_equal_pids_over_one_spool(harmed: Harmed, report: Report) -> None:
    """Of two containers' processes 1 over one spool, the dead one is adopted, the other is not."""
    if not may(scenes.CLONE_NEWPID):
        pytest.skip("this machine allows no pid namespaces")
    settings = harmed.settings()
    alone = functools.partial(child, settings, first=scenes.as_pid_1, **FOUR_THREADS)
    with alone() as dead, alone() as alive:
        dead.wait_for_promises(100)
        alive.wait_for_promises(100)
        until(lambda: len(process_folders(settings.spool_dir / settings.target())) == 2)
        dead.kill()
        settle_all_but(harmed, dead, others=1)
        its = {"metadata.child": alive.number, "status": "ABANDONED"}
        assert harmed.calls.count_documents(its) == 0
        alive.stop()
    settle(settings)
    pids = harmed.calls.distinct("pid")
    report("equal pids on two hosts, one killed", 1, judge(harmed.calls, [dead, alive]))
    assert pids == [1]


def settle_all_but(harmed: Harmed, dead: Child, *, others: int) -> None:
    """Let this process finish what one has left, while others keep their folders."""
    settings = harmed.settings()
    llm_audit.recover()
    its = {"metadata.child": dead.number}
    until(lambda: harmed.calls.count_documents(its) >= len(dead.promises))
    until(lambda: harmed.calls.count_documents(its | {"status": "PENDING"}) == 0)
    target = settings.spool_dir / settings.target()
    until(lambda: len(process_folders(target)) == others + 1)  # and our own


def test_another_boot_id(harmed: Harmed, report: Report) -> None:
    """What died under another kernel is left alone until its lease is over, and then adopted."""
    settings = harmed.settings(lease_seconds=3600)
    with (
        harmed.frozen(),
        child(settings, first=scenes.under_another_boot) as elsewhere,
        child(settings) as here,
    ):
        elsewhere.wait_for_promises(50)
        here.wait_for_promises(50)
    settle_all_but(harmed, here, others=1)
    assert harmed.calls.count_documents({"metadata.child": elsewhere.number}) == 0
    settle(harmed.settings(lease_seconds=0.1))
    report("journal under another boot id", 1, judge(harmed.calls, [elsewhere, here]))


def test_fork_in_the_middle(harmed: Harmed, report: Report) -> None:
    """However often a process forks while its threads record, nothing hangs and nothing is lost."""
    settings = harmed.settings()
    forked = []
    for _ in range(TIMES):
        with child(settings, meanwhile=scenes.fork_often, **FOUR_THREADS) as process:
            process.wait()
        forked.append(process)
    settle(settings)
    report("fork while 4 threads record", scenes.FORKS * TIMES, judge(harmed.calls, forked))


@pytest.mark.parametrize(
    ("fault", "anew", "how"),
    [
        ("end of the interpreter with a full queue", True, {"then": scenes.just_return}),
        ("os._exit with a full queue", False, {"then": scenes.end_at_once}),
    ],
)
def test_end_with_a_full_queue(
    harmed: Harmed, report: Report, *, fault: str, anew: bool, how: dict[str, Callable[..., object]]
) -> None:
    """A process that ends right after it has recorded much hangs not, and loses nothing."""
    settings = harmed.settings()
    ended = []
    for _ in range(TIMES):
        with child(settings, anew=anew, threads=4, calls=300, **how) as process:
            process.wait()
        ended.append(process)
    settle(settings)
    report(fault, TIMES, judge(harmed.calls, ended))
    assert [len(process.promises) for process in ended] == [1200] * TIMES
    assert [process.exit_code for process in ended] == [0] * TIMES


def test_daemon_threads_at_exit(harmed: Harmed, report: Report) -> None:
    """Threads that record while the interpreter comes to its end hold nothing up, nor lose."""
    settings = harmed.settings()
    ended = []
    for _ in range(TIMES):
        how = {"meanwhile": scenes.leave_the_others_recording, "threads": 4}
        with child(settings, anew=True, **how) as process:
            process.wait()
        ended.append(process)
    settle(settings)
    report("daemon threads record at exit", TIMES, judge(harmed.calls, ended))
    assert [process.exit_code for process in ended] == [0] * TIMES


def test_signal_handlers(harmed: Harmed, report: Report) -> None:
    """A signal handler that records in the middle of a recording waits for nobody."""
    settings = harmed.settings()
    how = {"meanwhile": scenes.record_in_signal_handlers, "threads": 2, "calls": 500}
    with child(settings, **how) as process:
        process.wait()
    interruptions = len(process.promises) - scenes.INTERRUPTED_CALLS - 1000
    report("signal handler records", interruptions, judge(harmed.calls, [process]))
