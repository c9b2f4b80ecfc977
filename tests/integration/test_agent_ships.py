"""What a process with shipper="agent" promises, with a real agent and MongoDB."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from agents_running import agent
from children import record_here
from patience import PATIENCE
from waiting import Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder.process import recorder
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES


@pytest.fixture
def shipped(recording: Recording) -> Iterator[Settings]:
    """Record here, and have an agent ship it."""
    settings = recording(
        shipper="agent", durability="acknowledged", segment_max_bytes=2_000, retention_days=3
    )
    with agent(settings):
        yield settings
        llm_audit.shutdown(PATIENCE)


def test_what_waits_for_the_agent_is_in_mongodb(shipped: Settings, calls: Calls) -> None:
    """By flush, by wait, by awaiting: each returns when it is there, and not before."""
    ids = record_here(50)
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 50

    pending = LLMLogger.start(model="m", messages=[])
    assert pending.wait(PATIENCE)
    assert calls.count_documents({"_id": pending, "status": "PENDING"}) == 1

    async def in_a_loop() -> None:
        await LLMLogger.complete(pending)

    asyncio.run(in_a_loop())
    assert calls.count_documents({"_id": pending, "status": "SUCCESS"}) == 1

    for call in calls.find():  # as this process says, and not the agent
        assert call["expires_at"] - call["created_at"] == timedelta(days=3)

    stats = llm_audit.stats()
    assert (stats["recorded"], stats["acked_through"], stats["backlog_bytes"]) == (102, 102, 0)
    assert (stats["rejected"], stats["dropped"]) == ([], [])
    folder = recorder().path
    assert llm_audit.shutdown(PATIENCE)
    until(lambda: not folder.exists())
    (process,) = calls.database[PROCESSES].find()
    assert (process["shipped_by"], process["retention_days"]) == ("agent", 3)
    assert (process["recorded"], process["dropped"]) == (102, [])
    assert shipped.shipper == "agent"


def test_what_the_disk_took_late_arrives(shipped: Settings, calls: Calls) -> None:
    """It has lower numbers than what has been shipped meanwhile: neither missing, nor given up."""
    ids = record_here(5)
    journal = recorder().journal
    journal._written.refused(OSError(28, "No space left on device"))
    ids += record_here(5)
    journal._written.refused_until = 0.0
    ids += record_here(1)
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 11
    assert not journal.disk_refuses
    assert llm_audit.shutdown(PATIENCE)
    until(lambda: list((shipped.spool_dir / shipped.target()).glob("*-*")) == [])
    (process,) = calls.database[PROCESSES].find()
    assert (process["recorded"], process["dropped"]) == (22, [])


def test_what_was_recorded_before_the_agent_came(recording: Recording, calls: Calls) -> None:
    """It waits, by living processes and by those that have ended; a flush waits with it."""
    settings = recording(shipper="agent")
    ids = record_here(3)
    assert not llm_audit.shutdown(0)
    ids += record_here(3)
    with agent(settings):
        assert llm_audit.flush(PATIENCE)
        assert llm_audit.recover(PATIENCE)
        assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 6
    ids += record_here(3)
    assert not llm_audit.flush(0)
    with agent(settings):
        assert llm_audit.shutdown(PATIENCE)
    assert calls.count_documents({"_id": {"$in": ids}, "status": "SUCCESS"}) == 9
