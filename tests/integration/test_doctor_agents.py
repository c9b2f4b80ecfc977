"""What the doctor says of agents, by the spool of this machine and by what MongoDB knows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agents_left import agent_at, recording_for_agent, shipped
from children import child
from waiting import Calls, until

import llm_audit
from llm_audit.diagnosis.results import ProcessReport
from llm_audit.journal.spool.owners import boot_id
from llm_audit.settings import get_settings

RECORD_FOR_AGENT = """
import logging, sys
import llm_audit
from llm_audit import LLMLogger
logging.disable()  # that there is no agent is known
llm_audit.configure(shipper="agent", service="web")
for _ in range(2):
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    print("recorded")
    sys.stdin.readline()
"""
SHIP = """
import logging
import llm_audit
from llm_audit.agent.agent import Agent
from llm_audit.settings import get_settings
logging.disable()
llm_audit.configure(heartbeat_seconds=0.2)
Agent(get_settings()).run()
"""

pytestmark = pytest.mark.usefixtures("recording")


@pytest.fixture
def processes(calls: Calls) -> Calls:
    """Give the documents of the processes in the test's own database."""
    calls.database.create_collection(calls.name)
    return calls.database["llm_audit_processes"]


def say(nonce: str, *, silent_seconds: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Make the document of a process for which an agent on another machine ships."""
    fields = {
        "_id": nonce,
        "collection": "llm_calls",
        "host": "elsewhere",
        "pid": 7,
        "boot_id": "another",
        "shipped_by": "agent",
        "state": "alive",
        "beat": 3,
        "beat_at": datetime.now(UTC) - timedelta(seconds=silent_seconds),
        "started_at": datetime.now(UTC) - timedelta(hours=1),
        "heartbeat_seconds": 10.0,
        "lease_seconds": 120.0,
        "recorded": 20,
        "acked_through": 20,
        "not_journaled": 0,
        "rejected": [],
        "dropped": [],
    }
    return fields | changes


def diagnosed() -> tuple[list[ProcessReport], list[str]]:
    """Return what the doctor says of processes, and the problems but for missing indexes."""
    found = llm_audit.doctor()
    return found.processes, [one for one in found.problems if "Indexes" not in one]


def test_an_agent_that_fell_silent_is_one_problem(processes: Calls) -> None:
    """Thirty processes that stop together are one agent, whether they are lost by now or not."""
    silent = [say(f"p{number}", silent_seconds=500, host=f"h{number % 5}") for number in range(30)]
    processes.insert_many([*silent, say("q", silent_seconds=500, state="lost", host="h0")])

    reports, problems = diagnosed()
    (problem,) = problems

    assert {report.shipped_by for report in reports} == {"agent"}
    assert problem.startswith("An agent is silent: ")
    assert "no sign of life of 31 processes on h0, h1, h2 and 2 more" in problem
    assert "Start llm-audit agent there" in problem
    assert "after its agent last told of it" in reports[0].summary


def test_one_of_many_that_fell_silent_is_itself(processes: Calls) -> None:
    """Where their agent tells of others, it is not the agent."""
    processes.insert_many([say("p"), say("silent", silent_seconds=500)])
    _, problems = diagnosed()
    (problem,) = problems
    assert problem.startswith("Process silent (pid 7 on elsewhere) is silent: ")


def test_agents_are_told_apart_by_their_kernels(processes: Calls) -> None:
    """Of two machines one may be silent; a process that ships itself is told as ever."""
    processes.insert_many(
        [
            say("p"),
            say("q", silent_seconds=500, boot_id="third"),
            say("r", silent_seconds=500, shipped_by=None),
        ]
    )
    _, problems = diagnosed()
    assert sorted(problem.split(":")[0] for problem in problems) == [
        "An agent is silent",
        "Process r (pid 7 on elsewhere) is silent",
    ]


def test_what_an_agent_elsewhere_does_not_ship(processes: Calls) -> None:
    """What waits of all its processes is one problem, too."""
    late = {"recorded": 30, "backlog_age_seconds": 90.0}
    processes.insert_many([say("p", **late), say("q", **late), say("r")])
    _, problems = diagnosed()
    (problem,) = problems
    assert "The agent on elsewhere has 20 operations of 2 processes that MongoDB has" in problem
    assert "the oldest for 90 s: its log says why" in problem


def test_what_waits_here_is_told_once(processes: Calls) -> None:
    """The spool knows more of this machine than MongoDB: what is missing is said there, once."""
    with recording_for_agent(get_settings()) as one, recording_for_agent(get_settings()) as other:
        nonces = one.nonce, other.nonce
        here = {"boot_id": boot_id(), "silent_seconds": 500}
        processes.insert_many([say(nonce, **here) for nonce in nonces])
        reports, problems = diagnosed()
    (problem,) = problems
    assert "No agent ships the calls of 2 living processes on this machine (database " in problem
    assert {report.summary for report in reports} == {
        "it lives on this machine, and no agent ships what it records"
    }


def test_an_agent_here_that_ships_elsewhere(processes: Calls) -> None:
    """It ships, and nothing of it is where these settings look: another MongoDB."""
    elsewhere = "other:1, database d, collection c"
    with agent_at(get_settings(), elsewhere), recording_for_agent(get_settings()) as folder:
        shipped(folder, 3)
        _, problems = diagnosed()
        (problem,) = [one for one in problems if "ships to" in one]
        assert f"ships to {elsewhere}, and none of its 1 process is known where" in problem
        processes.insert_one(say(folder.nonce, boot_id=boot_id()))
        assert diagnosed()[1] == []


def test_an_agent_here_of_which_mongodb_hears_nothing(processes: Calls) -> None:
    """It lives and nothing waits, but its processes show no sign of life in MongoDB."""
    with agent_at(get_settings()), recording_for_agent(get_settings()) as folder:
        shipped(folder, 3)
        processes.insert_one(say(folder.nonce, boot_id=boot_id(), silent_seconds=70))
        _, problems = diagnosed()
    (problem,) = problems
    assert "runs, but has shown no sign of life of 1 process in MongoDB for 70 s" in problem


def test_a_healthy_agent_is_no_problem(processes: Calls) -> None:
    """Its processes are alive, what they recorded has arrived, and it is told who it is."""
    with agent_at(get_settings()), recording_for_agent(get_settings()) as folder:
        shipped(folder, 3)
        processes.insert_one(say(folder.nonce, boot_id=boot_id()))
        found = llm_audit.doctor()
    assert [journal.state for journal in found.journals] == ["in use"]
    assert [(agent.state, agent.processes) for agent in found.agents] == [("alive", 2)]
    assert [problem for problem in found.problems if "Indexes" not in problem] == []


def until_it_says(*parts: str) -> None:
    """Wait until the one problem says this, or there is none."""

    def says() -> bool:
        problems = diagnosed()[1]
        said = "\n".join(problems)
        return len(problems) == bool(parts) and all(part in said for part in parts)

    until(says, lambda: str(diagnosed()[1]))


def test_a_real_agent_that_comes_and_goes(processes: Calls, calls: Calls) -> None:
    """Missing, there, killed, and there again: each time the doctor says how it is."""
    settings = get_settings()
    with child(RECORD_FOR_AGENT, settings) as app:
        assert app.stdin is not None
        assert app.stdout is not None
        assert app.stdout.readline() == "recorded\n"
        until_it_says(
            "No agent ships the calls of 1 living process", " bytes wait, the oldest since "
        )
        with child(SHIP, settings) as agent:
            until(lambda: processes.count_documents({"shipped_by": "agent"}))
            until(lambda: llm_audit.doctor().agents[0].sums.shipped == 2)
            until_it_says()
            (shown,) = llm_audit.doctor().agents
            assert (shown.pid, shown.state) == (agent.pid, "alive")
            assert (shown.processes, shown.unavailable) == (1, None)
            assert shown.services["web"].shipped == 2
            assert shown.started_at is not None
        until_it_says("nothing waits yet", f"The last agent, pid {agent.pid}, ran until")
        app.stdin.write("\n")
        app.stdin.flush()
        assert app.stdout.readline() == "recorded\n"
        until_it_says("1 living process", " bytes wait", f"The last agent, pid {agent.pid}")
    until_it_says("No agent ships the calls of 1 dead process")
    with child(SHIP, settings):
        until(lambda: processes.count_documents({"state": "recovered"}))
        until_it_says()
    until_it_says()
    assert calls.count_documents({"status": "SUCCESS"}) == 2
    (report,) = diagnosed()[0]
    assert (report.shipped_by, report.everything_arrived) == ("agent", True)
