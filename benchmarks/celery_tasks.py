"""What the hooks cost a Celery task that makes no call.

    python -m benchmarks.celery_tasks

A worker with one child or one thread works off a queue of tasks that do nothing, with the hooks and
without. The candidates take turns; what counts is the ratio of the tasks per second, and of the
processor's time per task in the main process and in the child.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import psutil
import redis

from benchmarks.figures import Aim, Row, Table, aims, publish
from llm_audit import embedded

POOLS = ("prefork", "threads")
PATIENCE_SECONDS = 120


class Run(NamedTuple):
    """What a worker needed for each task, in microseconds."""

    wall: float
    main_cpu: float
    child_cpu: float


def work_off(environment: dict[str, str], pool: str, count: int, broker: redis.Redis) -> Run:
    """Let a worker run a queue of empty tasks.

    Args:
        environment: The worker's.
        pool: Its pool.
        count: How many tasks, between the marks before and after them.
        broker: Where the queue is.
    """
    marks = environment["MARKS"]
    subprocess.run(
        [sys.executable, "-c", PUBLISH, str(count)], env=environment | {"HOOKS": ""}, check=True
    )
    command = [
        *(sys.executable, "-m", "celery", "-A", "benchmarks.empty_tasks", "worker"),
        *("--pool", pool, "--concurrency", "1", "--loglevel", "ERROR"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    worker = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        main = psutil.Process(worker.pid)
        began, child_began = _wait_for_mark(broker, marks, "began")
        main_began = _cpu_seconds(main)
        ended, child_ended = _wait_for_mark(broker, marks, "ended")
        main_ended = _cpu_seconds(main)
    finally:
        worker.terminate()
        worker.wait(PATIENCE_SECONDS)
        broker.delete(marks)
    per_task = 1e6 / count
    return Run(
        (ended - began) * per_task,
        (main_ended - main_began) * per_task,
        (child_ended - child_began) * per_task,
    )


# The first tasks run while the worker still starts up, its connections and ours: they do not count.
PUBLISH = """
import sys
from benchmarks.empty_tasks import app, mark, nothing
with app.producer_pool.acquire() as producer:
    for mark_name in ("began", "ended"):
        for _ in range(int(sys.argv[1])):
            nothing.apply_async(producer=producer)
        mark.apply_async((mark_name,), producer=producer)
"""


def _wait_for_mark(broker: redis.Redis, marks: str, name: str) -> tuple[float, float]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := broker.hget(marks, name)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker has not come to the task {name}")
        time.sleep(0.01)
    wall, cpu = found.split()
    return float(wall), float(cpu)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def compare(pool: str, rounds: int, count: int, environment: dict[str, str]) -> dict[str, Row]:
    """Return what a task costs without the hooks and with them, by what it costs."""
    runs = defaultdict(list)
    with redis.from_url(environment["BROKER_URL"]) as broker:
        for number in range(rounds):
            order = ("", "1") if number % 2 else ("1", "")
            for hooks in order:
                names = {"QUEUE": uuid.uuid4().hex, "MARKS": uuid.uuid4().hex}
                ours = {**environment, **names, "HOOKS": hooks}
                runs[hooks].append(work_off(ours, pool, count, broker))
    found: dict[str, Row] = {}
    for index, name in enumerate(("until it is done", "CPU, main process", "CPU, child")):
        if pool == "threads" and index == 1:
            continue  # one process: the mark has it
        bare, hooked = ([run[index] for run in runs[hooks]] for hooks in ("", "1"))
        low, ratio, high = statistics.quantiles(
            (after / before for before, after in zip(bare, hooked, strict=True)), n=4
        )
        medians = [f"{statistics.median(times):,.0f}" for times in (bare, hooked)]
        found[f"{pool}, {name}"] = (*medians, f"{ratio:.2f}", f"{low:.2f} to {high:.2f}")
    return found


def main() -> None:
    """Start the servers, compare and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tasks", type=int, default=5000)
    arguments = parser.parse_args()
    with (
        embedded.mongod() as mongod,
        embedded.redis_server() as redis_server,
        tempfile.TemporaryDirectory() as folder,
    ):
        environment = {
            **os.environ,
            "BROKER_URL": redis_server.url,
            "LLM_AUDIT_MONGO_URL": mongod.url,
            "LLM_AUDIT_DATABASE": "benchmark",
            "LLM_AUDIT_SPOOL_DIR": str(Path(folder) / "spool"),
        }
        found: dict[str, Row] = {}
        for pool in POOLS:
            found |= compare(pool, arguments.rounds, arguments.tasks, environment)
    titles = ("", "bare, µs", "with hooks, µs", "ratio", "half of the rounds")
    ratios = [
        Aim(f"{pool}, until it is done, ratio", float(found[f"{pool}, until it is done"][2]), 1.02)
        for pool in POOLS
    ]
    rows = [(name, *cells) for name, cells in found.items()]
    publish("celery_tasks", [Table("empty task", titles, rows), aims(*ratios)])


if __name__ == "__main__":
    main()
