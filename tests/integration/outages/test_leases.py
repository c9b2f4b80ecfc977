"""Leases: who is taken for dead, who is not, and what happens when it comes back."""

import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest
from passing_time import clock_of
from short_leases import (
    BEAT_SECONDS,
    BEATS_IN_A_LEASE,
    LEASE_SECONDS,
    beats,
    document,
    own_nonce,
    set_short_leases,
    status,
    waiting,
)
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, embedded
from llm_audit.journal.spool import sightings
from llm_audit.recorder.shipping import silence
from llm_audit.recorder.shipping.silence import Silence, Silent
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES
from llm_audit.store.connection import Connection


@pytest.fixture
def settings(
    monkeypatch: pytest.MonkeyPatch, recording: Recording, server: embedded.Mongod, calls: Calls
) -> Settings:
    """Record onto that server, here and in children, with short leases."""
    set_short_leases(monkeypatch)
    return recording(mongo_url=server.url, database=calls.database.name)


@pytest.fixture
def processes(calls: Calls) -> Calls:
    """Give the collection of processes."""
    return calls.database[PROCESSES]


def test_a_frozen_process_is_lost_and_comes_back(
    settings: Settings, calls: Calls, processes: Calls
) -> None:
    """After its lease another process ends its calls; its own outcome, when it comes, counts."""
    with waiting(settings) as (frozen,):
        beats(processes, frozen.nonce, 1)
        frozen.freeze()
        llm_audit.recover()
        until(lambda: status(calls, frozen.call_id) == "ABANDONED")
        call = calls.find_one({"_id": frozen.call_id})
        assert call is not None
        assert (call["ended_by"], call["error_type"]) == ("lease_expired", "LeaseExpired")
        until(lambda: document(processes, frozen.nonce)["state"] == "lost")
        assert llm_audit.stats()["closed_for_the_dead"] == 1

        frozen.signal(signal.SIGCONT)
        frozen.complete()
        call = calls.find_one({"_id": frozen.call_id})
        assert call is not None
        assert call["status"] == "SUCCESS"
        assert call["response_message"]["content"] == "late"
        assert not {"ended_by", "error_type", "error_message"} & call.keys()
        until(lambda: document(processes, frozen.nonce)["state"] == "alive")


def test_a_lost_host_is_noticed(
    settings: Settings, calls: Calls, processes: Calls, tmp_path: Path
) -> None:
    """Where a process died and its spool with it, its calls end, and it counts as lost."""
    with waiting(settings) as (gone,):
        beats(processes, gone.nonce, 1)
        gone.freeze()
        (folder,) = settings.spool_dir.glob(f"*/{gone.nonce}")
        folder.rename(tmp_path / "lost")
        gone.signal(signal.SIGKILL)
        gone.process.wait()
    llm_audit.recover()
    until(lambda: document(processes, gone.nonce)["state"] == "lost")
    assert llm_audit.flush(PATIENCE)

    call = calls.find_one({"_id": gone.call_id})
    assert call is not None
    assert (call["status"], call["ended_by"]) == ("ABANDONED", "lease_expired")
    assert calls.count_documents({"status": "SUCCESS"}) == 1


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "killed"])
def test_an_outage_abandons_nobody(
    settings: Settings, server: embedded.Mongod, calls: Calls, processes: Calls, *, frozen: bool
) -> None:
    """However long MongoDB is away, the first process that is back takes nobody for dead."""
    with waiting(settings, 2) as alive:
        for process in alive:
            beats(processes, process.nonce, 2)
        server.freeze() if frozen else server.kill()
        away_until = time.monotonic() + 2 * LEASE_SECONDS
        until(lambda: time.monotonic() > away_until)
        server.thaw() if frozen else server.restart()
        for process in alive:
            beats(processes, process.nonce, BEATS_IN_A_LEASE + 5)

        assert calls.count_documents({"status": "PENDING"}) == 2
        assert {process["state"] for process in processes.find()} == {"alive"}
        assert not list(processes.find({"closed_for_the_dead": {"$gt": 0}}))
        for process in alive:
            process.complete()
        assert calls.count_documents({"status": "SUCCESS"}) == calls.count_documents({}) == 4


def test_an_observer_that_was_frozen_abandons_nobody(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, calls: Calls, processes: Calls
) -> None:
    """What passed while the observer itself was frozen does not count against others."""
    lease_seconds = 4
    monkeypatch.setenv("LLM_AUDIT_LEASE_SECONDS", str(lease_seconds))
    with waiting(settings, 2) as (observer, observed):
        beats(processes, observed.nonce, 2)
        observed.freeze()
        beats(processes, observer.nonce, 5)  # by now it watches
        observer.freeze()
        frozen_until = time.monotonic() + lease_seconds
        until(lambda: time.monotonic() > frozen_until)
        observer.signal(signal.SIGCONT)
        beats(processes, observer.nonce, 3)

        observed.signal(signal.SIGCONT)
        beats(processes, observed.nonce, 3)
        assert status(calls, observed.call_id) == "PENDING"
        assert document(processes, observer.nonce)["closed_for_the_dead"] == 0
        assert {process["state"] for process in processes.find()} == {"alive"}


def test_processes_of_other_collections_are_left_alone(
    recording: Recording, settings: Settings, calls: Calls, processes: Calls
) -> None:
    """Whoever records into another collection of the same database does not judge us."""
    with waiting(settings) as (frozen,):
        beats(processes, frozen.nonce, 1)
        frozen.freeze()
        recording(**{**dict(settings), "collection": "other_calls"})
        LLMLogger.start(model="m", messages=[])
        until(lambda: processes.count_documents({}) == 2)
        beats(processes, own_nonce(), BEATS_IN_A_LEASE + 5)
        assert status(calls, frozen.call_id) == "PENDING"
        assert document(processes, frozen.nonce)["state"] == "alive"


@pytest.mark.usefixtures("settings")
def test_an_idle_process_notices_that_mongodb_is_back(
    server: embedded.Mongod, processes: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """With nothing to ship, an outage ends with the next beat, and a clean end is one."""
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    assert llm_audit.flush(PATIENCE)
    nonce = own_nonce()
    until(lambda: document(processes, nonce))
    server.kill()
    until(lambda: "not available" in caplog.text)
    server.restart()
    beats(processes, nonce, 3)
    assert llm_audit.shutdown(PATIENCE)

    assert len([line for line in caplog.messages if "available" in line]) == 2
    assert document(processes, nonce)["state"] == "ended"


@pytest.mark.usefixtures("settings")
def test_the_numbers_stay_behind_while_something_is_missing(
    server: embedded.Mongod, calls: Calls
) -> None:
    """What is not in the database is seen as backlog, with its size and age."""
    LLMLogger.start(model="m", messages=[])
    assert llm_audit.flush(PATIENCE)
    server.freeze()
    try:
        for _ in range(5):
            LLMLogger.start(model="m", messages=[])
        stats = llm_audit.stats()
        assert (stats["recorded"], stats["acked_through"]) == (6, 1)
        assert stats["backlog_bytes"] > 0
        until(lambda: llm_audit.stats()["backlog_age_seconds"] > 0)
    finally:
        server.thaw()
    assert llm_audit.flush(PATIENCE)
    assert llm_audit.stats()["acked_through"] == calls.count_documents({}) == 6
    assert (llm_audit.stats()["backlog_bytes"], llm_audit.stats()["backlog_age_seconds"]) == (0, 0)


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass on the monotonic clock, as an observer sees it."""
    return clock_of(silence, sightings, monkeypatch=monkeypatch)


@pytest.fixture
def observer(settings: Settings, processes: Calls) -> Iterator[Silence]:
    """Give an observer that records nothing, and a process that fell silent long ago."""
    processes.insert_one(
        {
            "_id": "silent",
            "beat": 7,
            "beat_at": datetime.now(UTC) - timedelta(days=1),
            "state": "alive",
            "lease_seconds": LEASE_SECONDS,
            "collection": settings.collection,
        }
    )
    connection = Connection(settings)
    yield Silence(settings, connection, "observer")
    connection.close()


def test_silence_counts_while_somebody_looks(
    observer: Silence, processes: Calls, pass_seconds: Callable[[float], None]
) -> None:
    """A process is lost after a whole lease of looks that all found it silent, and not before."""
    for _ in range(BEATS_IN_A_LEASE):
        assert observer.look() == []
        pass_seconds(BEAT_SECONDS)
    assert observer.look() == [Silent("silent", 7)]
    processes.update_one({"_id": "silent"}, {"$inc": {"beat": 1}})
    for _ in range(BEATS_IN_A_LEASE):
        assert observer.look() == []
        pass_seconds(BEAT_SECONDS)
    assert observer.look() == [Silent("silent", 8)]


def test_time_in_which_nobody_looked_does_not_count(
    observer: Silence, pass_seconds: Callable[[float], None]
) -> None:
    """After a break, whatever its reason, a whole lease has to pass again."""
    for _ in range(3):
        for _ in range(BEATS_IN_A_LEASE):
            assert observer.look() == []
            pass_seconds(BEAT_SECONDS)
        pass_seconds(10 * LEASE_SECONDS)
    assert observer.look() == []


def test_time_in_which_an_answer_was_on_its_way_does_not_count(
    observer: Silence,
    pass_seconds: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an observer was told before it was frozen says nothing about the time since."""
    assert observer.look() == []
    pass_seconds(BEAT_SECONDS)
    find = pymongo.collection.Collection.find

    def frozen_meanwhile(*given: Any) -> Any:
        found = find(*given)
        pass_seconds(10 * LEASE_SECONDS)
        return found

    monkeypatch.setattr(pymongo.collection.Collection, "find", frozen_meanwhile)
    assert observer.look() == []
