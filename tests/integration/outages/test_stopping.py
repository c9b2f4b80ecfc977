"""Recorders that stop while something is under way: what is whose, and until when."""

import subprocess
import sys
from pathlib import Path

import pytest
from dead_processes import ended_during_an_outage
from short_leases import ours, set_short_leases
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, embedded
from llm_audit.settings import Settings

# Tells how many folders another process could take over.
TRY_TO_ADOPT = """
import sys
from pathlib import Path
from llm_audit.journal.spool.adoption import OtherKernels, adopt_dead
print(sum(1 for _ in adopt_dead(Path(sys.argv[1]), OtherKernels(100.0, 0.0))))
"""

# Ends in order while MongoDB is away, as does its child; a call begins when all have been ended.
END_IN_ORDER = """
import logging, multiprocessing, os
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder import process

logging.disable()
llm_audit.configure(exit_timeout_seconds=0)

def begin(model):
    LLMLogger.start(model=model, messages=[])

child = multiprocessing.get_context("fork").Process(target=begin, args=("in a child",))
child.start()
child.join()
begin("in that moment")
process.stop()
os._exit(0)
"""


@pytest.fixture
def settings(
    recording: Recording, server: embedded.Mongod, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Record onto that server, with short leases."""
    set_short_leases(monkeypatch)
    return recording(mongo_url=server.url, database=calls.database.name)


def own_folder() -> Path:
    return Path(ours().journal.folder)


def adopted_by_another_process(target: Path) -> int:
    command = [sys.executable, "-c", TRY_TO_ADOPT, str(target)]
    return int(subprocess.check_output(command))


@pytest.mark.usefixtures("settings")
def test_what_a_stopped_recorder_left_is_shipped_by_the_next(
    server: embedded.Mongod, calls: Calls
) -> None:
    """Stopped at once with MongoDB away, its folder is free for the process's next recorder."""
    server.kill()
    ids = [str(LLMLogger.start(model="m", messages=[])) for _ in range(20)]
    for call_id in ids:
        LLMLogger.complete(call_id)
    until(lambda: ours().shipper.unavailable)
    folder = own_folder()
    assert not llm_audit.shutdown(0)
    assert folder.exists()

    server.restart()
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    assert llm_audit.recover(PATIENCE)
    assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 20
    until(lambda: not folder.exists())


def test_that_mongodb_is_back_is_seen_with_nothing_to_ship(
    recording: Recording, settings: Settings, server: embedded.Mongod
) -> None:
    """Long before the next beat; a process that ends then has said goodbye, and leaves nothing."""
    recording(**{**dict(settings), "heartbeat_seconds": 1_000, "lease_seconds": 10_000})
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    assert llm_audit.flush(PATIENCE)
    shipper, folder = ours().shipper, own_folder()
    until(lambda: shipper.heartbeat.shown)
    server.kill()
    shipper.life.soon()
    until(lambda: shipper.unavailable)
    server.restart()
    until(lambda: not shipper.unavailable)
    assert llm_audit.shutdown(PATIENCE)
    assert shipper.ended_well
    assert not folder.exists()


def test_a_folder_is_ours_until_the_thread_has_ended(
    recording: Recording, server: embedded.Mongod, calls: Calls
) -> None:
    """Stopped in the middle of a batch, it is taken over by nobody before that batch is done."""
    # a heartbeat, which comes before the batch, would wait for the frozen server
    recording(mongo_url=server.url, database=calls.database.name)
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    assert llm_audit.flush(PATIENCE)
    until(lambda: ours().shipper.heartbeat.shown)
    server.freeze()
    try:
        last = str(LLMLogger.start(model="m", messages=[]))
        LLMLogger.complete(last)
        shipper, folder = ours().shipper, own_folder()
        until(lambda: shipper.own.reader._in_flight is not None)
        assert not llm_audit.shutdown(0)
        assert shipper._thread.is_alive()
        assert adopted_by_another_process(folder.parent) == 0
    finally:
        server.thaw()
    shipper._thread.join(PATIENCE)
    assert not shipper._thread.is_alive()

    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": last, "status": "SUCCESS"}) == 1
    until(lambda: not folder.exists())


def test_who_ended_in_order_was_not_killed(
    settings: Settings, server: embedded.Mongod, calls: Calls
) -> None:
    """What nobody could say while MongoDB was away is known to whoever ships the rest."""
    assert ended_during_an_outage(END_IN_ORDER, settings, server, returncode=0) == []
    assert llm_audit.recover(PATIENCE)

    assert {call["model"]: (call["status"], call["ended_by"]) for call in calls.find()} == {
        "in a child": ("INCOMPLETE", "process_exit"),
        "in that moment": ("ABANDONED", "process_exit"),
    }
