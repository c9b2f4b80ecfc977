"""What a worker of Celery holds and takes, whoever ships what its children record."""

import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pymongo
import redis

CHILDREN = 8
PATIENCE_SECONDS = 120.0
IDLE_SECONDS = 10.0
PUBLISH = """
import sys
from benchmarks.agent_tasks import step
for _ in range(int(sys.argv[3])):
    step.delay(sys.argv[1], int(sys.argv[2]))
"""


class Used(NamedTuple):
    """What a child holds and takes, on average; and all together, with the agent if there is one.

    Attributes:
        connections: At the server, of everybody.
        child_connections: To the server, of a child.
        threads: Of a child.
        rss_mib: Of a child.
        pss_mib: Of a child: of what it shares with others, its part.
        first_call_ms: Of the processor, for its first call and to ship that: with what is imported.
        idle_ms: Of the processor, in a second without calls.
        call_us: Of the processor, for each call of many.
        all_idle_ms: Of the processor, in a second without calls, of everybody.
        all_call_us: Of the processor, for each call of many, of everybody.
        all_pss_mib: Of everybody.
    """

    connections: float
    child_connections: float
    threads: float
    rss_mib: float
    pss_mib: float
    first_call_ms: float
    idle_ms: float
    call_us: float
    all_idle_ms: float
    all_call_us: float
    all_pss_mib: float


@contextmanager
def running_agent(environment: Mapping[str, str]) -> Iterator[psutil.Process]:
    """Run an agent until the block is left."""
    spool = Path(environment["LLM_AUDIT_SPOOL_DIR"])
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_audit.cli", "agent"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(lambda: any(spool.glob("*/agent/*.state")), "the agent has not started")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        if process.wait(PATIENCE_SECONDS):
            raise RuntimeError("the agent has not ended well: the figures mean nothing")


@contextmanager
def _worker(environment: Mapping[str, str]) -> Iterator[psutil.Process]:
    command = [
        *(sys.executable, "-m", "celery", "-A", "benchmarks.agent_tasks", "worker"),
        *("--pool", "prefork", "--concurrency", str(CHILDREN), "--loglevel", "ERROR"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "-O", "fair"),
    ]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def measure_worker(
    environment: Mapping[str, str], url: str, calls: int, agent: psutil.Process | None
) -> Used:
    """Measure one worker, from the first call of each child on.

    Args:
        environment: Its settings.
        url: MongoDB's.
        calls: How many calls each child makes.
        agent: Who ships for it, if it does not ship itself.
    """
    ours = {**environment, "QUEUE": uuid.uuid4().hex, "CHILDREN": str(CHILDREN)}
    with (
        pymongo.MongoClient[dict[str, object]](url) as client,
        redis.from_url(ours["BROKER_URL"]) as broker,
    ):
        others = _connections(client) - (_connected(agent, url) if agent else 0)
        with _worker(ours) as main:
            first = _step(broker, ours, "first", 1)
            children = [psutil.Process(pid) for pid in first]
            everybody = [main, *children, *([agent] if agent else [])]
            before_idle = [_cpu_seconds(one) for one in everybody]
            time.sleep(IDLE_SECONDS)
            after_idle = [_cpu_seconds(one) for one in everybody]
            work = _step(broker, ours, "work", calls)
            if work.keys() != first.keys():
                raise RuntimeError("children have been replaced: the figures mean nothing")
            after_work = [_cpu_seconds(one) for one in everybody]
            memory = {one.pid: one.memory_full_info() for one in everybody}
            connections = _connections(client) - others
            connected = [_connected(one, url) for one in children]
            threads = [one.num_threads() for one in children]
    idle = [
        (after - before) / IDLE_SECONDS * 1e3
        for before, after in zip(before_idle, after_idle, strict=True)
    ]
    all_work = sum(after_work) - sum(after_idle)
    of_children = [memory[one.pid] for one in children]
    return Used(
        connections=connections,
        child_connections=statistics.mean(connected),
        threads=statistics.mean(threads),
        rss_mib=statistics.mean(found.rss for found in of_children) / 2**20,
        pss_mib=statistics.mean(found.pss for found in of_children) / 2**20,
        first_call_ms=statistics.mean(first.values()) * 1e3,
        idle_ms=statistics.mean(idle[1 : 1 + CHILDREN]),
        call_us=statistics.mean(work.values()) / calls * 1e6,
        all_idle_ms=sum(idle),
        all_call_us=all_work / calls / CHILDREN * 1e6,
        all_pss_mib=sum(found.pss for found in memory.values()) / 2**20,
    )


def _step(
    broker: redis.Redis, environment: Mapping[str, str], name: str, calls: int
) -> dict[int, float]:
    """Have each child record some calls; return the CPU seconds of each, by pid."""
    command = [sys.executable, "-c", PUBLISH, name, str(calls), str(CHILDREN)]
    subprocess.run(command, env=environment, check=True)
    queue = f"{environment['QUEUE']} {name}"
    _until(lambda: broker.llen(queue) == CHILDREN, f"the worker has not done its step {name}")
    said = [json.loads(line) for line in broker.lrange(queue, 0, -1)]
    return {one["pid"]: one["cpu_seconds"] for one in said}


def _until(condition: Callable[[], bool], instead: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(instead)
        time.sleep(0.05)


def _connections(client: pymongo.MongoClient[dict[str, object]]) -> int:
    return int(client.admin.command("serverStatus")["connections"]["current"])


def _connected(process: psutil.Process, url: str) -> int:
    """Count the connections of a process to the server."""
    port = pymongo.uri_parser.parse_uri(url)["nodelist"][0][1]
    there = process.net_connections("tcp")
    return sum(bool(one.raddr) and one.raddr.port == port for one in there)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
