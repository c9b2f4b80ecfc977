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
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pymongo
from pymongo.collection import Collection

from benchmarks.figures import Aim, Table, aims, publish
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
from llm_audit.queries.filters import condition
from llm_audit.store.ensure import ensure
from llm_audit.store.indexes import call_indexes

Calls = Collection[dict[str, Any]]
ROUNDS = 7
BATCH = 1_000
PAGE = 100
AIMS_MS = (10, 10, 100, 2_000, None)  # for the parts, in their order


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
    ensure(calls.database, calls.name, [])
    documents = history(count, now, bodies)
    while batch := list(islice(documents, BATCH)):
        calls.insert_many(batch, ordered=False)
    ensure(calls.database, calls.name, call_indexes())


class Questions:
    """What is asked of a collection; ids are those of calls in it, others each time.

    Args:
        calls: The collection.
        now: When its newest call was made.
    """

    def __init__(self, calls: Calls, now: datetime) -> None:
        self._name = calls.name
        self._now = now
        self._lot = random.Random(1)  # noqa: S311  (the same questions in every run)
        in_tasks = {"$match": {"task_id": {"$exists": True}}}
        self._some = list(calls.aggregate([in_tasks, {"$sample": {"size": 500}}]))

    def parts(self) -> Iterator[tuple[str, list[Question]]]:
        """Yield all of them, by part of the table."""
        yield "one, and what belongs together", self._together()
        yield f"the newest {PAGE} with a filter", self._pages()
        yield "summaries, last day", self._summaries(timedelta(days=1))
        yield f"summaries, {DAYS} days", self._summaries(timedelta(days=DAYS))
        yield "others", self._others()

    def _together(self) -> list[Question]:
        value = self._value
        by_id = {"find": self._name, "limit": 1}
        asked: dict[str, Callable[[], pipelines.Pipeline]] = {
            "trace": lambda: pipelines.calls_by_trace(value("trace_id")),
            "trace tree": lambda: pipelines.trace_tree(value("trace_id")),
            "tree of 5,000 calls": lambda: pipelines.trace_tree("0" * 32),
            "session": lambda: pipelines.session(value("session_id")),
            "task": lambda: pipelines.calls_by_task(value("task_id")),
            "workflow": lambda: pipelines.workflow(value("task")["root_id"]),
        }
        return [
            Question("call by id", lambda: {**by_id, "filter": {"_id": value("_id")}}),
            *(Question(name, self._aggregate(ask)) for name, ask in asked.items()),
        ]

    def _pages(self) -> list[Question]:
        value, any_of = self._value, self._lot.choice
        end = self._now - timedelta(days=40)
        filters: dict[str, dict[str, Any]] = {
            "none": {},
            "a day": {"start_date": end - timedelta(days=1), "end_date": end},
            "trace": {"trace_id": lambda: value("trace_id")},
            "session": {"session_id": lambda: value("session_id")},
            "user": {"user_id": lambda: value("user_id")},
            "company": {"company_id": lambda: any_of(COMPANIES)},
            "task name": {"task_name": lambda: value("task")["name"]},
            "model": {"model": lambda: any_of(MODELS)},
            "status ERROR": {"status": "ERROR"},
            "all failures": {"status": ["ERROR", "TIMEOUT", "ABANDONED"]},
            "status SUCCESS": {"status": "SUCCESS"},
            "status PENDING": {"status": "PENDING"},
            "tag": {"tags": lambda: any_of(TAGS)},
            "tool": {"tool": lambda: any_of(TOOLS)},
            "user and status": {"user_id": lambda: value("user_id"), "status": "SUCCESS"},
            "company and model": {"company_id": COMPANIES[3], "model": MODELS[3]},
            "provider": {"provider": "openai"},
            "call type": {"call_type": "CHAT"},
            "environment": {"environment": "staging"},
            "service": {"service": "service-1"},
            "service nobody has": {"service": "none"},
        }
        return [Question(name, self._page(given)) for name, given in filters.items()]

    def _summaries(self, span: timedelta) -> list[Question]:
        start = self._now - span
        return [
            Question(name, self._aggregate(partial(ask, start_date=start)))
            for name, ask in SUMMARIES.items()
        ]

    def _others(self) -> list[Question]:
        start = self._now - timedelta(days=DAYS)
        of_company = partial(pipelines.cost_summary, start_date=start, company_id=COMPANIES[3])
        yesterday = self._now - timedelta(days=1)
        search = partial(pipelines.search, "nobody says this", start_date=yesterday)
        return [
            Question("costs of a company by model, 90 days", self._aggregate(of_company)),
            Question("search, last day", self._aggregate(search)),
        ]

    def _value(self, field: str) -> Any:
        return self._lot.choice(self._some)[field]

    def _page(self, filters: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        def command() -> dict[str, Any]:
            given = {name: one() if callable(one) else one for name, one in filters.items()}
            wanted = condition(given)
            return {"find": self._name, "filter": wanted, "sort": {"_id": -1}, "limit": PAGE}

        return command

    def _aggregate(self, ask: Callable[[], pipelines.Pipeline]) -> Callable[[], dict[str, Any]]:
        return lambda: {"aggregate": self._name, "pipeline": ask(), "cursor": {}}


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


def answers(calls: Calls, questions: Questions) -> Iterator[Table]:
    """Yield how long each question took and what was examined for it, by part; then the aims."""
    wanted = []
    for (part, asked), aim_ms in zip(questions.parts(), AIMS_MS, strict=True):
        rows, slowest = [], (0.0, "")
        for question in asked:
            took = statistics.median(ask(calls, question.command()) for _ in range(ROUNDS))
            plan = explain(calls, question.command())
            examined = [f"{count:,}" for count in (plan.keys, plan.documents, plan.returned)]
            rows.append((question.name, f"{took:,.1f}", *examined, plan.indexes))
            slowest = max(slowest, (took, question.name))
        yield Table(part, ("", "ms", "keys", "documents", "returned", "index"), rows)
        if aim_ms is not None:
            wanted.append(Aim(f"{part}: the slowest ({slowest[1]}), ms", slowest[0], aim_ms))
    yield aims(*wanted)


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
    """Fill, ask, publish."""
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
        publish("queries", answers(calls, Questions(calls, now)))


if __name__ == "__main__":
    main()
