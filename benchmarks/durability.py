"""What awaiting a call costs at each level of durability, beside writes made by hand.

    python -m benchmarks.durability

A call is an awaited start and an awaited complete, one after the other, as often as is asked for.
Every figure is a ratio to something measured in the same run; each is the median of several
rounds, in which the candidates take turns. All wait for write concern majority with the journal.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pymongo

import llm_audit
from benchmarks.figures import Table, publish
from benchmarks.recorders import CONCERN, document, document_bytes, fresh_collection
from benchmarks.sample import ANSWER, REQUEST, USAGE
from llm_audit import LLMLogger, embedded

RecordCall = Callable[[], Awaitable[object]]
Candidate = Callable[[str, Path], AbstractAsyncContextManager[RecordCall]]
WARM_UP_CALLS = 20
OURS = "bench_llm_audit"
BY_HAND = "bench_by_hand"


@asynccontextmanager
async def recorder(durability: str, url: str, folder: Path) -> AsyncIterator[RecordCall]:
    """llm-audit at one level of durability."""
    fresh_collection(url, OURS).database.client.close()
    llm_audit.configure(mongo_url=url, database=OURS, spool_dir=folder, durability=durability)
    recorded = 0

    async def record() -> None:
        nonlocal recorded
        call_id = await LLMLogger.start(call_type="CHAT", **REQUEST)
        await LLMLogger.complete(call_id, response_message=ANSWER, tokens=USAGE)
        recorded += 1

    yield record
    if not llm_audit.shutdown(timeout_seconds=120):
        raise RuntimeError("not everything arrived")
    _check(url, OURS, recorded)


@asynccontextmanager
async def by_hand(url: str, _: Path, *, update: bool) -> AsyncIterator[RecordCall]:
    """insert_one through PyMongo's async client, and update_one for the end of the call."""
    fresh_collection(url, BY_HAND).database.client.close()
    client: pymongo.AsyncMongoClient[dict[str, object]] = pymongo.AsyncMongoClient(url)
    calls = client[BY_HAND].get_collection("llm_calls", write_concern=CONCERN)
    recorded = 0

    async def record() -> None:
        nonlocal recorded
        whole = {**document(), "status": "SUCCESS"}
        outcome = {name: whole.pop(name) for name in ("response_message", *USAGE)} if update else {}
        await calls.insert_one(whole)
        if update:
            await calls.update_one({"_id": whole["_id"]}, {"$set": outcome})
        recorded += 1

    yield record
    await client.close()
    _check(url, BY_HAND, recorded)


CANDIDATES: dict[str, Candidate] = {
    "awaited, `journal`": partial(recorder, "journal"),
    "awaited, `acknowledged`": partial(recorder, "acknowledged"),
    "`insert_one`": partial(by_hand, update=False),
    "`insert_one` + `update_one`": partial(by_hand, update=True),
}


async def measure(url: str, rounds: int, calls: int) -> Table:
    """Return what an awaited call costs, in milliseconds from start to complete."""
    medians, tails = defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for name, candidate in CANDIDATES.items():
            with tempfile.TemporaryDirectory() as folder:
                async with candidate(url, Path(folder)) as record:
                    times = await _times(record, calls)
            medians[name].append(statistics.median(times))
            tails[name].append(times[int(len(times) * 0.99)])
    found = {name: statistics.median(medians[name]) for name in CANDIDATES}
    rows = [
        (
            name,
            f"{median:.2f}",
            f"{statistics.median(tails[name]):.2f}",
            f"{median / found['`insert_one`']:.2f}",
        )
        for name, median in found.items()
    ]
    return Table("awaited", ("", "median ms", "p99 ms", "x `insert_one`"), rows)


async def _times(record: RecordCall, calls: int) -> list[float]:
    """Return what each call took, in milliseconds, the shortest first."""
    for _ in range(WARM_UP_CALLS):
        await record()
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        await record()
        times.append((time.perf_counter() - began) * 1e3)
    return sorted(times)


def _check(url: str, database: str, recorded: int) -> None:
    with pymongo.MongoClient[dict[str, object]](url) as client:
        stored = client[database]["llm_calls"].count_documents({"status": "SUCCESS"})
    if stored != recorded:
        raise RuntimeError(f"{stored} of {recorded} calls arrived: the figures mean nothing")


def main() -> None:
    """Run the measurement and publish it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200, help="calls a round")
    options = parser.parse_args()
    print(f"A call of {document_bytes()} bytes of BSON; {os.cpu_count()} cores, shared with mongod")
    with embedded.mongod() as server:
        publish("durability", [asyncio.run(measure(server.url, options.rounds, options.calls))])


if __name__ == "__main__":
    main()
