"""Every summary against the plain computation, over whatever calls hypothesis makes up."""

import random
from datetime import timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import plain_answers
import pymongo
import pytest
from made_up_calls import START, Call, call_id
from properties import given, st
from pymongo.collection import Collection

from llm_audit import LLMCallStatusEnum, pipelines
from llm_audit.queries.answers.trace_tree import build_trace_tree
from llm_audit.queries.grouping import Bucket, GroupBy

TOOLS = st.lists(st.sampled_from(["read", "search"]), max_size=3)
TEXTS = st.text(alphabet="aÄ.*$(\\ ", max_size=4)
COSTS = st.sampled_from([0.0, 0.25, 0.5])
TASKS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["ask", "sum"]),
        "retries": st.integers(0, 2),
        "redelivered": st.booleans(),
        "attempt_id": st.sampled_from("xyz"),
        "root_id": st.sampled_from("tuv"),
        "group_id": st.sampled_from("tuv"),
    },
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["gpt-4", "claude"]),
    "provider": st.sampled_from(["openai", "anthropic"]),
    "environment": st.sampled_from(["production", "test"]),
    "trace_id": st.sampled_from("tu"),
    "task_id": st.sampled_from("vw"),
    "task": TASKS,
    "tags": st.lists(st.sampled_from("ab"), max_size=3),
    "tools_called": TOOLS,
    "estimated_cost": COSTS,
    "prompt_tokens": st.integers(0, 9),
    "total_tokens": st.integers(0, 9),
    "latency_ms": st.floats(0.001, 1e6),
    "error_type": st.sampled_from(["APIError", "Timeout"]),
    "error_message": TEXTS,
    "ended_by": st.sampled_from(["exception", "worker_lost"]),
    "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS})),
    "system_prompt": TEXTS,
    "response_message": st.fixed_dictionaries(
        {"content": st.lists(st.fixed_dictionaries({"input": st.dictionaries(TEXTS, TEXTS)}))}
    ),
}


@st.composite
def made_up(draw: st.DrawFn) -> list[Call]:
    """Draw up to eight calls, any field of which may be missing, oldest first."""
    lot = random.Random(draw(st.integers(0, 99)))
    calls: list[Call] = []
    for _ in range(draw(st.integers(0, 8))):
        at = START + timedelta(minutes=draw(st.integers(0, 3 * 24 * 60)))
        call = draw(st.fixed_dictionaries({}, optional=FIELDS))
        call["status"] = draw(st.sampled_from([str(status) for status in LLMCallStatusEnum]))
        if tools := call.get("tools_called"):
            call["malformed_tool_calls"] = tools[draw(st.integers(0, 3)) :]
        if calls and draw(st.booleans()):
            call["parent_call_id"] = draw(st.sampled_from(["lost", *(c["_id"] for c in calls)]))
        calls.append({"_id": call_id(at, lot), "created_at": at, **call})
    return sorted(calls, key=lambda call: call["_id"])


@pytest.fixture(scope="module")
def collection(mongo_client: pymongo.MongoClient[Call]) -> Collection[Call]:
    return mongo_client["test_any_calls"]["llm_calls"]


@given(
    calls=made_up(),
    group_by=st.sampled_from(get_args(GroupBy)),
    bucket=st.sampled_from(get_args(Bucket)),
    zone=st.sampled_from(["America/St_Johns", "Pacific/Auckland"]),
    text=TEXTS.filter(bool),
    environment=st.sampled_from([None, "test"]),
)
def test_any_calls(  # noqa: PLR0917  (hypothesis passes what it drew by name)
    collection: Collection[Call],
    calls: list[Call],
    group_by: GroupBy,
    bucket: Bucket,
    zone: str,
    text: str,
    environment: str | None,
) -> None:
    """The server's answers are those of a plain look at each call."""
    collection.delete_many({})
    if calls:
        collection.insert_many(calls)
    some = [call for call in calls if environment in {None, call.get("environment")}]
    only: Any = {"environment": environment} if environment else {}
    there = ZoneInfo(zone)

    def answer(pipeline: pipelines.Pipeline) -> list[Call]:
        return list(collection.aggregate(pipeline))

    def by(name: str, rows: list[Call]) -> dict[Any, Call]:
        return {row[name]: row for row in rows}

    assert by("tool", answer(pipelines.tool_usage(**only))) == plain_answers.tool_usage(some)
    failures = answer(pipelines.failure_summary(**only))
    assert failures == ([plain_answers.failure_summary(some)] if some else [])
    costs = answer(pipelines.cost_summary(group_by, timezone=zone, **only))
    assert by("group", costs) == plain_answers.cost_summary(some, group_by, there)
    latencies = answer(pipelines.latency_summary(group_by, timezone=zone, **only))
    plain_answers.assert_latencies(latencies, some, group_by, there)
    usage = answer(pipelines.usage_over_time(bucket, timezone=zone, **only))
    assert usage == plain_answers.usage_over_time(some, bucket, there)
    spend = answer(pipelines.retry_spend(**only))
    assert by("task_name", spend) == plain_answers.retry_spend(some)

    end = START + timedelta(days=7)
    said = [call["_id"] for call in reversed(some) if plain_answers.says(call, text)]
    assert [c["_id"] for c in answer(pipelines.search(text, end_date=end, **only))] == said
    for wanted in "tuv":
        assert answer(pipelines.workflow(wanted)) == plain_answers.workflow(calls, wanted)
        trace = [call for call in calls if call.get("trace_id") == wanted]
        assert answer(pipelines.calls_by_trace(wanted)) == trace
        tree = build_trace_tree(answer(pipelines.trace_tree(wanted)))
        ids = {call["_id"] for call in trace}
        assert {branch.call.id for branch in tree.walk()} == ids
        orphans = {c["_id"] for c in trace if c.get("parent_call_id") not in {None, *ids}}
        assert {root.call.id for root in tree.children if root.orphan} == orphans
        assert tree.estimated_cost == plain_answers.total(trace, "estimated_cost")
