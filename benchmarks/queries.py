"""How fast the queries are on a million calls, what each examines, and which index serves it.

    python -m benchmarks.queries [--calls 1000000]

A mongod of its own, large enough to hold everything in its cache, is filled with `history.py`. Each
query is asked several times, with other arguments each time where it takes an id; printed are the
median time until the last row is there, and from `explain` of the last one the keys and documents
examined, the documents returned, and the indexes.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pymongo
from pymongo.collection import Collection

from benchmarks.history import (
    CALLS_PER_TRACE,
    COMPANIES,
    DAYS,
    MODELS,
    TAGS,
    TOOLS,
    described,
    history,
    recorded_bodies,
)
from llm_audit import embedded, pipelines
from llm_audit.indexes import STORAGE_ENGINE, call_indexes
from llm_audit.queries.filters import condition

Calls = Collection[dict[str, Any]]
ROUNDS = 7
BATCH = 1_000
PAGE = 100


class LargeMongod(embedded.Mongod):
    """One whose cache holds everything."""

    cache_gb = 8

    def _command(self, data: Path) -> list[str]:
        command = super()._command(data)
        command[command.index("--wiredTigerCacheSizeGB") + 1] = str(self.cache_gb)
        return command


@dataclass(frozen=True)
class Question:
    """A query under its name; its arguments may be others each time it is asked."""

    name: str
    command: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What one execution did."""

    keys: int
    documents: int
    returned: int
    indexes: str


def fill(calls: Calls, count: int, now: datetime, bodies: list[dict[str, Any]]) -> None:
    """Insert the calls, then build the indexes, as a restore does."""
    calls.database.create_collection(calls.name, storageEngine=STORAGE_ENGINE)
    documents = history(count, now, bodies)
    while batch := list(islice(documents, BATCH)):
        calls.insert_many(batch, ordered=False)
    calls.create_indexes(call_indexes())


def questions(calls: Calls, now: datetime) -> Iterator[tuple[str, list[Question]]]:
    """Yield all questions, by part of the table."""
    lot = random.Random(1)  # noqa: S311  (the same questions in every run)
    some = list(
        calls.aggregate([{"$match": {"task_id": {"$exists": True}}}, {"$sample": {"size": 500}}])
    )

    def value(field: str) -> Any:
        return lot.choice(some)[field]

    def find(**filters: Any) -> Callable[[], dict[str, Any]]:
        def command() -> dict[str, Any]:
            given = {name: v() if callable(v) else v for name, v in filters.items()}
            return {
                "find": calls.name,
                "filter": condition(given),
                "sort": {"_id": -1},
                "limit": PAGE,
            }

        return command

    def aggregate(ask: Callable[[], pipelines.Pipeline]) -> Callable[[], dict[str, Any]]:
        return lambda: {"aggregate": calls.name, "pipeline": ask(), "cursor": {}}

    one = {"find": calls.name, "limit": 1}
    yield (
        "one, and what belongs together",
        [
            Question("call by id", lambda: {**one, "filter": {"_id": value("_id")}}),
            Question("trace", aggregate(lambda: pipelines.calls_by_trace(value("trace_id")))),
            Question("trace tree", aggregate(lambda: pipelines.trace_tree(value("trace_id")))),
            Question("tree of 5,000 calls", aggregate(lambda: pipelines.trace_tree("0" * 32))),
            Question("session", aggregate(lambda: pipelines.session(value("session_id")))),
            Question("task", aggregate(lambda: pipelines.calls_by_task(value("task_id")))),
            Question("workflow", aggregate(lambda: pipelines.workflow(value("task")["root_id"]))),
        ],
    )
    filters: dict[str, dict[str, Any]] = {
        "none": {},
        "a day": {"start_date": now - timedelta(days=41), "end_date": now - timedelta(days=40)},
        "trace": {"trace_id": lambda: value("trace_id")},
        "session": {"session_id": lambda: value("session_id")},
        "user": {"user_id": lambda: value("user_id")},
        "company": {"company_id": lambda: lot.choice(COMPANIES)},
        "task name": {"task_name": lambda: value("task")["name"]},
        "model": {"model": lambda: lot.choice(MODELS)},
        "status ERROR": {"status": "ERROR"},
        "all failures": {"status": ["ERROR", "TIMEOUT", "ABANDONED"]},
        "status SUCCESS": {"status": "SUCCESS"},
        "status PENDING": {"status": "PENDING"},
        "tag": {"tags": lambda: lot.choice(TAGS)},
        "tool": {"tool": lambda: lot.choice(TOOLS)},
        "user and status": {"user_id": lambda: value("user_id"), "status": "SUCCESS"},
        "company and model": {"company_id": COMPANIES[3], "model": MODELS[3]},
        "provider": {"provider": "openai"},
        "call type": {"call_type": "CHAT"},
        "environment": {"environment": "staging"},
        "service": {"service": "service-1"},
        "service nobody has": {"service": "none"},
    }
    yield (
        f"the newest {PAGE} with a filter",
        [Question(name, find(**given)) for name, given in filters.items()],
    )
    for title, since in (("last day", timedelta(days=1)), (f"{DAYS} days", timedelta(days=DAYS))):
        yield (
            f"summaries, {title}",
            [
                Question(name, aggregate(lambda ask=ask, since=since: ask(start_date=now - since)))
                for name, ask in SUMMARIES.items()
            ],
        )
    recent = now - timedelta(days=1)
    yield (
        "others",
        [
            Question(
                "costs of a company by model, 90 days",
                aggregate(
                    lambda: pipelines.cost_summary(
                        start_date=now - timedelta(days=DAYS), company_id=COMPANIES[3]
                    )
                ),
            ),
            Question(
                "search, last day",
                aggregate(lambda: pipelines.search("nobody says this", start_date=recent)),
            ),
        ],
    )


SUMMARIES: dict[str, Callable[..., pipelines.Pipeline]] = {
    "failures": pipelines.failure_summary,
    "tools": pipelines.tool_usage,
    "costs by model": pipelines.cost_summary,
    "costs by user": lambda **dates: pipelines.cost_summary("user_id", **dates),
    "costs by day": lambda **dates: pipelines.cost_summary("day", **dates),
    "costs by day in Paris": lambda **dates: pipelines.cost_summary(
        "day", timezone="Europe/Paris", **dates
    ),
    "costs by tag": lambda **dates: pipelines.cost_summary("tag", **dates),
    "latency by model": pipelines.latency_summary,
    "latency by day": lambda **dates: pipelines.latency_summary("day", **dates),
    "usage over time": pipelines.usage_over_time,
    "retries": pipelines.retry_spend,
}


def ask(calls: Calls, command: dict[str, Any]) -> float:
    """Return how many milliseconds it took until the last row was there."""
    began = time.perf_counter()
    if "find" in command:
        cursor = calls.find(command["filter"]).limit(command["limit"])
        rows = list(cursor.sort(command["sort"]) if "sort" in command else cursor)
    else:
        rows = list(calls.aggregate(command["pipeline"]))
    del rows
    return (time.perf_counter() - began) * 1_000


def explain(calls: Calls, command: dict[str, Any]) -> Plan:
    """Return what one execution of a query examines."""
    explained = calls.database.command("explain", command, verbosity="executionStats")
    executed = next(_under("executionStats", explained))
    indexes = sorted(set(_under("indexName", next(_under("winningPlan", explained)))))
    return Plan(
        executed["totalKeysExamined"],
        executed["totalDocsExamined"],
        executed["nReturned"],
        ", ".join(indexes) or "none",
    )


def _under(name: str, value: Any) -> Iterator[Any]:
    """Yield what stands under a name, on the way down."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for part in value.values():
            yield from _under(name, part)
    elif isinstance(value, list):
        for part in value:
            yield from _under(name, part)


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    count = parser.parse_args().calls
    now = datetime.now(UTC)
    with LargeMongod() as server, pymongo.MongoClient(server.url) as client:
        bodies = recorded_bodies(server.url)
        calls: Calls = client["bench"]["llm_calls"]
        began = time.perf_counter()
        fill(calls, count, now, bodies)
        size = client["bench"].command("collStats", calls.name, scale=1 << 20)
        print(f"{described(bodies)}; {count:,} calls, {count // CALLS_PER_TRACE:,} traces")
        print(
            f"filled in {time.perf_counter() - began:,.0f} s; {size['avgObjSize']:,} bytes a call; "
            f"{size['size']:,} MiB, on disk {size['storageSize']:,}; "
            f"indexes {sum(size['indexSizes'].values()):,} MiB"
        )
        for part, asked in questions(calls, now):
            print(f"\n| {part} | ms | keys | documents | returned | index |")
            print("| --- | --- | --- | --- | --- | --- |")
            for question in asked:
                times = [ask(calls, question.command()) for _ in range(ROUNDS)]
                plan = explain(calls, question.command())
                print(
                    f"| {question.name} | {statistics.median(times):,.1f} | {plan.keys:,} | "
                    f"{plan.documents:,} | {plan.returned:,} | {plan.indexes} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
