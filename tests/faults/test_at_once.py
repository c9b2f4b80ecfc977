"""Several processes at once on an empty database: all of it is made once, and nobody is hurt."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import cycle
from typing import Any

import pymongo
from children import child
from patience import LONG
from pymongo.database import Database
from pymongo.errors import OperationFailure
from waiting import Recording

from llm_audit import embedded
from llm_audit.queries.views import VIEWS
from llm_audit.settings import get_settings
from llm_audit.store.ensure import Conflict, ensure
from llm_audit.store.indexes import call_indexes, declared_indexes, media_indexes, view_indexes

AT_ONCE = 8
ROUNDS = 20 if LONG else 2

# What several apps and workers do at once on an empty database, each time told to.
AT_WORK = """
import asyncio, sys, threading
import llm_audit
from llm_audit import LLMCall, LLMCallRepository, LLMLogger, SyncLLMCallRepository
from llm_audit.queries.publishing import create_views, drop_views

async def start_app(ask=lambda: None):
    database = await llm_audit.init()
    ask()
    assert await LLMCallRepository.count_by_filters() >= 0
    await database.client.close()

def app():  # uvicorn --workers 4
    asyncio.run(start_app())

def app_of_two_loops():
    both = threading.Barrier(2, timeout=60)
    threads = [
        threading.Thread(target=lambda: asyncio.run(start_app(both.wait))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def worker():
    LLMLogger.start(model="m", messages=[{"role": "user", "content": "QUJD" * 2_000}])
    assert llm_audit.flush(60)
    llm_audit.shutdown(60)

def deployment():
    app()
    with SyncLLMCallRepository() as calls:
        create_views(calls.collection.database, calls.collection.name)
        drop_views(calls.collection.database, calls.collection.name)
        create_views(calls.collection.database, calls.collection.name)

print("ready")
for database in sys.stdin:
    llm_audit.configure(database=database.strip(), media_limit_bytes=1_000)
    globals()[sys.argv[1]]()
    print("done")
"""
KINDS = ("app", "app", "app_of_two_loops", "worker", "worker", "deployment", "deployment")


def assert_whole(database: Database[Any]) -> None:
    """Assert that what is declared is there, compressed, and nothing else."""
    declared = {**declared_indexes(get_settings()), **media_indexes()}
    declared["llm_calls"] += view_indexes()
    for name, indexes in declared.items():
        there = database[name].index_information().keys()
        assert there == {"_id_", *(index.document["name"] for index in indexes)}
        [info] = database.list_collections(filter={"name": name})
        assert "zstd" in str(info["options"])
    views = database.list_collections(filter={"type": "view"})
    assert {view["name"] for view in views} == VIEWS.keys()
    assert database["llm_calls"].count_documents({}) == KINDS.count("worker")


def test_processes_that_start_at_once_all_do(recording: Recording, database: Database[Any]) -> None:
    """Processes that begin together on an empty database make all of it once, and say nothing."""
    settings = recording(create_collection=True)
    with ExitStack() as stack:
        processes = [stack.enter_context(child(AT_WORK, settings, kind)) for kind in KINDS]
        assert [answer_of(process) for process in processes] == ["ready"] * len(KINDS)
        for number in range(ROUNDS):
            fresh = database.client[f"{database.name}_{number}"]
            stack.callback(database.client.drop_database, fresh.name)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{fresh.name}\n")
            for process in processes:
                assert process.stdin is not None
                process.stdin.flush()
            assert [answer_of(process) for process in processes] == ["done"] * len(KINDS)
            assert_whole(fresh)
        ended = [(*process.communicate(), process.returncode) for process in processes]

    assert ended == [("", "", 0)] * len(KINDS)


def answer_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip() or str(process.communicate())


def test_many_at_once_make_one_collection(mongod: embedded.Mongod, database: Database[Any]) -> None:
    """At each moment of the making others begin it too: none fails, and nothing is missing."""
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as threads:
        clients = [
            stack.enter_context(pymongo.MongoClient[Any](mongod.url)) for _ in range(AT_ONCE)
        ]
        for number in range(50 if LONG else 5):
            name = f"calls {number}"
            asked = [
                threads.submit(ensure, client[database.name], name, call_indexes())
                for client in clients
            ]
            assert [future.result() for future in asked] == [[]] * len(clients)
            assert len(database[name].index_information()) == len(call_indexes()) + 1
            asked = [
                threads.submit(ensure_or_drop, client[database.name], name, drop=drop)
                for client, drop in zip(clients, cycle([True, False]))
            ]
            assert [future.result() for future in asked] == [[]] * len(clients)
            assert ensure(database, name, call_indexes()) == []
            assert len(database[name].index_information()) == len(call_indexes()) + 1


def ensure_or_drop(database: Database[Any], name: str, *, drop: bool) -> list[Conflict]:
    """Drop what an upgrade drops, or have it all, at the same moment."""
    if not drop:
        return ensure(database, name, call_indexes())
    with suppress(OperationFailure):  # another was faster, or builds it
        database[name].drop_index("trace_id_newest")
        database[name].drop_indexes()
    return []
