"""Calls that hold odd values: every question is answered, and every answer counts them."""

import json
from typing import Any

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from made_up_calls import START, Call, bound
from odd_values import FIELDS, IDS, ODD, USUAL, with_odd
from patience import share
from pymongo.collection import Collection

from llm_audit import LLMCall, SyncLLMCallRepository, embedded
from llm_audit.queries.answers.trace_tree import TraceCall
from llm_audit.queries.grouping import GroupBy
from llm_audit.queries.pipelines.latencies import LONGEST_MS
from llm_audit.queries.pipelines.stages import TOKENS
from llm_audit.queries.views import VIEWS
from llm_audit.store.connection import readable

FRACTIONS = (2.5, Decimal128("0.5"))  # of a token: no call has them, but they can be added up


@pytest.mark.many
@pytest.mark.parametrize("part", range(4))
def test_every_question_is_answered(part: int, calls: Collection[Call]) -> None:
    """Whatever a field holds, every question is answered, and what it counts are all calls."""
    questions = SyncLLMCallRepository(calls)
    for number, field in enumerate(FIELDS[part::4]):
        calls.delete_many({})
        calls.insert_many([USUAL, *with_odd(field)])

        found = questions.list_by_filters(limit=None)
        assert [call.id for call in found] == [*IDS[::-1], USUAL["_id"]], field
        for call in found:
            left_out = {name.partition(".")[0] for name in call.unreadable}
            assert left_out <= {field.partition(".")[0]}, field
            assert json.loads(call.model_dump_json())["id"] == call.id
        assert questions.count_by_filters() == len(found)
        assert_what_belongs_together(questions, field, found)
        assert_sums(questions, field, found, number)
        for name, view in share(VIEWS.items(), 3, number):
            rows = list(readable(calls).aggregate(view()))
            assert rows or name == "v_failures", (field, name)


def assert_what_belongs_together(
    questions: SyncLLMCallRepository, field: str, found: list[LLMCall]
) -> None:
    """Assert that a call is with those it belongs to unless the odd value is about that."""
    everything = {call.id for call in found}
    conversation = questions.get_session("s")
    turns = conversation.turns
    assert len(json.loads(conversation.model_dump_json())["turns"]) == len(turns), field
    branches = list(questions.get_trace_tree("t").walk())
    for about, ids in {
        "session_id": [turn.id for turn in turns],
        "trace_id": [branch.call.id for branch in branches],
        "trace_id ": [call.id for call in questions.get_calls_by_trace("t")],
        "task_id": [call.id for call in questions.get_calls_by_task("task")],
        "response_message": [call.id for call in questions.search("what now", start_date=START)],
    }.items():
        expected = {USUAL["_id"]} if field == about.strip() else everything
        assert (set(ids), len(ids)) == (expected, len(expected)), field
    odd = [call for call in found if call.unreadable]
    if field in TraceCall.model_fields and field != "trace_id":
        assert sum(bool(branch.call.unreadable) for branch in branches) == len(odd), field
        assert questions.get_trace_tree("t").unreadable_calls == len(odd), field
    assert questions.get_workflow("t")


def has_latency(call: LLMCall) -> bool:
    return call.latency_ms is not None and 0 <= call.latency_ms < LONGEST_MS


def assert_sums(
    questions: SyncLLMCallRepository, field: str, found: list[LLMCall], number: int
) -> None:
    """Assert that sums count every call, and say how many have a figure that is no number."""
    groups: list[GroupBy] = ["model", "task_name", "company_id", "call_type", "status", "hour"]
    unreadable = sum(
        field in call.unreadable and value not in FRACTIONS
        for call, value in zip(found, [*ODD[::-1], None], strict=True)
    )
    expected = unreadable if field in {*TOKENS, "estimated_cost"} else 0
    for by in share(groups, 3, number):
        rows = questions.cost_summary(by, timezone="Asia/Tokyo")
        assert sum(row.calls for row in rows) == len(found), field
        assert sum(row.unreadable_calls for row in rows) == expected, (field, by)
        assert all(isinstance(row.group, str | None) and not row.unreadable for row in rows), field
        latencies = questions.latency_summary(by)
        assert sum(row.calls for row in latencies) == sum(map(has_latency, found)), field
    assert questions.cost_summary("tag")
    usage = questions.usage_over_time("week")
    assert sum(row.calls for row in usage) == questions.failure_summary().calls == len(found), field
    others = 0 if field != "status" else len(found) - 1
    assert sum(row.other for row in usage) == questions.failure_summary().other == others, field
    assert questions.tool_usage()
    assert questions.retry_spend()


ODD_IDS: list[Any] = [5, 2.5, ObjectId("0" * 24), {"a": 1}, b"\xff", True, USUAL["created_at"]]


def test_ids_of_any_kind(calls: Collection[Call]) -> None:
    """A call whose id is no text is where it belongs, under the text of its id."""
    questions = SyncLLMCallRepository(calls)
    calls.insert_many([USUAL, *(USUAL | {"_id": call_id} for call_id in ODD_IDS)])
    expected = sorted([USUAL["_id"], *map(str, ODD_IDS)])

    for found in (
        questions.list_by_filters(),
        questions.list_by_filters(model=USUAL["model"]),
        questions.get_calls_by_trace("t"),
        questions.get_calls_by_task("task"),
        questions.get_workflow("t"),
        [branch.call for branch in questions.get_trace_tree("t").walk()],
        questions.get_session("s").turns,
    ):
        assert sorted(call.id for call in found) == expected
        assert sum("id" in call.unreadable for call in found) == len(ODD_IDS)
    assert questions.count_by_filters() == len(expected)
    assert [row.calls for row in questions.cost_summary()] == [1]  # see CallFilters
    assert questions.failure_summary().calls == 1
    assert questions.tool_usage()[0].llm_calls == len(expected)


async def test_beanie_reads_them_too(mongod: embedded.Mongod, calls: Collection[Call]) -> None:
    """`LLMCall.find()` is no stricter than the repository."""
    async with bound(mongod.url, calls.database):
        for field in ("created_at", "status", "metadata", "prompt_tokens", "tags"):
            calls.delete_many({})
            calls.insert_many([USUAL, *with_odd(field)])

            found = await LLMCall.find(LLMCall.trace_id == "t").sort("-_id").to_list()

            assert found == SyncLLMCallRepository(calls).list_by_filters(limit=None)
            assert await LLMCall.get(found[0].id) == found[0]
