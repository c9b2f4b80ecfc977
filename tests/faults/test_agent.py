"""An agent that ships for everybody, and what may happen to it, to them and to MongoDB."""

import random
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from faults import scenes
from faults.agents import (
    agent,
    frozen,
    settle_by_agent,
    stop,
    wait_for_more,
    wait_until_empty,
    writers,
)
from faults.harmed import Harmed, process_folders
from faults.promises import Child, child, judge
from faults.table import Report
from patience import LONG
from waiting import until

from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES

BY_AGENT = {"shipper": "agent"}
OFTEN = 60 if LONG else 4
FEW = 10 if LONG else 2
SMALL = {"segment_max_bytes": 10_000}
# Each small segment costs MongoDB a write before it is deleted: it has to keep up.
SLOWLY: dict[str, Any] = {"count": 3, "pause_seconds": 0.03}


def finish(settings: Settings, writing: list[Child], last: Child) -> None:
    """Let everybody who still lives end in order, the agent last, when all is in MongoDB."""
    for process in writing:
        if process.alive:
            process.stop()
    wait_until_empty(settings)
    stop(last)


def expect_true_accounts(harmed: Harmed, ended: list[Child]) -> None:
    """See that processes that ended in order, and MongoDB, say that everything has arrived."""
    for process in ended:
        stats = process.stats
        assert stats["recorded"] == stats["acked_through"] > 0, stats
        assert stats["dropped"] == stats["rejected"] == [], stats
    documents = list(harmed.calls.database[PROCESSES].find())
    assert {document["state"] for document in documents} <= {"ended", "recovered"}, documents
    for document in documents:
        assert document["recorded"] == document["acked_through"], document


def test_killed_agent(harmed: Harmed, chance: random.Random, report: Report) -> None:
    """However often the agent is killed, what eight processes record is in MongoDB, once."""
    settings = harmed.settings(**BY_AGENT)
    with writers(settings) as writing:
        for _ in range(OFTEN):
            with agent(settings):
                wait_for_more(harmed.calls, chance.randint(0, 200))
        with agent(settings) as last:
            finish(settings, writing, last)
    report("agent killed -9 while 8 processes record", OFTEN, judge(harmed.calls, writing))
    expect_true_accounts(harmed, writing)


def test_agent_restarted_amid_segments(
    harmed: Harmed, chance: random.Random, report: Report
) -> None:
    """Killed or stopped while segments come and go, agents lose and double nothing."""
    settings = harmed.settings(**BY_AGENT, **SMALL)
    with writers(settings, **SLOWLY) as writing:
        for number in range(OFTEN):
            with agent(settings) as it:
                wait_for_more(harmed.calls, chance.randint(0, 50))
                if number % 2:
                    stop(it)
        with agent(settings) as last:
            finish(settings, writing, last)
    report("agent killed -9 or stopped, small segments", OFTEN, judge(harmed.calls, writing))
    expect_true_accounts(harmed, writing)


def test_killed_processes(harmed: Harmed, chance: random.Random, report: Report) -> None:
    """Of processes that are killed while an agent ships for them, every promise is kept."""
    settings = harmed.settings(**BY_AGENT)
    killed: list[Child] = []
    with agent(settings) as last:
        for _ in range(FEW):
            with writers(settings, 4, pause_seconds=0) as writing:
                for process in writing:
                    process.wait_for_promises(chance.randint(1, 200))
            killed += writing
        finish(settings, killed, last)
    report("processes killed -9 under an agent", len(killed), judge(harmed.calls, killed))
    expect_true_accounts(harmed, [])


@pytest.mark.parametrize("end", ["just_return", "end_at_once"])
def test_ended_processes(harmed: Harmed, report: Report, end: str) -> None:
    """Processes that end with a full journal wait for nobody, and lose nothing."""
    settings = harmed.settings(**BY_AGENT)
    how = {"calls": 300, "pause_seconds": 0, "then": getattr(scenes, end)}
    with writers(settings, FEW, anew=end == "just_return", **how) as ended:
        for process in ended:
            process.wait()
    assert [process.exit_code for process in ended] == [0] * FEW
    last = settle_by_agent(settings)
    ways = {"just_return": "end of the interpreter", "end_at_once": "os._exit"}
    report(f"{ways[end]}, the agent comes later", FEW, judge(harmed.calls, ended))
    assert not [line for line in last.log if "fault" in line], last.log


def test_mongodb_and_agent_killed(harmed: Harmed, chance: random.Random, report: Report) -> None:
    """MongoDB killed under the agent, and the agent in the outage: all calls arrive, once."""
    settings = harmed.settings(**BY_AGENT, **SMALL)
    with writers(settings, **SLOWLY) as writing:
        for number in range(FEW):
            with agent(settings) as it:
                wait_for_more(harmed.calls, chance.randint(1, 50))
                harmed.server.kill()
                until(lambda it=it: [line for line in it.log if "not available" in line])
                writing[0].wait_for_promises(20)
                if number % 2:
                    it.kill()
                harmed.server.restart()
                if not number % 2:
                    wait_for_more(harmed.calls, 50)
        with agent(settings) as last:
            finish(settings, writing, last)
    report("mongod killed -9 under an agent", FEW, judge(harmed.calls, writing))
    expect_true_accounts(harmed, writing)


def test_late_agent(harmed: Harmed, report: Report) -> None:
    """What was recorded before there was an agent arrives: of the living, the ended, the killed."""
    settings = harmed.settings(**BY_AGENT)
    with writers(settings, 4) as living:
        with writers(settings, 2) as killed:
            for process in (*living, *killed):
                process.wait_for_promises(50)
        with writers(settings, 2, calls=50, then=scenes.end_at_once) as ended:
            for process in ended:
                process.wait()
        with agent(settings) as last:
            wait_for_more(harmed.calls, 200)
            finish(settings, living, last)
    every = [*living, *killed, *ended]
    report("agent started late", 1, judge(harmed.calls, every))
    expect_true_accounts(harmed, living)


def test_two_agents(harmed: Harmed, chance: random.Random, report: Report) -> None:
    """Of two agents one ships, and the other one when that is killed."""
    settings = harmed.settings(**BY_AGENT)
    with writers(settings) as writing, ExitStack() as stack:
        first = stack.enter_context(agent(settings))
        for _ in range(FEW):
            second = stack.enter_context(agent(settings))
            wait_for_more(harmed.calls, chance.randint(50, 200))
            first.kill()
            wait_for_more(harmed.calls, 200)
            first = second
        finish(settings, writing, first)
    report("two agents, one killed -9", FEW, judge(harmed.calls, writing))
    expect_true_accounts(harmed, writing)


def test_frozen_agent(harmed: Harmed, report: Report, tmp_path: Path) -> None:
    """An agent that stands still past the lease goes on, and every call gets its own end."""
    leases = {"heartbeat_seconds": 0.2, "lease_seconds": 1.0}
    settings = harmed.settings(**BY_AGENT, **leases)
    elsewhere = harmed.settings(**leases, spool_dir=tmp_path / "elsewhere")
    expired = {"ended_by": "lease_expired"}
    with (
        child(elsewhere, pause_seconds=0.05) as observer,
        writers(settings) as writing,
        agent(settings) as it,
    ):
        for process in (*writing, observer):
            process.wait_for_promises(30)
        wait_for_more(harmed.calls, 100)
        with frozen(it):
            until(lambda: harmed.calls.count_documents(expired) >= len(writing))
        observer.stop()
        finish(settings, writing, it)
    every = [*writing, observer]
    report("agent frozen past the lease", 1, judge(harmed.calls, every))
    expect_true_accounts(harmed, every)


def test_full_disk(harmed: Harmed, report: Report) -> None:
    """What a full disk refuses for a while is kept in memory, saved later, and not lost."""
    settings = harmed.settings(**BY_AGENT, strict=False, segment_max_bytes=20_000)
    how = {"threads": 4, "pause_seconds": 0.002, "meanwhile": scenes.fill_the_disk}
    with agent(settings) as last, child(settings, **how) as process:
        process.wait()
        finish(settings, [], last)
    report("disk full for a while, under an agent", 3, judge(harmed.calls, [process]))
    assert process.stats["not_journaled"] > 0
    expect_true_accounts(harmed, [process])


def test_removed_folders(harmed: Harmed, report: Report) -> None:
    """With its folder removed again and again, a process goes on, and what was in it is counted."""
    times = 5
    settings = harmed.settings(**BY_AGENT, strict=False)
    with agent(settings) as last, writers(settings, 1) as (process,):
        for _ in range(times):
            process.wait_for_promises(100)
            for folder in process_folders(settings.spool_dir / settings.target()):
                shutil.rmtree(folder, ignore_errors=True)  # it may be made anew meanwhile
        process.wait_for_promises(100)
        finish(settings, [process], last)
    verdict = judge(harmed.calls, [process])
    (document,) = harmed.calls.database[PROCESSES].find({"pid": process.pid})
    counted = sum(entry["count"] for entry in document["dropped"])
    assert verdict.lost + verdict.wrong_status <= counted, (verdict, document)
    verdict.lost, verdict.wrong_status = 0, verdict.pending
    remark = f"lost and counted: {counted} records"
    report("folder removed under an agent", times, verdict, remark)


def test_switched_with_calls_open(harmed: Harmed, report: Report) -> None:
    """Processes that ship now by a thread and now by the agent end each call that is open."""
    settings = harmed.settings()
    with agent(settings) as last, writers(settings, FEW, calls=20, then=scenes.switch) as switching:
        for process in switching:
            process.wait()
        finish(settings, [], last)
    report("from thread to agent and back", scenes.SWITCHES * FEW, judge(harmed.calls, switching))


def test_forking_processes(harmed: Harmed, report: Report) -> None:
    """A process that forks while its threads record hangs not, and the agent ships for all."""
    settings = harmed.settings(**BY_AGENT)
    how = {"threads": 4, "pause_seconds": 0.001, "meanwhile": scenes.fork_often}
    with agent(settings) as last, child(settings, **how) as process:
        process.wait()
        finish(settings, [], last)
    report("fork under an agent", scenes.FORKS, judge(harmed.calls, [process]))
