"""What it costs that a Celery task is a coroutine, beside a plain task that uses `asyncio.run`.

    python -m benchmarks.coroutine_tasks

In each round a worker with one child works off tasks of each kind, which take turns in being
first. They do next to nothing, or ask a server on loopback, with a client of their own or one that
is kept. What counts is the ratio to `asyncio.run` in the same round.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import redis

from benchmarks.figures import Aim, Row, Table, aims, publish
from llm_audit import embedded

PATIENCE_SECONDS = 300
KINDS = {
    "plain": "`def`",
    "in_asyncio_run": "`def`, `asyncio.run`",
    "coroutine": "`async def`, `coroutines=True`",
    "ask_in_asyncio_run": "a request: `def`, `asyncio.run`, its own client",
    "ask_in_coroutine": "a request: `async def`, a client that is kept",
}
BESIDE = dict.fromkeys(("ask_in_asyncio_run", "ask_in_coroutine"), "ask_in_asyncio_run")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# The first tasks run while the worker still starts up: they do not count.
PUBLISH = """
import sys
from benchmarks import async_tasks as tasks
count, *names = sys.argv[1:]
with tasks.app.producer_pool.acquire() as producer:
    for number, name in enumerate([names[0], *names]):
        for _ in range(int(count)):
            getattr(tasks, name).apply_async(producer=producer)
        tasks.mark.apply_async((number,), producer=producer)
"""


class Cost(NamedTuple):
    """What a task took, in microseconds."""

    wall: float
    cpu: float


class Server(asyncio.Protocol):
    """Answers every request, and keeps the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have somebody to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(ANSWER)


@contextmanager
def serving() -> Iterator[str]:
    """Serve until the block is left."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Server, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def work_off(environment: dict[str, str], names: list[str], count: int) -> dict[str, Cost]:
    """Let a worker run tasks of each kind, one kind after the other.

    Args:
        environment: The worker's.
        names: The kinds.
        count: How many of each.
    """
    command = [sys.executable, "-c", PUBLISH, str(count), *names]
    subprocess.run(command, env=environment, check=True)
    command = [
        *(sys.executable, "-m", "celery", "-A", "benchmarks.async_tasks", "worker"),
        *("--pool", "prefork", "--concurrency", "1", "--loglevel", "ERROR"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    worker = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        marks = _wait_for_marks(environment, len(names) + 1)
    finally:
        worker.terminate()
        worker.wait(PATIENCE_SECONDS)
    return {
        name: Cost(*((end - start) * 1e6 / count for start, end in zip(began, ended, strict=True)))
        for name, began, ended in zip(names, marks, marks[1:], strict=False)
    }


def _wait_for_marks(environment: dict[str, str], count: int) -> list[tuple[float, float]]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with redis.from_url(environment["BROKER_URL"]) as broker:
        while broker.hlen(environment["MARKS"]) < count:
            if time.monotonic() > deadline:
                raise TimeoutError("the worker does not come to an end")
            time.sleep(0.05)
        marks = broker.hgetall(environment["MARKS"])
    times = (marks[str(number).encode()].split() for number in range(count))
    return [(float(wall), float(cpu)) for wall, cpu in times]


def compare(rounds: int, count: int, environment: dict[str, str]) -> dict[str, Row]:
    """Return what each kind takes, and its ratio to `asyncio.run` for the same work.

    Args:
        rounds: How many workers.
        count: How many tasks of each kind for each.
        environment: Theirs.
    """
    costs: dict[str, list[Cost]] = defaultdict(list)
    for number in range(rounds):
        names = list(KINDS)
        turned = number % len(names)
        own = {"QUEUE": uuid.uuid4().hex, "MARKS": uuid.uuid4().hex}
        found = work_off(environment | own, names[turned:] + names[:turned], count)
        for name, cost in found.items():
            costs[name].append(cost)
    rows: dict[str, Row] = {}
    for name in KINDS:
        cells = []
        for index in range(2):
            taken = [cost[index] for cost in costs[name]]
            beside = [cost[index] for cost in costs[BESIDE.get(name, "in_asyncio_run")]]
            ratios = [one / other for one, other in zip(taken, beside, strict=True)]
            cells += [f"{statistics.median(taken):,.0f}", f"{statistics.median(ratios):.2f}"]
        rows[name] = tuple(cells)
    return rows


def main() -> None:
    """Start the servers, compare and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=1000)
    arguments = parser.parse_args()
    with (
        embedded.mongod() as mongod,
        embedded.redis_server() as redis_server,
        serving() as server_url,
        tempfile.TemporaryDirectory() as folder,
    ):
        environment = {
            **os.environ,
            "BROKER_URL": redis_server.url,
            "SERVER_URL": server_url,
            "LLM_AUDIT_MONGO_URL": mongod.url,
            "LLM_AUDIT_DATABASE": "benchmark",
            "LLM_AUDIT_SPOOL_DIR": str(Path(folder) / "spool"),
        }
        found = compare(arguments.rounds, arguments.tasks, environment)
    titles = ("a task", "until it is done, µs", "of `asyncio.run`", "CPU, child, µs", "of it")
    rows = [(KINDS[name], *cells) for name, cells in found.items()]
    wanted = [
        Aim("CPU of the child, of `asyncio.run`", float(found["coroutine"][3]), 1.05),
        Aim("the same, with a client that is kept", float(found["ask_in_coroutine"][3]), 1.0),
    ]
    publish("coroutine_tasks", [Table("coroutine tasks", titles, rows), aims(*wanted)])


if __name__ == "__main__":
    main()
