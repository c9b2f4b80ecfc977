"""MongoDB down, gone and back: recording goes on, and everything arrives once."""

import logging
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymongo
import pytest
from children import output_of
from file_size_limit import file_size_limit
from nowhere import NOWHERE
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, embedded
from llm_audit.settings import Settings, reset_settings

MESSAGES = [{"role": "user", "content": "x" * 300}]
ANSWER = {"role": "assistant", "content": "y" * 300}

# Records with MongoDB down, and prints how much the process has grown since the first hundred.
RECORD_MANY = """
import logging
import resource
from pathlib import Path
import llm_audit
from llm_audit import LLMLogger

logging.disable()  # that MongoDB is not available is known

def record(count):
    for _ in range(count):
        call_id = LLMLogger.start(model="m", messages=[{"role": "user", "content": "x" * 2000}])
        LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "y" * 500})

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

llm_audit.configure(exit_timeout_seconds=0, strict=False)
record(2_000)
before = resident_bytes()
record(20_000)
print(resident_bytes() - before)
print(llm_audit.stats()["recorded"], llm_audit.stats()["acked_through"])
"""


@pytest.fixture
def settings(recording: Recording, server: embedded.Mongod, calls: Calls) -> Settings:
    """Record onto the server that may be killed."""
    return recording(mongo_url=server.url, database=calls.database.name)


def record(count: int) -> list[str]:
    ids = []
    for _ in range(count):
        call_id = LLMLogger.start(model="m", messages=MESSAGES)
        LLMLogger.complete(call_id, response_message=ANSWER)
        ids.append(call_id)
    return ids


def all_arrived(calls: Calls, ids: list[str]) -> bool:
    """Tell whether exactly these calls are there, each whole."""
    whole = {"status": "SUCCESS", "messages": MESSAGES, "response_message": ANSWER}
    there = {call["_id"] for call in calls.find(whole, {"_id": 1})}
    return there == set(ids) and calls.count_documents({}) == len(ids)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "llm_audit"]


@pytest.mark.usefixtures("settings")
def test_down_at_start(
    server: embedded.Mongod, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """What was recorded before MongoDB came up arrives when it does; two log lines say it all."""
    server.kill()
    with caplog.at_level(logging.DEBUG, logger="llm_audit"):
        ids = record(50)
        assert not llm_audit.flush(0)
        until(lambda: said(caplog))
        server.restart()
        assert llm_audit.flush(PATIENCE)

    assert all_arrived(calls, ids)
    gone, back = said(caplog)
    assert "not available" in gone
    assert "available again" in back


@pytest.mark.usefixtures("settings")
def test_killed_while_shipping(
    server: embedded.Mongod, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed and restarted on its data in mid-traffic, MongoDB has every call once in the end."""
    ids = record(20)
    assert llm_audit.flush(PATIENCE)
    for _ in range(2):
        ids += record(1_000)
        server.kill()
        ids += record(200)
        server.restart()
        assert llm_audit.flush(PATIENCE)

    assert all_arrived(calls, ids)
    lines = said(caplog)
    assert len(lines) <= 4
    assert lines[::2] == [line for line in lines if "not available" in line]
    assert lines[1::2] == [line for line in lines if "available again" in line]


@pytest.mark.usefixtures("settings")
def test_a_frozen_server_delays_and_loses_nothing(server: embedded.Mongod, calls: Calls) -> None:
    """While nothing answers, recording goes on; what was applied unseen is not doubled."""
    ids = record(20)
    assert llm_audit.flush(PATIENCE)
    server.freeze()
    try:
        ids += record(500)
        assert not llm_audit.flush(0.2)
    finally:
        server.thaw()
    assert llm_audit.flush(PATIENCE)
    assert all_arrived(calls, ids)


def test_flush_says_what_is_missing_and_why(recording: Recording) -> None:
    """A flush that meets its deadline is false, and says how many operations are left and why."""
    recording(mongo_url=NOWHERE, exit_timeout_seconds=0)
    record(3)
    first = llm_audit.flush(0)
    assert not first
    assert first.unacknowledged_operations == 6
    until(lambda: "ServerSelectionTimeoutError" in str(llm_audit.flush(0.01).reason))
    assert not llm_audit.shutdown(0)


def test_a_broken_url_keeps_calls_in_the_journal(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a URL that cannot be, calls are journaled, and no log line repeats it."""
    spool_dir = recording().spool_dir
    reset_settings()
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", "mongodb://me:se/cret@host")
    llm_audit.configure(spool_dir=spool_dir, exit_timeout_seconds=0)
    record(3)
    until(lambda: llm_audit.flush(0.01).reason != "time is over")
    assert "mongo_url" in str(llm_audit.flush(0).reason)
    assert list(spool_dir.glob("*/*/*.bson"))
    assert not {"me", "se", "cret"} & set(re.findall(r"\w+", caplog.text))
    llm_audit.shutdown(0)


def test_memory_stays_flat(recording: Recording) -> None:
    """Twenty thousand calls of an outage are on disk, not in memory."""
    settings = recording(mongo_url=NOWHERE, exit_timeout_seconds=0)
    grown, counts = output_of(RECORD_MANY, settings)
    on_disk = sum(path.stat().st_size for path in settings.spool_dir.rglob("*.bson"))

    assert counts == "44000 0"
    assert on_disk > 50 * 2**20
    assert int(grown) < on_disk / 4
    assert int(grown) < 24 * 2**20


def test_what_the_next_process_finds_arrives(
    recording: Recording, server: embedded.Mongod, calls: Calls, tmp_path: Path
) -> None:
    """A process that ended during the outage has left everything to the next one."""
    down = recording(mongo_url=server.url, database=calls.database.name)
    server.kill()
    ids = record(100)
    assert not llm_audit.shutdown(0)
    server.restart()
    up: Any = recording(**{**dict(down), "spool_dir": tmp_path / "spool"})
    llm_audit.recover()
    until(lambda: calls.count_documents({"status": "SUCCESS"}) == len(ids))
    assert llm_audit.shutdown(PATIENCE)
    assert all_arrived(calls, ids)
    assert not list(up.spool_dir.rglob("*.bson"))


@pytest.mark.usefixtures("settings")
def test_a_full_disk_and_no_mongodb_still_lose_nothing(
    server: embedded.Mongod, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """What the disk refuses during an outage waits in memory, and arrives in the end once."""
    ids = record(20)
    assert llm_audit.flush(PATIENCE)
    server.kill()
    ids += record(50)
    with file_size_limit(resource.getpagesize()):
        ids += record(50)
    server.restart()
    ids += record(20)
    assert llm_audit.flush(PATIENCE)

    assert all_arrived(calls, ids)
    assert llm_audit.stats()["not_journaled"] > 0
    assert llm_audit.stats()["dropped"] == []
    assert len([line for line in said(caplog) if line.startswith("The journal in spool_dir")]) == 1


def test_a_full_spool_drops_content_first(
    recording: Recording,
    settings: Settings,
    server: embedded.Mongod,
    calls: Calls,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where the quota is reached the newest calls lose their content, then go, all counted."""
    server.kill()
    recording(**{**dict(settings), "spool_max_bytes": 100_000, "segment_max_bytes": 10_000})
    ids = record(400)
    content, records = llm_audit.stats()["dropped"]
    assert (content["what"], records["what"]) == ("content", "record")
    assert content["reason"] == records["reason"] == "spool_max_bytes"
    assert 0 < content["first_seq"] < records["first_seq"] <= llm_audit.stats()["recorded"]
    assert llm_audit.stats()["recorded"] == 800
    assert set(records["call_ids"]) < set(ids)
    used = sum(path.stat().st_size for path in settings.spool_dir.rglob("*.bson"))
    assert 85_000 < used <= 100_000

    server.restart()
    assert llm_audit.flush(PATIENCE)
    stored = {call["_id"]: call for call in calls.find()}
    assert list(stored) == ids[: len(stored)]
    bare = [call_id for call_id in stored if "messages" not in stored[call_id]]
    assert bare == list(stored)[-len(bare) :]
    for call_id in bare:
        assert stored[call_id]["model"] == "m"
        assert "spool_max_bytes" in " ".join(stored[call_id]["encoding_notes"])
    assert len([line for line in said(caplog) if "spool_max_bytes" in line]) <= 2
    until(lambda: record(1) and newest_has_content(calls))


def newest_has_content(calls: Calls) -> bool:
    assert llm_audit.flush(PATIENCE)
    newest = calls.find_one(sort=[("_id", -1)])
    return newest is not None and "messages" in newest


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "removed"])
def test_a_spool_that_goes_away_is_made_again(
    settings: Settings, server: embedded.Mongod, calls: Calls, tmp_path: Path, *, moved: bool
) -> None:
    """Where somebody takes the spool away during an outage, all that is recorded still arrives."""
    ids = record(10)
    assert llm_audit.flush(PATIENCE)
    server.kill()
    ids += record(10)
    if moved:
        settings.spool_dir.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(settings.spool_dir)
    ids += record(10)
    until(lambda: list(settings.spool_dir.glob("*/*/*.bson")))
    ids += record(10)
    server.restart()
    assert llm_audit.flush(PATIENCE)
    assert all_arrived(calls, ids)
    assert llm_audit.stats()["dropped"] == []
    assert llm_audit.stats()["not_journaled"] == 0


@pytest.mark.parametrize("replicated", [False, True])
def test_a_write_concern_that_cannot_be_met_is_an_outage(
    recording: Recording, request: pytest.FixtureRequest, *, replicated: bool
) -> None:
    """What was not acknowledged as asked for stays in the journal, even if it was written."""
    server = request.getfixturevalue("replica_set" if replicated else "mongod")
    usual = {"mongo_url": server.url, "exit_timeout_seconds": 0}
    settings = recording(write_concern=2, **usual)
    record(2)
    until(lambda: llm_audit.flush(0.01).reason != "time is over")
    assert llm_audit.flush(0).unacknowledged_operations == 4
    assert not list(settings.spool_dir.glob("*/rejected/*"))
    assert llm_audit.stats()["rejected"] == []
    assert not llm_audit.shutdown(0)

    recording(write_concern=1, **usual)
    llm_audit.recover()
    until(lambda: is_shipped(settings.spool_dir))
    with pymongo.MongoClient(server.url) as client:
        assert client[settings.database]["llm_calls"].count_documents({}) == 2
        client.drop_database(settings.database)


def is_shipped(spool_dir: Path) -> bool:
    """Tell whether no journal has its first segment any more."""
    try:
        return not list(spool_dir.rglob("00000001.bson"))
    except FileNotFoundError:  # a folder went while it was looked at
        return False


@pytest.mark.parametrize("end", [llm_audit.flush, llm_audit.shutdown], ids=["flush", "shutdown"])
def test_nothing_recorded_is_nothing_to_wait_for(end: Callable[[float], object]) -> None:
    """Before anything was recorded, flush and shutdown are true at once and touch nothing."""
    assert end(PATIENCE)
    assert llm_audit.stats() == {}
