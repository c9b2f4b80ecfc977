from datetime import timedelta

import pymongo
import pytest
from made_up_calls import START, USERS, Call, store
from pymongo.database import Database

from llm_audit import embedded, pipelines

PIPELINES = {
    "calls_by_trace": pipelines.calls_by_trace("trace 3"),
    "trace_tree": pipelines.trace_tree("trace 3"),
    "session": pipelines.session("3"),
    "calls_by_task": pipelines.calls_by_task("task 7"),
    "tool_usage": pipelines.tool_usage(start_date=START),
    "failure_summary": pipelines.failure_summary(model=["gpt-4", "claude"]),
    "cost_summary": pipelines.cost_summary("tag"),
    "latency_summary": pipelines.latency_summary("day", user_id=USERS[1]),
}


@pytest.mark.parametrize("name", PIPELINES)
async def test_every_driver_runs_the_pipelines(
    name: str, mongod: embedded.Mongod, database: Database[Call]
) -> None:
    """PyMongo, PyMongo Async and Motor take the stages as they are and give the same rows."""
    motor = pytest.importorskip("motor.motor_asyncio")
    stages = PIPELINES[name]
    store(database)
    rows = list(database["llm_calls"].aggregate(stages))
    client: pymongo.AsyncMongoClient[Call]
    async with pymongo.AsyncMongoClient(mongod.url, tz_aware=True) as client:
        cursor = await client[database.name]["llm_calls"].aggregate(stages)
        from_async = await cursor.to_list()
    guest = motor.AsyncIOMotorClient(mongod.url, tz_aware=True)
    from_motor = await guest[database.name]["llm_calls"].aggregate(stages).to_list(None)
    guest.close()

    assert rows
    assert from_async == rows
    assert from_motor == rows


@pytest.mark.parametrize(
    ("pipeline", "index"),
    [
        (pipelines.calls_by_trace("trace 3"), "trace_id_newest"),
        (pipelines.trace_tree("trace 3"), "trace_id_newest"),
        (pipelines.session(3), "session_id_newest"),
        (pipelines.calls_by_task("task 7"), "task_id_newest"),
        (pipelines.tool_usage(), "tools_called_newest"),
        (pipelines.cost_summary(start_date=START + timedelta(days=1)), "_id_"),
    ],
    ids=["trace", "tree", "session", "task", "tools", "dates"],
)
def test_pipelines_use_their_index(
    pipeline: pipelines.Pipeline, index: str, database: Database[Call]
) -> None:
    """The index that a pipeline's docstring names serves it, the order of time included."""
    store(database)
    sent = {"aggregate": "llm_calls", "pipeline": pipeline, "cursor": {}}
    plan = database.command("explain", sent)
    winning = str((plan.get("stages") or [{"$cursor": plan}])[0]["$cursor"]["queryPlanner"])

    assert f"'indexName': '{index}'" in winning
    assert "'stage': 'SORT'" not in winning
