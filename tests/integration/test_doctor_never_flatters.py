"""The doctor never says that all is well where it is not, or where nobody can know."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from children import child, output_of
from faults.guarded import DATABASE, USER, GuardedMongod
from faults.refusing import Refusal, Refusing, refusing
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, embedded
from llm_audit.diagnosis import problems_of_processes
from llm_audit.recorder import process
from llm_audit.settings import get_settings

RECORD_AND_STAY = f"""
import logging
import llm_audit
from llm_audit import LLMLogger
logging.disable()
llm_audit.configure(heartbeat_seconds=0.1)
LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
print(llm_audit.flush({PATIENCE}) and "arrived")
input()
"""
RECORD_AND_DIE = """
import logging, os, signal
from llm_audit import LLMLogger
logging.disable()
LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
os.kill(os.getpid(), signal.SIGKILL)
"""
LOOK_AS_SOMEBODY_ELSE = """
import os
import llm_audit.diagnosis.doctor  # before it may not be read any more
if os.geteuid() == 0:
    os.seteuid(65534)
print("|".join(llm_audit.doctor().problems))
"""
WRITES = {"insert", "update", "findAndModify", "findandmodify"}


@pytest.fixture
def server(mongod: embedded.Mongod, recording: Recording) -> Iterator[Refusing]:
    """Record through a proxy that may refuse."""
    with refusing(mongod) as proxy:
        recording(mongo_url=proxy.url, create_collection=True, heartbeat_seconds=0.1)
        yield proxy
        proxy.refusal = None
        assert llm_audit.shutdown(PATIENCE)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no record be so young that it need not have arrived."""
    monkeypatch.setattr(problems_of_processes, "LATE_SECONDS", 0.0)


def until_it_says(text: str) -> None:
    until(lambda: text in "\n".join(llm_audit.doctor().problems), lambda: str(llm_audit.doctor()))


def until_all_is_well() -> None:
    until(lambda: not llm_audit.doctor().problems, lambda: str(llm_audit.doctor()))


def refused(code: int, text: str, *collections: str) -> Refusal:
    """Refuse writes into some collections, or all."""

    def when(sent: dict[str, Any]) -> bool:
        name = next(iter(sent))
        return name in WRITES and (not collections or sent[name] in collections)

    return Refusal(when, code, text)


@contextmanager
def staying(recording: Recording, **settings: Any) -> Iterator[int]:
    """Have a process beside this one that has recorded, and lives on."""
    settings = {"create_collection": True} | settings
    with child(RECORD_AND_STAY, recording(**settings)) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "arrived\n"
        yield living.pid


@pytest.mark.usefixtures("at_once")
def test_mongodb_refuses_what_the_living_write(server: Refusing) -> None:
    """No right, no room, or a rule: what waits in a living process is a problem, and then not."""
    assert llm_audit.doctor().problems
    for code, text, *collections in (
        (13, "not authorized on d to execute command"),
        (14031, "Out of disk space"),
        (8, "What no list of codes has"),
        (121, "Document failed validation", "llm_audit_processes"),
    ):
        server.refusal = refused(code, text, *collections)
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
        until_it_says("has no document of it in llm_audit_processes")
        server.refusal = None
        assert llm_audit.flush(PATIENCE)
        until_all_is_well()
        assert llm_audit.shutdown(PATIENCE)

    server.refusal = refused(13, "not authorized on d to execute command", "llm_calls")
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    until_it_says("operations that MongoDB has not taken, the oldest for ")


def test_a_busy_process_is_no_problem(server: Refusing) -> None:
    """Its journal file may be as old as can be: what counts is the oldest record that waits."""
    for _ in range(5):
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
        assert llm_audit.flush(PATIENCE)
        assert llm_audit.stats()["backlog_age_seconds"] == 0
    until(lambda: llm_audit.doctor().processes)
    assert server.refused == llm_audit.doctor().problems == []


def test_a_frozen_process_is_a_problem(recording: Recording) -> None:
    """It holds its lock, and is not silent for its lease yet: three beats are enough here."""
    with staying(recording) as pid:
        until(lambda: llm_audit.doctor().processes)
        os.kill(pid, signal.SIGSTOP)
        until_it_says("has shown no sign of life in MongoDB for")


@pytest.mark.usefixtures("at_once")
def test_what_a_living_process_cannot_ship_of_a_dead_one(
    server: Refusing, recording: Recording
) -> None:
    """The journal is in use, but its owner is dead, and nothing of it arrives."""
    with child(RECORD_AND_DIE, get_settings()) as dead:
        dead.communicate()
    server.refusal = refused(13, "not authorized on d to execute command")
    assert not llm_audit.recover(0.0)
    until_it_says(f"The journal of pid {dead.pid}, which has died, is being shipped by another")
    server.refusal = None
    assert llm_audit.recover(PATIENCE)
    until_all_is_well()
    recording()


def test_looking_in_the_wrong_place(recording: Recording, calls: Calls, tmp_path: Path) -> None:
    """Another spool, and another database, than those of the processes that record here."""
    with staying(recording):
        until(lambda: llm_audit.doctor().processes)
        assert llm_audit.doctor().problems == []
        recording(spool_dir=tmp_path / "other")
        until_it_says("runs on this machine, but its journal is not in this spool")
        calls.database.client["other_database"]["llm_calls"].insert_one({"_id": "x"})
        recording(database="other_database")
        until_it_says(f"database {calls.database.name}, collection llm_calls")
        calls.database.client.drop_database("other_database")


def test_what_may_not_be_looked_at_is_said(recording: Recording) -> None:
    """A user who may read calls and nothing else; and one who may not look into the spool."""
    with GuardedMongod() as server:
        server.create_users()
        rights = {
            "resource": {"db": DATABASE, "collection": "llm_calls"},
            "actions": ["find", "insert", "update"],
        }
        server.as_root(
            lambda client: client[DATABASE].command(
                "createRole", "narrow", privileges=[rights], roles=[]
            )
        )
        server.administer("updateUser", USER, roles=[{"role": "narrow", "db": DATABASE}])
        recording(mongo_url=server.url, database=DATABASE)
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
        assert llm_audit.shutdown(PATIENCE)
        said = "\n".join(llm_audit.doctor().problems)
        for what in ("the processes that record", "what MongoDB refused", "the indexes", "GridFS"):
            assert f"Could not look at {what}" in said or f"{what}: MongoDB refuses it" in said
        assert said.count("code 13") == 4

    with TemporaryDirectory() as spool:
        settings = recording(spool_dir=spool)
        LLMLogger.start(model="m", messages=[])
        for folder in (Path(spool), folder_of_this_process()):
            for each in (Path(spool), Path(spool, settings.target())):
                each.chmod(0o755)
            folder.chmod(0)
            (line,) = output_of(LOOK_AS_SOMEBODY_ELSE, settings)
            folder.chmod(0o700)
            assert (
                f"What lies in {folder} may not be looked into by this user" in line
                or "belongs to user root, not to user nobody" in line
            )
        assert llm_audit.shutdown(PATIENCE)


def folder_of_this_process() -> Path:
    return Path(process.recorder().journal.folder)


def test_what_nobody_removes_or_finds_is_said(recording: Recording, calls: Calls) -> None:
    """Expired calls that stay, an index of GridFS that is gone, an end that left something."""
    recording(create_collection=True, media_limit_bytes=1_000)
    LLMLogger.start(model="m", messages=[{"content": "QUJD" * 2_000}])
    assert llm_audit.shutdown(PATIENCE)
    assert llm_audit.doctor().problems == []

    calls.database["fs.chunks"].drop_index("files_id_1_n_1")
    until_it_says("Indexes are missing (fs.chunks.files_id_1_n_1)")
    calls.database["llm_audit_processes"].update_many({}, {"$inc": {"recorded": 3}})
    until_it_says("has ended, but 3 of ")
    client = calls.database.client
    client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
    try:
        long_ago = datetime.now(UTC) - timedelta(days=3)
        calls.update_many({}, {"$set": {"expires_at": long_ago}})
        until_it_says(f"Calls that expired on {long_ago:%Y-%m-%d} are still there")
    finally:
        client.admin.command("setParameter", 1, ttlMonitorEnabled=True)
