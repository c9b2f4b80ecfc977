"""What it takes to record with a thread that ships, and with one agent that ships for all.

    python -m benchmarks.agent

In one run, side by side: what a worker of Celery with eight children holds and takes; what a call
costs the thread that makes it, a call every two milliseconds and as fast as can be; and how many
calls a second come through to MongoDB from eight processes, beside as many that do nothing but
`insert_many`. Every figure is the median of several rounds, in which the candidates take turns.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pymongo

import llm_audit
from benchmarks.agent_workers import Used, measure_worker, running_agent
from benchmarks.figures import Aim, Row, Table, aims, publish
from benchmarks.recorders import (
    CONCERN,
    RECORDERS,
    RecordCall,
    Recorder,
    document,
    document_bytes,
    fresh_collection,
    insert_batches,
    llm_audit_recorder,
    record_with_llm_audit,
)
from benchmarks.recording import FLOOR, RIVAL, paced, paced_table
from llm_audit import embedded

WRITERS = 8
DATABASE = "bench_llm_audit"
FLOOR_DATABASE = "bench_floor"
PATIENCE_SECONDS = 300.0
BY_THREAD, BY_AGENT = "a thread ships", "an agent ships"
WAYS = {BY_THREAD: "thread", BY_AGENT: "agent"}
HELD = {
    "connections at the server, of a worker with eight children": "connections",
    "of these, of a child": "child_connections",
    "threads of a child": "threads",
    "RSS of a child, MiB": "rss_mib",
    "PSS of a child, MiB": "pss_mib",
    "CPU of a child for its first call, with what is imported, ms": "first_call_ms",
    "CPU of a child, for each call of many, µs": "call_us",
    "CPU of an idle child, ms a second": "idle_ms",
    "PSS of all, with the agent, MiB": "all_pss_mib",
    "CPU of all, with the agent, for each call, µs": "all_call_us",
    "CPU of all when idle, with the agent, ms a second": "all_idle_ms",
}
_SPAWN: SpawnContext = multiprocessing.get_context("spawn")


def _settings(url: str, folder: Path, way: str) -> dict[str, str]:
    return {
        **os.environ,
        "LLM_AUDIT_MONGO_URL": url,
        "LLM_AUDIT_DATABASE": DATABASE,
        "LLM_AUDIT_SPOOL_DIR": str(folder),
        "LLM_AUDIT_SHIPPER": WAYS[way],
    }


def workers(url: str, broker_url: str, rounds: int, calls: int) -> tuple[Table, list[Aim]]:
    """Measure what a worker and its children hold and take."""
    runs = defaultdict(list)
    for _ in range(rounds):
        for way in WAYS:
            fresh_collection(url, DATABASE).database.client.close()
            with tempfile.TemporaryDirectory() as folder:
                environment = _settings(url, Path(folder), way) | {"BROKER_URL": broker_url}
                agent = running_agent(environment) if way == BY_AGENT else nullcontext()
                with agent as running:
                    runs[way].append(measure_worker(environment, url, calls, running))
    found = {way: Used(*map(statistics.median, zip(*runs[way], strict=True))) for way in WAYS}
    thread, agent_found = found[BY_THREAD], found[BY_AGENT]
    rows: list[Row] = [
        (title, *(f"{getattr(found[way], name):,.1f}" for way in WAYS))
        for title, name in HELD.items()
    ]
    return Table("a worker", ("", *WAYS), rows), [
        Aim("connections of a child", agent_found.child_connections, 0),
        Aim("connections of a host", agent_found.connections, thread.child_connections),
        Aim(
            "RSS of a child, MiB less than with a thread",
            thread.rss_mib - agent_found.rss_mib,
            15,
            at_least=True,
        ),
    ]


@contextmanager
def agent_recorder(url: str, folder: Path) -> Iterator[RecordCall]:
    """llm-audit: on disk when the call returns, shipped by an agent."""
    with (
        running_agent(_settings(url, folder, BY_AGENT)),
        llm_audit_recorder(url, folder, shipper="agent") as record,
    ):
        yield record


@contextmanager
def thread_recorder(url: str, folder: Path) -> Iterator[RecordCall]:
    """llm-audit: on disk when the call returns, shipped by its thread."""
    with llm_audit_recorder(url, folder, shipper="thread") as record:
        yield record


OURS: dict[str, Recorder] = {BY_THREAD: thread_recorder, BY_AGENT: agent_recorder}


def calling_thread(url: str, rounds: int, calls: int) -> tuple[Table, list[Aim]]:
    """Measure what one call costs the thread that makes it, a call every two milliseconds."""
    figures = paced(OURS | {RIVAL: RECORDERS[RIVAL]}, url, rounds, calls)
    ratio = figures[BY_AGENT][0] / figures[RIVAL][0]
    return paced_table(figures), [Aim(f"paced, median, x {RIVAL}", ratio, 0.7)]


def full_speed(url: str, rounds: int, calls: int) -> tuple[Table, list[Aim]]:
    """Measure how fast one thread records, one call after the other, while they are shipped."""
    rates = defaultdict(list)
    for _ in range(rounds):
        for way, recorder in OURS.items():
            with tempfile.TemporaryDirectory() as folder, recorder(url, Path(folder)) as record:
                for _ in range(50):
                    record()
                llm_audit.flush(30)
                began = time.perf_counter()
                for _ in range(calls):
                    record()
                rates[way].append(calls / (time.perf_counter() - began))
    rate = {way: statistics.median(found) for way, found in rates.items()}
    rows = [(way, f"{found:,.0f}", f"{found / rate[BY_THREAD]:.2f}") for way, found in rate.items()]
    ratio = rate[BY_AGENT] / rate[BY_THREAD]
    return Table("at full speed", ("", "calls recorded a second", f"x {BY_THREAD}"), rows), [
        Aim(f"recording at full speed, x {BY_THREAD}", ratio, 1.3, at_least=True)
    ]


def through(url: str, rounds: int, calls: int) -> tuple[Table, list[Aim]]:
    """Measure calls a second from eight processes through to the database."""
    rates = defaultdict(list)
    for _ in range(rounds):
        rates[FLOOR].append(_together(url, FLOOR_DATABASE, calls, _insert, {}))
        for way, shipper in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                environment = _settings(url, Path(folder), way)
                where = {"mongo_url": url, "database": DATABASE, "spool_dir": folder}
                settings = {**where, "shipper": shipper}
                agent = running_agent(environment) if way == BY_AGENT else nullcontext()
                with agent:
                    rates[way].append(_together(url, DATABASE, calls, _record, settings))
    rate = {way: statistics.median(found) for way, found in rates.items()}
    rows = [(way, f"{found:,.0f}", f"{found / rate[FLOOR]:.2f}") for way, found in rate.items()]
    of_floor = rate[BY_AGENT] / rate[FLOOR]
    return Table("through to MongoDB", ("eight processes", "calls/s", "of the floor"), rows), [
        Aim("through to MongoDB by one agent, of the floor", of_floor, 0.6, at_least=True)
    ]


def _together(
    url: str, database: str, calls: int, work: Callable[..., None], settings: dict[str, Any]
) -> float:
    """Let eight processes work at once; return how many calls a second came through."""
    collection = fresh_collection(url, database)
    together = _SPAWN.Barrier(WRITERS + 1, timeout=PATIENCE_SECONDS)
    processes = [
        _SPAWN.Process(target=work, args=(url, calls, settings, together)) for _ in range(WRITERS)
    ]
    for process in processes:
        process.start()
    try:
        together.wait()  # all are warm
        goal = collection.count_documents({}) + WRITERS * calls
        together.wait()
        began = time.perf_counter()
        deadline = began + PATIENCE_SECONDS
        while collection.count_documents({"status": "SUCCESS"}) < goal:
            if time.perf_counter() > deadline:
                raise TimeoutError("not all calls arrived: the figures mean nothing")
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        together.wait()
    finally:
        for process in processes:
            process.join(PATIENCE_SECONDS)
    stored = collection.count_documents({"status": "SUCCESS"})
    collection.database.client.close()
    if stored != goal or any(process.exitcode for process in processes):
        raise RuntimeError(f"{stored} of {goal} calls arrived: the figures mean nothing")
    return WRITERS * calls / seconds


def _insert(url: str, calls: int, settings: dict[str, Any], together: Barrier) -> None:
    assert not settings
    documents = [document() for _ in range(calls)]
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        collection = client[FLOOR_DATABASE].get_collection("llm_calls", write_concern=CONCERN)
        collection.find_one()
        together.wait()
        together.wait()
        insert_batches(collection, documents)
        together.wait()


def _record(url: str, calls: int, settings: dict[str, Any], together: Barrier) -> None:
    del url
    llm_audit.configure(**settings)
    record_with_llm_audit()
    if not llm_audit.flush(PATIENCE_SECONDS):
        raise RuntimeError("the first call did not arrive: the figures mean nothing")
    together.wait()
    together.wait()
    for _ in range(calls):
        record_with_llm_audit()
    together.wait()
    if not llm_audit.shutdown(PATIENCE_SECONDS):
        raise RuntimeError("not everything arrived: the figures mean nothing")


def main() -> None:
    """Run every measurement and publish it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=2000, help="of each process, at full speed")
    parser.add_argument("--paced-calls", type=int, default=600, help="a round")
    options = parser.parse_args()
    rounds = options.rounds
    print(f"A call of {document_bytes()} bytes of BSON; {os.cpu_count()} cores, shared with mongod")
    with embedded.mongod() as server, embedded.redis_server() as broker:
        found = [
            workers(server.url, broker.url, rounds, options.paced_calls),
            calling_thread(server.url, rounds, options.paced_calls),
            full_speed(server.url, rounds, options.calls * WRITERS),
            through(server.url, rounds, options.calls),
        ]
    tables, wanted = zip(*found, strict=True)
    publish("agent", [*tables, aims(*(aim for some in wanted for aim in some))])


if __name__ == "__main__":
    main()
