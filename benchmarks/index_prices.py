"""What each index costs a write, alone and all together, beside `_id` alone.

    python -m benchmarks.index_prices [--calls 20000] [--rounds 9]

Calls of `history.py` go into an empty collection by `insert_many` in batches of 500, as the shipper
sends them: with zstd, write concern majority and the journal, on a replica set of one. The sets of
indexes take turns; printed is the fastest of several rounds, as what else the machine and its disk
do is no price of an index, in microseconds a call: until all was acknowledged, and of CPU in the
server's thread for the connection.
"""

import argparse
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel
from pymongo.database import Database

from benchmarks.figures import Aim, Table, aims, publish
from benchmarks.history import history, recorded_bodies
from benchmarks.queries import LargeMongod
from benchmarks.recorders import CONCERN
from llm_audit.store.ensure import ensure
from llm_audit.store.indexes import call_indexes

BATCH = 500
ALONE = "`_id` alone"
ALL = "all of them"


def cpu_seconds(pid: int) -> float:
    """Return how long the threads for connections have run (Linux)."""
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        if (thread / "comm").read_text().startswith("conn"):
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def insert(
    database: Database[Any], indexes: list[IndexModel], calls: list[RawBSONDocument], pid: int
) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that it takes to insert everything."""
    database.drop_collection("calls")
    ensure(database, "calls", indexes)
    collection = database.get_collection("calls", write_concern=CONCERN)
    began, cpu_before = time.perf_counter(), cpu_seconds(pid)
    for first in range(0, len(calls), BATCH):
        collection.insert_many(calls[first : first + BATCH], ordered=False)
    return time.perf_counter() - began, cpu_seconds(pid) - cpu_before


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    # the last is only there if a setting asks for it, and no part of all
    indexes = {index.document["name"]: [index] for index in call_indexes(text=True)}
    sets = {ALONE: [], ALL: call_indexes(), **indexes}
    measured = defaultdict(list)
    with LargeMongod(replica_set=True) as server, pymongo.MongoClient(server.url) as client:
        bodies = recorded_bodies(server.url)
        calls = list(history(options.calls, datetime.now(UTC), bodies))
        for round_number in range(options.rounds + 1):
            for name, chosen in sets.items():
                taken = insert(client["bench"], chosen, calls, server.pid or 0)
                if round_number:  # the first warms up
                    measured[name].append([part / options.calls * 1e6 for part in taken])
    fastest = {
        name: [min(part) for part in zip(*taken, strict=True)] for name, taken in measured.items()
    }
    titles = ("", "µs a call until acknowledged", "x `_id` alone", "server's CPU, µs")
    alone, every = fastest[ALONE][0], fastest[ALL][0]
    rows = [
        (name, f"{wall:.1f}", f"{wall / alone:.2f}", f"{cpu:.1f}")
        for name, (wall, cpu) in fastest.items()
    ]
    of_all = aims(Aim("all of them, x `_id` alone", every / alone, 1.6))
    publish("index_prices", [Table("what they cost a write", titles, rows), of_all])


if __name__ == "__main__":
    main()
