import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, get_args

import pymongo
import pytest
from made_up_calls import CALLS, START, USERS, Call, bound, store
from pymongo.database import Database

from llm_audit import LLMCall, embedded, pipelines
from llm_audit.queries.grouping import GroupBy

PIPELINES = {
    "call_previews": pipelines.call_previews(limit=20),
    "largest_calls": pipelines.largest_calls("latency_ms", 20, model="gpt-4"),
    "calls_by_trace": pipelines.calls_by_trace("trace 3"),
    "trace_tree": pipelines.trace_tree("trace 3"),
    "session_summaries": pipelines.session_summaries(["3", "5"]),
    "trace_summaries": pipelines.trace_summaries(["trace 3", "trace 5"]),
    "task_attempts": pipelines.task_attempts(["task 7", "task 8"]),
    "task_summary": pipelines.task_summary(start_date=START),
    "worker_summary": pipelines.worker_summary(environment="test"),
    "workflow_attempts": pipelines.workflow_attempts("group 2"),
    "session": pipelines.session("3"),
    "workflow": pipelines.workflow("group 2"),
    "calls_by_task": pipelines.calls_by_task("task 7"),
    "search": pipelines.search("HELLO", end_date=START + timedelta(days=1)),
    "tool_arguments": pipelines.tool_arguments("read", 5, start_date=START),
    "tool_usage": pipelines.tool_usage(start_date=START),
    "failure_messages": pipelines.failure_messages(model="gpt-4"),
    "failure_summary": pipelines.failure_summary(model=["gpt-4", "claude"]),
    "failures_over_time": pipelines.failures_over_time("hour", timezone="Asia/Kolkata"),
    "facets": pipelines.facets(provider="openai"),
    "user_summary": pipelines.user_summary("company_id", start_date=START),
    "latency_heatmap": pipelines.latency_heatmap("day", model="gpt-4"),
    "error_messages": pipelines.error_messages([call["_id"] for call in CALLS]),
    "prompt_summary": pipelines.prompt_summary(start_date=START, min_latency_ms=1),
    "cost_summary": pipelines.cost_summary("tag"),
    "usage_over_time": pipelines.usage_over_time("hour", timezone="Asia/Kathmandu"),
    "retry_spend": pipelines.retry_spend(environment="test"),
    "score_summary": pipelines.score_summary("helpful", "day", source="user"),
    "latency_summary": pipelines.latency_summary("day", user_id=USERS[1]),
}


COVERED: dict[str, Callable[..., pipelines.Pipeline]] = {
    "latency of what succeeded": partial(pipelines.latency_summary, status="SUCCESS"),
    "costs of what ended well, by day": partial(
        pipelines.cost_summary, "day", status=["SUCCESS", "CANCELLED"]
    ),
    "failures": pipelines.failure_summary,
    "failures over time": pipelines.failures_over_time,
    "facets": pipelines.facets,
    "users": pipelines.user_summary,
    "latencies over time": pipelines.latency_heatmap,
    "tasks": pipelines.task_summary,
    "usage": partial(pipelines.usage_over_time, "week", timezone="Asia/Tokyo"),
    **{
        f"{summary.__name__} by {group_by}": partial(summary, group_by)
        for summary in (pipelines.cost_summary, pipelines.latency_summary)
        for group_by in get_args(GroupBy)
        if group_by not in {"tag", "session_id", "trace_id"}
    },
}


@pytest.fixture(scope="module")
def made_up(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    """Store the made-up calls once: they are only read."""
    database = mongo_client["test_pipelines"]
    mongo_client.drop_database(database)
    store(database, indexed=True)
    yield database
    mongo_client.drop_database(database)


async def test_every_driver_runs_the_pipelines(
    mongod: embedded.Mongod, made_up: Database[Call]
) -> None:
    """Beanie, PyMongo, PyMongo Async and Motor take the same stages and give the same rows."""
    motor = pytest.importorskip("motor.motor_asyncio")
    guest = motor.AsyncIOMotorClient(mongod.url, tz_aware=True)
    client: pymongo.AsyncMongoClient[Call]
    async with (
        pymongo.AsyncMongoClient(mongod.url, tz_aware=True) as client,
        bound(mongod.url, made_up),
    ):
        for name, stages in PIPELINES.items():
            rows = rounded(list(made_up["llm_calls"].aggregate(stages)))
            cursor = await client[made_up.name]["llm_calls"].aggregate(stages)
            from_motor = guest[made_up.name]["llm_calls"].aggregate(stages).to_list(None)

            assert rows, name
            assert rounded(await cursor.to_list()) == rows, name
            assert rounded(await from_motor) == rows, name
            assert rounded(await LLMCall.aggregate(stages).to_list()) == rows, name
    guest.close()


def rounded(value: Any) -> Any:
    """Return rows without the last digits of their sums, which are added up in any order."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 9) if isinstance(value, float) else value


def test_every_pipeline_is_tested_here() -> None:
    """Whoever adds a pipeline shows that every driver runs it."""
    assert {"Pipeline", *PIPELINES} == set(pipelines.__all__)


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_are_plain_json(name: str) -> None:
    """Their JSON means the same, so it can be pasted into mongosh."""
    assert json.loads(json.dumps(PIPELINES[name])) == PIPELINES[name]


@pytest.mark.parametrize(
    ("pipeline", "index"),
    [
        (pipelines.calls_by_trace("trace 3"), "trace_id_newest"),
        (pipelines.trace_tree("trace 3"), "trace_id_newest"),
        (pipelines.trace_summaries(["trace 3"]), "trace_id_newest"),
        (pipelines.session_summaries(["3"]), "session_id_newest"),
        (pipelines.session(3), "session_id_newest"),
        (pipelines.task_attempts(["task 7"]), "task_id_newest"),
        (pipelines.worker_summary(), "_id_"),
        (pipelines.calls_by_task("task 7"), "task_id_newest"),
        (pipelines.tool_usage(), "tools_called_newest"),
        (pipelines.search("hello"), "_id_"),
        (pipelines.search("hello", user_id=USERS[1]), "user_id_newest"),
        (pipelines.error_messages([CALLS[3]["_id"]]), "_id_"),
    ],
    ids=[
        *("trace", "tree", "traces", "sessions", "session", "attempts", "workers", "task"),
        *("tools", "search", "of a user", "errors"),
    ],
)
def test_pipelines_use_their_index(
    pipeline: pipelines.Pipeline, index: str, made_up: Database[Call]
) -> None:
    """The index that a pipeline's docstring names serves it, the order of time included."""
    sent = {"aggregate": "llm_calls", "pipeline": pipeline, "cursor": {}}
    plan = made_up.command("explain", sent)
    winning = str((plan.get("stages") or [{"$cursor": plan}])[0]["$cursor"]["queryPlanner"])

    assert f"'indexName': '{index}'" in winning
    assert "'stage': 'SORT'" not in winning


def test_a_workflow_merges_its_indexes(made_up: Database[Call]) -> None:
    """Root, group and trace are looked up in an index each; nothing is sorted."""
    sent = {"aggregate": "llm_calls", "pipeline": pipelines.workflow("group 1"), "cursor": {}}
    winning = str(made_up.command("explain", sent)["queryPlanner"]["winningPlan"])

    for field in ("task.root_id", "task.group_id", "trace_id"):
        assert f"'indexName': '{field}_newest'" in winning
    assert "'stage': 'SORT'" not in winning
    assert "COLLSCAN" not in winning


@pytest.mark.parametrize("dates", [{}, {"start_date": START + timedelta(days=1)}], ids=str)
@pytest.mark.parametrize("name", COVERED)
def test_summaries_read_no_call(name: str, dates: dict[str, Any], made_up: Database[Call]) -> None:
    """What is summed up over time comes from an index alone, all of it or between dates."""
    explained = made_up.command(
        "explain",
        {"aggregate": "llm_calls", "pipeline": COVERED[name](**dates), "cursor": {}},
        verbosity="executionStats",
    )
    (executed,) = values_of("executionStats", explained)

    assert executed["totalDocsExamined"] == 0
    assert executed["totalKeysExamined"] > 0


def test_later_attempts_are_looked_up(made_up: Database[Call]) -> None:
    """What retries paid is found without a look at first attempts."""
    sent = {"aggregate": "llm_calls", "pipeline": pipelines.retry_spend(), "cursor": {}}
    explained = str(made_up.command("explain", sent))

    for field in ("task.retries", "task.redelivered"):
        assert f"'indexName': '{field}_newest'" in explained
    assert "COLLSCAN" not in explained


def values_of(name: str, value: Any) -> Iterator[Any]:
    """Yield everything under a name, however deep."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        else:
            for part in value.values():
                yield from values_of(name, part)
    elif isinstance(value, list):
        for part in value:
            yield from values_of(name, part)
