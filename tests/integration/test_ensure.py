"""Any number of processes make collections and indexes at once, each as far as it may."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pymongo
import pytest
from children import child
from faults.guarded import DATABASE, USER, GuardedMongod
from pymongo.database import Database
from waiting import PATIENCE, Recording

import llm_audit
from llm_audit import LLMCallRepository, LLMLogger, embedded
from llm_audit.settings import get_settings
from llm_audit.store.ensure import Conflict, ensure, ensure_async
from llm_audit.store.indexes import call_indexes, declared_indexes

AT_ONCE = 4

# What uvicorn --workers 4 does on an empty database, and a Celery worker beside it.
INIT = """
import asyncio, llm_audit
from llm_audit import LLMCall, LLMLogger  # before the signal, as it takes longest

async def initialise():
    database = await llm_audit.init()
    await database.client.close()

print("ready")
input()
asyncio.run(initialise())
"""
RECORD = """
import llm_audit
from llm_audit import LLMLogger

print("ready")
input()
LLMLogger.start(model="m", messages=[])
assert llm_audit.flush(30)
"""


def assert_whole(database: Database[Any]) -> None:
    """Assert that what is declared is there, compressed, and nothing else."""
    for name, indexes in declared_indexes(get_settings()).items():
        there = database[name].index_information().keys()
        assert there == {"_id_", *(index.document["name"] for index in indexes)}
        [info] = database.list_collections(filter={"name": name})
        assert "zstd" in str(info["options"])


def test_processes_that_start_at_once_all_do(recording: Recording, database: Database[Any]) -> None:
    """Processes that begin together on an empty database make every index, and say nothing."""
    settings = recording(create_collection=True)
    scripts = [INIT] * AT_ONCE + [RECORD] * AT_ONCE
    with ExitStack() as stack:
        processes = [stack.enter_context(child(script, settings)) for script in scripts]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        ended = [(*process.communicate(), process.returncode) for process in processes]

    assert ended == [("", "", 0)] * len(scripts)
    assert_whole(database)


def test_many_at_once_make_one_collection(mongod: embedded.Mongod, database: Database[Any]) -> None:
    """At each moment of the making others begin it too: none fails, and nothing is missing."""
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE * 2) as threads:
        clients = [
            stack.enter_context(pymongo.MongoClient[Any](mongod.url)) for _ in range(AT_ONCE * 2)
        ]
        for number in range(10):
            name = f"calls {number}"
            asked = [
                threads.submit(ensure, client[database.name], name, call_indexes())
                for client in clients
            ]
            assert [future.result() for future in asked] == [[]] * len(clients)
            assert len(database[name].index_information()) == len(call_indexes()) + 1


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
