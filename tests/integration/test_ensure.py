"""Any number of processes make collections and indexes at once, each as far as it may."""

from typing import Any

import pymongo
import pytest
from faults.guarded import DATABASE, USER, GuardedMongod
from pymongo.database import Database
from waiting import PATIENCE, Recording

import llm_audit
from llm_audit import LLMCallRepository, LLMLogger, embedded
from llm_audit.store.ensure import Conflict, ensure, ensure_async
from llm_audit.store.indexes import call_indexes


async def test_only_what_is_missing_is_made(
    database: Database[Any], mongod: embedded.Mongod
) -> None:
    """In sync and async code: what is there stays, what conflicts is named, the rest is built."""
    calls = database["calls"]
    calls.create_index("trace_id", name="trace_id_newest")
    calls.insert_one({"_id": "1"})
    conflict = [Conflict("trace_id_newest", "trace_id_newest")]

    assert ensure(database, "calls", call_indexes(), only_if_empty=True) == []
    assert calls.index_information().keys() == {"_id_", "trace_id_newest"}
    assert ensure(database, "calls", call_indexes()) == conflict
    there = calls.index_information()
    assert len(there) == len(call_indexes()) + 1
    async with pymongo.AsyncMongoClient[Any](mongod.url) as client:
        assert await ensure_async(client[database.name], "calls", call_indexes()) == conflict
    assert calls.index_information() == there


async def test_a_user_without_the_right_is_told(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may only write records and reads all the same; one line for a collection says why."""
    with GuardedMongod() as server:
        server.create_users()
        may = {
            "resource": {"db": DATABASE, "collection": ""},
            "actions": ["find", "insert", "update", "listIndexes"],
        }
        server.as_root(
            lambda client: client[DATABASE].command(
                "createRole", "writer", privileges=[may], roles=[]
            )
        )
        server.administer("updateUser", USER, roles=[{"role": "writer", "db": DATABASE}])
        recording(create_collection=True, mongo_url=server.url, database=DATABASE)
        call_id = await LLMLogger.start(model="m", messages=[])
        assert llm_audit.flush(PATIENCE)
        database = await llm_audit.init()
        assert await LLMCallRepository.get(call_id)
        await database.client.close()
        llm_audit.shutdown()

    assert sorted(line.split()[2] for line in caplog.messages) == [
        "llm_audit_processes",
        "llm_audit_rejected",
        "llm_audit_verdicts",
        "llm_calls",
    ]
    for line in caplog.messages:
        assert "code 13" in line
        assert "let an administrator run `llm-audit indexes --create`" in line
