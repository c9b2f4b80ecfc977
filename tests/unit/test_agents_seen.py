"""What the spool alone tells of agents: which is missing, which is stuck, and what to do."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import bson
import pytest
from agents_left import agent_at, agent_left, recording_for_agent, shipped

from llm_audit.diagnosis.agents import examine_agents
from llm_audit.diagnosis.journals import doubtful_in, examine_journals
from llm_audit.diagnosis.problems_of_agents import of_agents_here
from llm_audit.diagnosis.results import JournalReport
from llm_audit.journal.spool.folder import LOCK, ProcessFolder
from llm_audit.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(spool_dir=tmp_path / "spool")


def problems(settings: Settings) -> list[str]:
    return list(of_agents_here(examine_journals(settings), examine_agents(settings)))


def only(settings: Settings) -> JournalReport:
    (journal,) = examine_journals(settings)
    return journal


def test_living_and_dead_wait_for_an_agent(settings: Settings) -> None:
    """However many processes wait, they are one problem: how many, how much, since when."""
    with (
        recording_for_agent(settings, age_seconds=50),
        recording_for_agent(settings, age_seconds=7_000, service="web") as old,
    ):
        with recording_for_agent(settings):
            pass
        journals = examine_journals(settings)
        (problem,) = problems(settings)

    assert [journal.state for journal in journals] == ["no agent", "no agent", "waiting"]
    assert (journals[0].nonce, journals[0].service, journals[0].ours) == (old.nonce, "web", True)
    assert {journal.shipper for journal in journals} == {"agent"}
    assert "calls of 2 living processes and 1 dead process on this machine (database " in problem
    assert f"{sum(journal.bytes for journal in journals)} bytes wait, the oldest since " in problem
    assert "Start llm-audit agent here, with these settings (docs/how-to/agent.md)." in problem


def test_what_an_agent_has_shipped_does_not_wait(settings: Settings) -> None:
    """A file stays until it is through; what counts is what comes after in it."""
    with recording_for_agent(settings, count=4, age_seconds=600) as folder:
        size = only(settings).bytes
        for through, waits in ((0, True), (3, True), (4, False)):
            shipped(folder, through)
            journal = only(settings)
            assert bool(journal.waiting_bytes) is waits
            assert (journal.oldest_seconds is not None) is waits
            assert journal.waiting_bytes == size * (4 - through) // 4
        (problem,) = problems(settings)
    assert ": nothing waits yet. Start llm-audit agent" in problem


def test_an_agent_that_ships_is_no_problem(settings: Settings) -> None:
    """Who it is, since when it runs and how far it is are told, and nothing is to be looked at."""
    with agent_at(settings) as lock, recording_for_agent(settings):
        (agent,) = examine_agents(settings)
        assert only(settings).state == "in use"
        assert problems(settings) == []

    assert (agent.path, agent.pid, agent.state) == (str(lock), os.getpid(), "alive")
    assert (agent.ours, agent.here, agent.processes) == (True, True, 2)
    assert (agent.version, agent.target) == (
        "1.0",
        "127.0.0.1:1, database llm_audit, collection llm_calls",
    )
    assert agent.started_at is not None
    assert agent.seen_at is not None
    assert 3_500 < (agent.seen_at - agent.started_at).total_seconds() < 3_700
    assert (agent.sums.shipped, agent.sums.backlog_bytes, agent.unavailable) == (7, 2_000, None)


def test_the_last_agent_is_named(settings: Settings) -> None:
    """One that has ended is no problem while nobody needs it; then who it was is told."""
    agent_left(settings)
    assert [agent.state for agent in examine_agents(settings)] == ["ended"]
    assert problems(settings) == []
    with recording_for_agent(settings):
        (problem,) = problems(settings)
    assert f"The last agent, pid {os.getpid()}, ran until " in problem


def test_an_agent_that_shows_no_life(settings: Settings) -> None:
    """It holds its lock, and that is all: it is frozen."""
    with agent_at(settings, age_seconds=100), recording_for_agent(settings, age_seconds=90):
        (agent,) = examine_agents(settings)
        (problem,) = problems(settings)
    assert agent.state == "silent"
    assert "holds its lock, but has shown no sign of life for 100 s" in problem


def test_an_agent_without_mongodb(settings: Settings) -> None:
    """Why it cannot reach MongoDB is told, and where it would ship to."""
    with agent_at(settings, unavailable="bad auth"), recording_for_agent(settings, age_seconds=90):
        (problem,) = problems(settings)
    assert "cannot reach MongoDB (bad auth), at 127.0.0.1:1, database llm_audit" in problem
    assert "LLM_AUDIT_MONGO_URL" in problem


def test_an_agent_that_does_not_ship(settings: Settings) -> None:
    """It says that all is well, and what lies in the journals says otherwise."""
    with agent_at(settings), recording_for_agent(settings, age_seconds=90) as living:
        with recording_for_agent(settings, age_seconds=40):
            pass
        (problem,) = problems(settings)
        assert "does not ship the journals of 2 processes" in problem
        assert f"the oldest record has waited for 90 s, in {living.path}." in problem
        shipped(living, 3)
        (problem,) = problems(settings)
        assert "the journals of 1 process: the oldest record has waited for 40 s" in problem


def test_an_agent_for_something_else(settings: Settings) -> None:
    """A database that no agent serves is a problem, although one runs here: both are named."""
    other = settings.model_copy(update={"database": "other"})
    with agent_at(settings, "h:1, database d, collection c"), recording_for_agent(other):
        (problem,) = problems(settings)
        assert only(settings).ours is False
        assert problems(other)[0].startswith("No agent ships the calls of 1 living process")
    assert "(database other, collection llm_calls): " in problem
    assert "Start llm-audit agent here, with this database and collection (" in problem
    assert problem.endswith(
        f"An agent runs here, but ships something else: pid {os.getpid()} to h:1, database d, "
        "collection c."
    )


def test_an_agent_that_does_not_redact(settings: Settings) -> None:
    """What is redacted on its way waits for an agent that does it."""
    other = settings.model_copy(update={"redact_in_shipper": (str,)})
    with agent_at(settings), recording_for_agent(other):
        (problem,) = problems(settings)
    assert "and the redact_in_shipper of these processes" in problem


def of_another_kernel(folder: ProcessFolder) -> None:
    lock = folder.path / LOCK
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"boot_id": "another"}))


def test_on_a_volume_that_machines_share(settings: Settings) -> None:
    """What another machine's processes record is its agent's, as long as that shows life."""
    with recording_for_agent(settings) as folder:
        pass
    of_another_kernel(folder)
    lock = agent_left(settings)
    for path in (lock, lock.with_suffix(".state")):
        path.rename(path.with_stem("another"))
    lock = lock.with_stem("another")

    assert only(settings).state == "in use"
    assert [(agent.here, agent.state) for agent in examine_agents(settings)] == [(False, "alive")]
    for path in lock.parent.iterdir():
        os.utime(path, (1, 1))
    lock.with_suffix(".state").unlink()
    assert only(settings).state == "other kernel"
    assert [agent.state for agent in examine_agents(settings)] == ["ended"]
    assert problems(settings) == []


NONSENSE: dict[str, Callable[[Path], object]] = {
    "no BSON": lambda path: path.write_bytes(b"\xff" * 50),
    "nothing": lambda path: path.write_bytes(b""),
    "times that are none": lambda path: path.write_bytes(bson.encode({"at": "now"})),
    "figures that are none": lambda path: path.write_bytes(
        bson.encode({"at": "x", "services": [1, {"service": 2}], "processes": -1})
    ),
    "a long text": lambda path: path.write_bytes(
        bson.encode({"at": "x", "unavailable": "\x1b[2J" * 100_000})
    ),
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("suffix", [".state", ".lock"])
def test_what_a_stranger_has_put_there(settings: Settings, kind: str, suffix: str) -> None:
    """It costs what it would have said, and is named where it may be somebody else's."""
    lock = agent_left(settings)
    path = lock.with_suffix(suffix)
    NONSENSE[kind](path)

    with recording_for_agent(settings):
        found = examine_agents(settings)
        (problem,) = problems(settings)

    is_doubtful = kind in {"a link", "a folder", "a pipe"}
    assert len(found) == (0 if is_doubtful and suffix == ".lock" else 1)
    for agent in found:
        assert agent.state == "ended"
        assert (agent.target if suffix == ".lock" else agent.started_at) is None
    assert "Start llm-audit agent" in problem
    assert "\x1b" not in problem
    assert (str(path) in doubtful_in(settings)) is is_doubtful


def test_a_time_to_come_is_no_sign_of_life(settings: Settings) -> None:
    """Where a clock was put back, or somebody says so, an agent is not alive for ever."""
    with agent_at(settings, age_seconds=-10_000):
        assert [agent.state for agent in examine_agents(settings)] == ["silent"]
