"""How fast the viewer is on a million calls, and how much it sends.

    python -m benchmarks.viewer [--calls 1000000] [--rounds 7]

A mongod of its own, large enough to hold everything in its cache, is filled with `history.py`, and
`llm-audit ui` serves it from another process. Every page and every part is asked for in turn, with
the time that it opens with and with 90 days; printed are medians of the rounds: milliseconds until
the first byte of the page is there, and until all of it is; milliseconds of the processor for it,
of the viewer and of mongod, which a busy machine changes little; bytes as they are and as they are
sent; elements; and how often MongoDB was asked.
"""

import argparse
import gzip
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pymongo

from benchmarks.figures import Aim, Table, aims, publish
from benchmarks.history import CALLS_PER_TRACE, described, recorded_bodies
from benchmarks.queries import Calls, LargeMongod, fill
from benchmarks.viewer_pages import Address, addresses
from llm_audit.web.assets import asset_name

DATABASE = "viewer"
LONGEST_SPAN = "90d"
LONG_MS = 10_000  # what takes longer is asked for once
IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
SERVER = """
import sys, uvicorn, pymongo.monitoring, llm_audit
from llm_audit.web import create_app

class Asked(pymongo.monitoring.CommandListener):
    count = 0
    def started(self, event): self.count += event.command_name in ("aggregate", "find", "count")
    def succeeded(self, event): pass
    failed = succeeded

asked = Asked()
pymongo.monitoring.register(asked)
llm_audit.configure(mongo_url=sys.argv[2], database=sys.argv[3])
viewer = create_app()

async def app(scope, receive, send):
    before = asked.count
    async def counting(message):
        if message["type"] == "http.response.start":
            message["headers"].append((b"x-asked", str(asked.count - before).encode()))
        await send(message)
    await viewer(scope, receive, counting)

uvicorn.run(app, port=int(sys.argv[1]), lifespan="off", log_level="warning", timeout_keep_alive=600)
"""


@dataclass(frozen=True)
class Answer:
    """What came back once."""

    first_ms: float
    whole_ms: float
    body: bytes
    queries: int
    status: int
    is_html: bool


@dataclass(frozen=True)
class Measured:
    """A page with one stretch of time."""

    address: Address
    since: str | None
    first_ms: float
    whole_ms: float
    cpu_ms: float
    size: int
    sent: int
    nodes: int
    queries: int
    is_html: bool


class Viewer:
    """A viewer that is served, and asked over one connection.

    Args:
        port: On 127.0.0.1.
        processes: That work for it, by their ids.
    """

    def __init__(self, port: int, processes: Sequence[int]) -> None:
        self._processes = processes
        self.connection = HTTPConnection("127.0.0.1", port, timeout=120)

    def cpu_ms(self) -> float:
        """Return how long processors have worked for it so far; where there is no /proc, 0."""
        ticks = 0
        for process in self._processes:
            stat = Path(f"/proc/{process}/stat")
            fields = stat.read_text().rpartition(")")[2].split() if stat.exists() else ["0"] * 13
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK") * 1_000

    def get(self, path: str) -> Answer:
        """Ask for something."""
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"accept-encoding": "identity"})
        answer = self.connection.getresponse()
        body = answer.read(1)
        first = time.perf_counter()
        body += answer.read()
        whole = time.perf_counter()
        return Answer(
            (first - began) * 1_000,
            (whole - began) * 1_000,
            body,
            int(answer.headers.get("x-asked", 0)),
            answer.status,
            answer.headers.get_content_type() == "text/html",
        )


@contextmanager
def served(url: str, database: str = DATABASE) -> Iterator[Viewer]:
    """Serve the viewer from a process of its own.

    Args:
        url: Of the mongod.
        database: In it.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, str(port), url, database]
    with subprocess.Popen(command) as process:
        try:
            with pymongo.MongoClient(url) as client:
                mongod = client.admin.command("serverStatus")["pid"]
            viewer = Viewer(port, (process.pid, mongod))
            _wait_for(viewer)
            yield viewer
        finally:
            process.terminate()


def measured(viewer: Viewer, asked: Sequence[Address], rounds: int) -> Iterator[Measured]:
    """Yield what each page took.

    Args:
        viewer: To ask.
        asked: The pages.
        rounds: How often each is asked for.
    """
    for address in asked:
        for since in (None, LONGEST_SPAN) if address.has_time else (None,):
            before = viewer.cpu_ms()
            answers: list[Answer] = []
            while len(answers) < rounds and (not answers or answers[-1].whole_ms < LONG_MS):
                answers.append(viewer.get(address.of(since)))
            cpu_ms = (viewer.cpu_ms() - before) / len(answers)
            last = answers[-1]
            if last.status not in (200, 303):
                print(f"{address.of(since)}: {last.status}", file=sys.stderr)
            yield Measured(
                address,
                since,
                statistics.median(answer.first_ms for answer in answers),
                statistics.median(answer.whole_ms for answer in answers),
                cpu_ms,
                len(last.body),
                len(gzip.compress(last.body, 5)),
                len(re.findall(rb"<[a-z]", last.body)) if last.is_html else 0,
                max(answer.queries for answer in answers),
                last.is_html,
            )


def tables(viewer: Viewer, asked: Sequence[Address], rounds: int) -> Iterator[Table]:
    """Yield the figures of all pages, then what was aimed at."""
    rows = []
    known = list(measured(viewer, asked, rounds))
    for one in known:
        usual = "" if not one.address.has_time else one.since or "as it opens"
        times = (f"{one.first_ms:,.0f}", f"{one.whole_ms:,.0f}", f"{one.cpu_ms:,.0f}")
        sizes = (f"{one.size / 1_000:,.1f}", f"{one.sent / 1_000:,.1f}", f"{one.nodes:,}")
        rows.append((one.address.name, usual, *times, *sizes, str(one.queries)))
    titles = ("page", "time", "first byte, ms", "whole, ms", "CPU, ms")
    titles += ("KB", "KB sent", "elements", "queries")
    yield Table("pages", titles, rows)
    pages = [one for one in known if one.is_html and not one.address.path.startswith("/part/")]
    opened = [one for one in pages if one.since is None]
    slowest = max(opened, key=lambda one: one.first_ms)
    largest = max(known, key=lambda one: one.sent if one.is_html else 0)
    scripts = sum(_sent(viewer, name) for name in ("htmx-4.0.1.min.js", "viewer.js"))
    yield aims(
        Aim(f"first byte of the slowest page ({slowest.address.name}), ms", slowest.first_ms, 300),
        Aim(f"the largest page ({largest.address.name}), KB sent", largest.sent / 1_000, 40),
        Aim("elements of a page", max(one.nodes for one in known), 10_000),
        Aim("queries before the first byte of a page", max(one.queries for one in pages), 3),
        Aim("scripts, KB sent", scripts, 24),
        Aim("style, KB sent", _sent(viewer, "style.css"), 12),
    )


def pages_of(calls: Calls) -> list[Address]:
    """Return what is asked for, and give the call that is shown an image to be shown, too."""
    wanted = {"task_id": {"$exists": True}, "task.root_id": {"$exists": True}}
    call, other = calls.find({**wanted, "trace_id": {"$ne": "0" * 32}}).sort("_id", -1).limit(2)
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    calls.update_one({"_id": call["_id"]}, {"$push": {"messages": _said(image)}})
    found = addresses(call, other, text="says no", sha256=sha256(IMAGE.encode()).hexdigest())
    largest = Address("/trace", {"id": "0" * 32}, has_time=False, what="of 5,000 calls")
    unknown = Address(
        "/search", {"q": "nobody says this"}, has_time=False, what="of what nobody says"
    )
    part = Address(
        "/part/search/found", {"q": "nobody says this"}, has_time=True, what="of what nobody says"
    )
    return [*found, largest, unknown, part]


def _said(part: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [part]}


def _sent(viewer: Viewer, name: str) -> float:
    """Return how many kilobytes of a file are sent."""
    body = viewer.get(f"/static/{asset_name(name)}").body
    return len(gzip.compress(body, 5)) / 1_000


def _wait_for(viewer: Viewer) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            viewer.get("/health")
        except OSError:
            viewer.connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def main() -> None:
    """Fill, ask, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with LargeMongod() as server, pymongo.MongoClient(server.url, tz_aware=True) as client:
        bodies = recorded_bodies(server.url)
        calls: Calls = client[DATABASE]["llm_calls"]
        began = time.perf_counter()
        fill(calls, given.calls, datetime.now(UTC), bodies)
        print(
            f"{described(bodies)}; {given.calls:,} calls, {given.calls // CALLS_PER_TRACE:,} traces"
        )
        print(f"filled in {time.perf_counter() - began:,.0f} s")
        with served(server.url) as viewer:
            publish("viewer", tables(viewer, pages_of(calls), given.rounds))


if __name__ == "__main__":
    main()
