"""The documents of the processes: who lives, what was recorded, and what of it arrived."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions
from children import child, output_of
from faults.guarded import DATABASE, USER, GuardedMongod
from short_leases import (
    BEAT_SECONDS,
    LEASE_SECONDS,
    beats,
    document,
    own_beats,
    own_nonce,
    set_short_leases,
    waiting,
)
from waiting import PATIENCE, Call, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.losses import CONTENT, Account, Losses, find_left, leave
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.recorder import process
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.shipping.chores import Every
from llm_audit.recorder.shipping.heartbeat import Heartbeat
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES
from llm_audit.store.connection import Connection, UnavailableError
from llm_audit.store.processes import note_recovered

RECORD_AND_END = """
from llm_audit import LLMLogger
for _ in range(3):
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
"""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, recording: Recording) -> Settings:
    """Record with short leases."""
    set_short_leases(monkeypatch)
    return recording()


@pytest.fixture
def processes(calls: Calls) -> Calls:
    """Give the collection of processes."""
    return calls.database[PROCESSES]


def as_stored(stats: Any) -> Call:
    """Return what becomes of numbers and times in the database."""
    raw = bson.encode({**stats, "backlog_age_seconds": None})
    return dict(bson.decode(raw, CodecOptions(tz_aware=True)))


@pytest.mark.usefixtures("settings")
def test_without_operations_there_is_no_document(processes: Calls) -> None:
    """A process that only looks after the dead writes none; the first operation makes it."""
    llm_audit.recover()
    own_beats(3)
    assert processes.count_documents({}) == 0

    LLMLogger.start(model="m", messages=[])
    until(lambda: processes.count_documents({}) == 1)


def test_a_process_shows_that_it_lives(
    recording: Recording, settings: Settings, processes: Calls
) -> None:
    """The document says who records where, and its counter goes on while nothing is recorded."""
    recording(**{**dict(settings), "service": "billing", "environment": "test"})
    LLMLogger.start(model="m", messages=[])
    until(lambda: processes.count_documents({}) == 1)
    first = document(processes, own_nonce())
    beats(processes, own_nonce(), 3)
    later = document(processes, own_nonce())

    assert (first["pid"], first["service"], first["environment"]) == (
        *(os.getpid(), "billing", "test"),
    )
    assert (first["state"], first["collection"]) == ("alive", "llm_calls")
    assert (first["heartbeat_seconds"], first["lease_seconds"]) == (BEAT_SECONDS, LEASE_SECONDS)
    assert first["started_at"] == later["started_at"] <= first["beat_at"] < later["beat_at"]
    assert later["expires_at"] > first["expires_at"] > later["beat_at"] + timedelta(days=29)


@pytest.mark.usefixtures("settings")
def test_the_document_says_what_stats_says(calls: Calls, processes: Calls) -> None:
    """In the database are the same numbers, refusals included, that the process itself gives."""
    calls.database.create_collection(calls.name, validator={"model": {"$ne": "forbidden"}})
    for model in ("m", "forbidden", "m"):
        call_id = LLMLogger.start(model=model, messages=[])
        LLMLogger.complete(call_id)
        LLMLogger.complete(call_id)
    assert llm_audit.flush(PATIENCE)
    nonce = own_nonce()
    beats(processes, nonce, 2)

    stats = as_stored(llm_audit.stats())
    assert stats["recorded"] == stats["acked_through"] > 0
    assert [entry["count"] for entry in stats["rejected"]] == [1]
    assert stats["ended_twice"] == 3
    stored = document(processes, nonce)
    assert stats == {name: stored[name] for name in stats} | {"backlog_age_seconds": None}


@pytest.mark.usefixtures("settings")
def test_the_first_record_of_an_old_process_has_not_waited_as_long(
    processes: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long a record waits counts from when it was made, not from when the process began.

    Also where it is made just before the process shows life, after it has last been looked at.
    """
    recorder = process.recorder()
    backlog = recorder.shipper.backlog

    def make_the_first() -> None:
        if not recorder.journal.last_seq:
            backlog._nothing_waited_at -= 3_600
            LLMLogger.start(model="m", messages=[])

    monkeypatch.setattr(recorder.shipper._folder, "touch", make_the_first)
    recorder.shipper.life.soon()
    until(lambda: processes.count_documents({"recorded": 1}))
    assert processes.find_one()["backlog_age_seconds"] < 3_600


def test_a_clean_end_is_soon_forgotten(settings: Settings, processes: Calls) -> None:
    """A process that ended with everything delivered says so, and its document goes in a week."""
    assert output_of(RECORD_AND_END, settings) == []
    (ended,) = processes.find()
    assert (ended["state"], ended["recorded"], ended["acked_through"]) == ("ended", 6, 6)
    kept = ended["expires_at"] - ended["beat_at"]
    assert timedelta(days=6) < kept <= timedelta(days=7)


def test_an_end_with_losses_is_remembered(
    settings: Settings, calls: Calls, processes: Calls
) -> None:
    """Where something was refused, the document stays as long as that of any process."""
    calls.database.create_collection(calls.name, validator={"model": {"$ne": "m"}})
    with child(RECORD_AND_END, settings) as process:
        process.communicate()
    (ended,) = processes.find()
    assert ended["state"] == "ended"
    assert sum(entry["count"] for entry in ended["rejected"]) > 0
    assert ended["expires_at"] - ended["beat_at"] > timedelta(days=29)


def test_a_killed_process_is_recovered(settings: Settings, calls: Calls, processes: Calls) -> None:
    """Once its journal is shipped, everything that a killed process recorded is known to be there.

    This is so for operations too that came after its last beat.
    """
    with waiting(settings) as (killed,):
        beats(processes, killed.nonce, 1)
        killed.freeze()
        before = document(processes, killed.nonce)
        assert before["state"] == "alive"
        killed.signal(signal.SIGKILL)
        killed.process.wait()
        processes.update_one({"_id": killed.nonce}, {"$set": {"recorded": 1, "acked_through": 1}})
    (folder,) = settings.spool_dir.glob(f"*/{killed.nonce}")
    llm_audit.recover()
    until(lambda: not folder.exists())
    assert llm_audit.flush(PATIENCE)

    found = document(processes, killed.nonce)
    assert found["state"] == "recovered"
    assert found["recorded"] == found["acked_through"] == 3
    assert found["beat"] == before["beat"]
    assert found["dropped"] == found["rejected"] == []
    call = calls.find_one({"_id": killed.call_id})
    assert call is not None
    assert (call["status"], call["ended_by"]) == ("ABANDONED", "worker_lost")


def test_damage_in_what_was_recovered_is_noted_once(
    settings: Settings, processes: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where MongoDB goes away in the middle, a loss is in the document once."""
    with waiting(settings) as (killed,):
        killed.freeze()
        killed.signal(signal.SIGKILL)
        killed.process.wait()
        (segment,) = settings.spool_dir.glob(f"*/{killed.nonce}/*.bson")
        with segment.open("ab") as file:
            file.write(b"damage")
    abandon = Closing.abandon
    tries: list[str] = []

    def fails_first(self: Closing, nonce: str, **given: Any) -> bool:
        tries.append(nonce)
        if len(tries) == 1:
            raise UnavailableError("away")
        return abandon(self, nonce, **given)

    monkeypatch.setattr(Closing, "abandon", fails_first)
    llm_audit.recover()
    until(lambda: not segment.parent.exists())
    assert len(tries) == 2
    (entry,) = document(processes, killed.nonce)["dropped"]
    assert (entry["what"], entry["count"]) == ("journal", 1)


@pytest.fixture
def narrow(
    monkeypatch: pytest.MonkeyPatch, recording: Recording
) -> Iterator[tuple[GuardedMongod, Settings]]:
    """Record as a user that may write calls and nothing else."""
    monkeypatch.setenv("LLM_AUDIT_HEARTBEAT_SECONDS", str(BEAT_SECONDS))
    with GuardedMongod() as server:
        server.create_users()
        resource = {"db": DATABASE, "collection": "llm_calls"}
        actions = ["find", "insert", "update"]
        privileges = [{"resource": resource, "actions": actions}]
        server.administer("createRole", "calls_only", privileges=privileges, roles=[])
        server.administer("updateUser", USER, roles=[{"role": "calls_only", "db": "admin"}])
        yield server, recording(mongo_url=server.url, database=DATABASE)
        llm_audit.shutdown(PATIENCE)


def test_without_rights_on_processes_calls_are_shipped(
    narrow: tuple[GuardedMongod, Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """A user that may write only calls records all of them; one line says what is missing."""
    server, settings = narrow
    ids = []
    for _ in range(5):
        ids.append(LLMLogger.start(model="m", messages=[]))
        LLMLogger.complete(ids[-1])
        assert llm_audit.flush(PATIENCE)
    own_beats(3)
    assert llm_audit.shutdown(PATIENCE)

    collections = server.as_root(lambda client: client[DATABASE].list_collection_names())
    assert collections == ["llm_calls"]
    query = {"_id": {"$in": ids}, "status": "SUCCESS"}
    assert server.as_root(lambda client: client[DATABASE].llm_calls.count_documents(query)) == 5
    (line,) = caplog.messages
    assert "readWrite" in line
    assert not list(settings.spool_dir.rglob("*.bson"))


def test_a_refused_beat_is_tried_again_only_when_due(
    narrow: tuple[GuardedMongod, Settings],
) -> None:
    """Not being allowed to beat costs one refused statement at each interval, not at each batch."""
    _, settings = narrow
    connection = Connection(settings)
    stats = {"recorded": 1, "rejected": [], "dropped": []}
    heartbeat = Heartbeat(settings, connection, "nonce", lambda: stats)
    life = Every(3600, heartbeat.show)
    life()
    assert heartbeat.shown
    assert life.due_at > time.monotonic()
    connection.close()


def test_a_document_of_another_make_is_in_nobodys_way(settings: Settings, calls: Calls) -> None:
    """What an older release or a hand has left among the processes stops neither us nor the doctor.

    Here it is one that says nothing of its lease.
    """
    odd = {"_id": "odd", "state": "alive", "collection": settings.collection, "beat": 1}
    calls.database[PROCESSES].insert_one({**odd, "beat_at": datetime(2020, 1, 1, tzinfo=UTC)})
    call_id = LLMLogger.start(model="m", messages=[])
    own_beats(2)
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": call_id}) == 1
    (report,) = [report for report in llm_audit.doctor().processes if report.nonce == "odd"]
    assert (report.state, report.everything_arrived) == ("silent", None)


def test_the_larger_account_of_losses_counts(settings: Settings, processes: Calls) -> None:
    """A file of losses that a full disk kept from growing does not undo what the heartbeat said."""
    folder = settings.spool_dir / "target" / "nonce"
    folder.mkdir(parents=True)
    losses = Losses()
    losses.add(CONTENT, "the quota", seq=5)
    leave(folder, recorded=5, not_journaled=0, dropped=losses.entries())
    losses.add(CONTENT, "a full disk", seq=6, count=49)
    processes.insert_one({"_id": "nonce", "state": "alive", "dropped": losses.entries()})
    account = Account(
        last_read_seq=60, acked_through=60, missing=0, unreadable=[], refused=[], damaged=[]
    )
    note_recovered(processes, settings, ProcessFolder(folder), find_left(folder), account, begun=0)

    (document,) = processes.find({"_id": "nonce"})
    assert [(entry["reason"], entry["count"]) for entry in document["dropped"]] == [
        ("the quota", 1),
        ("a full disk", 49),
    ]
