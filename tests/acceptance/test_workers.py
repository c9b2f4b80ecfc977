"""A worker's processes: how they come, how they go, and what is delivered before they do."""

import os
import signal
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis
from celery import group
from children import output_of
from deployment import (
    BY_AGENT,
    EVENTLET,
    GEVENT,
    PREFORK,
    PREFORK_ALONE,
    SOLO,
    THREADS,
    CallsOf,
    Deployment,
)
from flights import ANSWERED, FINISHED, LEFT, Flight, ended
from waiting import PATIENCE, Calls, Recording, until

from llm_audit import audit_context, embedded

TASKS = 8


@pytest.mark.parametrize("limit", ["--max-tasks-per-child=1", "--max-memory-per-child=1"])
def test_recycled_children_deliver_everything_and_leave_nothing_behind(
    tasks: Any, own_queue: Deployment, calls_of: CallsOf, tmp_path: Path, limit: str
) -> None:
    """Children that are recycled after each task lose no call, and the spool ends up empty."""
    recycling = own_queue.with_settings(LLM_AUDIT_SPOOL_DIR=str(tmp_path))
    with recycling.worker(*PREFORK, limit):
        results = group(tasks.analyze.s(str(n)) for n in range(TASKS))()
        ids = results.get(timeout=2 * PATIENCE)

    calls = calls_of(TASKS, *(result.id for result in results))
    assert sorted(call["_id"] for call in calls) == sorted(ids)
    assert len({call["pid"] for call in calls}) == TASKS
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_recycled_children_whose_calls_an_agent_ships(
    tasks: Any, own_queue: Deployment, calls_of: CallsOf, tmp_path: Path
) -> None:
    """They wait for nobody, and when the agent has shipped what they left, nothing is left."""
    with own_queue.with_settings(LLM_AUDIT_SPOOL_DIR=str(tmp_path)).agent() as recycling:
        with recycling.worker(*PREFORK, "--max-tasks-per-child=1"):
            results = group(tasks.analyze.s(str(n)) for n in range(TASKS))()
            ids = results.get(timeout=2 * PATIENCE)
        calls = calls_of(TASKS, *(result.id for result in results))
        until(lambda: [*tmp_path.glob("*/*/*.bson")] == [])

    assert sorted(call["_id"] for call in calls) == sorted(ids)
    assert len({call["pid"] for call in calls}) == TASKS
    left = {path.parent.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"agent"}


def test_spawned_children(own_queue: Deployment, flight: Flight) -> None:
    """Children that are started anew instead of forked record, and end, as the others."""
    with own_queue.with_settings(START_METHOD="spawn").worker(*PREFORK_ALONE) as worker:
        task_id, request = flight.begin_limited("time_limit", "ask")
        assert request["pid"] != worker.pid
        flight.ends_as(task_id, FINISHED, LEFT, ended("TIMEOUT", "hard_time_limit"))
        task_id, request = flight.begin("ask")
        os.kill(request["pid"], signal.SIGKILL)
        flight.ends_as(task_id, FINISHED, LEFT, ended("ABANDONED", "worker_lost"))
        task_id, _ = flight.begin("ask_as_coroutine")
        flight.provider.answer()
        flight.ends_as(task_id, ANSWERED)


def test_without_mongodb_workers_start_run_and_stop(
    tasks: Any, own_queue: Deployment, tmp_path: Path
) -> None:
    """A worker does not wait for MongoDB at either end; what it recorded arrives later."""
    pools = {"prefork": PREFORK, "threads": THREADS, "gevent": GEVENT, "solo": SOLO}
    recorded: dict[str, str] = {}
    with embedded.Mongod() as server:
        away = own_queue.with_settings(
            LLM_AUDIT_MONGO_URL=server.url,
            LLM_AUDIT_SPOOL_DIR=str(tmp_path),
            LLM_AUDIT_EXIT_TIMEOUT_SECONDS="0.5",
        )
        server.kill()
        for pool, options in pools.items():
            with away.worker(*options):
                recorded[tasks.analyze.delay("x").get(timeout=PATIENCE)] = pool
        server.restart()
        with pymongo.MongoClient[dict[str, Any]](server.url) as client:
            calls = client[own_queue.calls.database.name][own_queue.calls.name]
            assert calls.count_documents({}) == 0

            def missing() -> set[str]:
                arrived = {call["_id"] for call in calls.find({"status": "SUCCESS"})}
                return {pool for call_id, pool in recorded.items() if call_id not in arrived}

            with away.worker(*SOLO):
                until(lambda: not missing(), instead=lambda: f"calls of {missing()} are missing")


@pytest.mark.parametrize(
    ("options", "own_queue"),
    [(PREFORK_ALONE, ""), (PREFORK_ALONE, BY_AGENT), (THREADS, "")],
    ids=["prefork", f"prefork, {BY_AGENT}", "threads"],
    indirect=["own_queue"],
)
def test_flushed_before_a_late_acknowledgement(
    own_queue: Deployment, flight: Flight, options: tuple[str, ...], redis_url: str
) -> None:
    """With `flush="task"` a message is acknowledged when MongoDB has the calls, not before."""
    with (
        own_queue.with_settings(FLUSH="task").worker(*options),
        redis.from_url(redis_url) as broker,
    ):
        task_id, _ = flight.begin("ask_late")
        unacknowledged = broker.hlen("unacked")  # workers that were killed have left some too
        flight.provider.answer()
        until(lambda: broker.hlen("unacked") == unacknowledged - 1)

        finished = {"task_id": task_id, "status": "SUCCESS"}
        assert own_queue.calls.count_documents(finished) == 2


def test_hooks_installed_when_the_worker_runs_already(
    own_queue: Deployment, flight: Flight
) -> None:
    """An install that comes after the app is finalised and the worker is ready counts as well."""
    with own_queue.with_settings(INSTALL="late").worker(*GEVENT):
        task_id, request = flight.begin("ask")
        flight.revoke(task_id, request)
        flight.ends_as(task_id, FINISHED, LEFT, ended("CANCELLED", "revoked"))


def test_the_eventlet_pool(tasks: Any, own_queue: Deployment, calls_of: CallsOf) -> None:
    """Greenlets of eventlet record as others do, each in its own context."""
    with own_queue.worker(*EVENTLET):
        sent = {}
        for user in ("7", "8", "9"):
            with audit_context(user_id=user):
                sent[tasks.analyze.delay(user).id] = user
        calls = calls_of(len(sent), *sent)

    assert {call["task_id"]: call["user_id"] for call in calls} == sent
    assert {call["status"] for call in calls} == {"SUCCESS"}


def test_tasks_that_are_discovered(tasks: Any, own_queue: Deployment, calls_of: CallsOf) -> None:
    """Shared tasks that the worker finds by autodiscovery, long after the install, are tagged."""
    with own_queue.worker(*PREFORK_ALONE):
        result = tasks.app.send_task("discovered.tasks.analyze_discovered")
        (call,) = calls_of(1, result.id)

    assert call["task"]["name"] == "discovered.tasks.analyze_discovered"
    assert call["status"] == "SUCCESS"


def test_a_task_that_lets_nothing_else_run(tasks: Any, own_queue: Deployment) -> None:
    """Under gevent a busy task holds heartbeats up: within the lease that is no death."""
    import spinning_tasks

    assert tasks.app
    watched = own_queue.with_settings(
        LLM_AUDIT_HEARTBEAT_SECONDS="0.2",
        LLM_AUDIT_LEASE_SECONDS=str(PATIENCE),
        LLM_AUDIT_RECOVERY_INTERVAL_SECONDS="0.2",
    )
    observer = watched.with_settings(QUEUE="nothing-comes-here")
    calls = own_queue.calls
    with watched.worker(*GEVENT), observer.worker(*SOLO):
        result = spinning_tasks.spin.delay(1.0)
        spinning = {"messages.content": "spinning"}
        until(lambda: calls.count_documents(spinning))
        seen = set()
        while not result.ready():
            seen |= {call["status"] for call in calls.find(spinning, {"status": 1})}
        call_id = result.get(timeout=PATIENCE)
        until(lambda: calls.count_documents({"_id": call_id, "status": "SUCCESS"}))

    assert seen <= {"PENDING", "SUCCESS"}


# Prints our threads after a task that made no call, and after the worker; then all that are left.
EMBEDDED_WORKER = """
import threading, time
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
import celery_hooks
from llm_audit import LLMLogger
from patience import PATIENCE

def threads(of=""):
    return sorted(thread.name for thread in threading.enumerate() if of in thread.name)

app = Celery("embedded", broker="memory://localhost", backend="cache+memory://")
celery_hooks.install(app)

@app.task
def make(calls):
    for _ in range(calls):
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    return threads("llm-audit")

for _ in range(2):
    with start_worker(app, perform_ping_check=False) as worker:
        signals.worker_ready.send(sender=object())  # as tests of parts of a worker do
        print(make.delay(0).get(timeout=PATIENCE))
        make.delay(1).get(timeout=PATIENCE)
        signals.worker_ready.send(sender=worker.consumer)  # which a worker for tests leaves out
    print(threads("llm-audit"))
    deadline = time.monotonic() + PATIENCE
    while threads() != ["MainThread"] and time.monotonic() < deadline:
        time.sleep(0.01)  # the driver's end on their own
    print(threads())
"""


def test_an_embedded_worker_leaves_no_thread_behind(recording: Recording, calls: Calls) -> None:
    """What a worker receives starts no thread of ours, and none is left when it has ended."""
    seen = output_of(EMBEDDED_WORKER, recording())

    assert seen == ["[]", "[]", "['MainThread']"] * 2
    assert calls.count_documents({"status": "SUCCESS"}) == 2
