"""Every summary against a slow and plain computation over the same calls."""

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import plain_answers
import pymongo
import pytest
import pytest_asyncio
from made_up_calls import CALLS, START, Call, bound, instant, store
from pymongo.database import Database

from llm_audit import LLMCallRepository, embedded, pipelines
from llm_audit.queries.answers.summaries import FailureSummary
from llm_audit.queries.grouping import Bucket, GroupBy

GROUPINGS = get_args(GroupBy)
SECOND_DAY = {"start_date": START + timedelta(days=1), "end_date": START + timedelta(days=2)}


@pytest.fixture(scope="module")
def made_up(mongo_client: pymongo.MongoClient[Call]) -> Iterator[Database[Call]]:
    """Store the made-up calls once, for the tests that only read."""
    database = mongo_client[f"test_{uuid.uuid4().hex}"]
    store(database)
    yield database
    mongo_client.drop_database(database)


@pytest_asyncio.fixture(autouse=True)
async def calls(mongod: embedded.Mongod, made_up: Database[Call]) -> AsyncIterator[None]:
    """Bind LLMCall to the made-up calls."""
    async with bound(mongod.url, made_up):
        yield


@pytest_asyncio.fixture
async def own(mongod: embedded.Mongod, database: Database[Call]) -> AsyncIterator[Database[Call]]:
    """Bind LLMCall to a copy of the made-up calls that the test may add to."""
    store(database)
    async with bound(mongod.url, database):
        yield database


def on_second_day() -> list[Call]:
    days = (SECOND_DAY["start_date"], SECOND_DAY["end_date"])
    return [call for call in CALLS if (at := instant(call["_id"])) and days[0] <= at < days[1]]


@pytest.mark.parametrize(
    ("filters", "selected"), [({}, CALLS), (SECOND_DAY, on_second_day())], ids=["all", "one day"]
)
async def test_tool_usage(filters: dict[str, Any], selected: list[Call]) -> None:
    """Each tool is counted as often as it was asked for, and by call and by trace."""
    rows = [
        row.model_dump(exclude_unset=True) for row in await LLMCallRepository.tool_usage(**filters)
    ]

    assert {row["tool"]: row for row in rows} == plain_answers.tool_usage(selected)
    assert [row["calls"] for row in rows] == sorted((row["calls"] for row in rows), reverse=True)


async def test_tool_usage_of_one_tool() -> None:
    """Asked for one tool, the others that the same calls asked for are left out."""
    rows = [
        row.model_dump(exclude_unset=True)
        for row in await LLMCallRepository.tool_usage(tool="search")
    ]

    assert rows == [plain_answers.tool_usage(CALLS)["search"]]


@pytest.mark.parametrize(
    ("filters", "selected"), [({}, CALLS), (SECOND_DAY, on_second_day())], ids=["all", "one day"]
)
async def test_failure_summary(filters: dict[str, Any], selected: list[Call]) -> None:
    """Failures are grouped by kind, cause, model and task; what is no failure is counted apart."""
    summary = await LLMCallRepository.failure_summary(**filters)

    expected = plain_answers.failure_summary(selected)
    for group in expected["groups"]:
        (sample,) = (call for call in selected if call["_id"] == group["sample_id"])
        message = sample.get("error_message")
        group["sample_message"] = None if message is None else message[:500]
    assert summary.model_dump(exclude_unset=True) == expected
    assert sum(group.count for group in summary.groups) == summary.failures > 0


async def test_unfinished_calls_do_not_change_a_rate(own: Database[Call]) -> None:
    """However many calls are cancelled, incomplete or running, the rates stay as they were."""
    before = await LLMCallRepository.failure_summary()
    own["llm_calls"].insert_many(
        {"_id": f"{status} {n}", "status": status, "model": model}
        for status in ("CANCELLED", "INCOMPLETE", "PENDING")
        for n, model in enumerate(["gpt-4", "claude"])
    )
    after = await LLMCallRepository.failure_summary()

    assert after.pending == before.pending + 2
    assert after.failure_rate == before.failure_rate
    assert after.groups == before.groups


async def test_an_error_message_that_is_no_text_is_left_out(own: Database[Call]) -> None:
    """A redaction may have made anything of a message; the summary stands all the same."""
    odd = {"_id": "odd", "status": "ERROR", "model": "odd", "error_message": {"cut": True}}
    own["llm_calls"].insert_one(odd)

    (group,) = (await LLMCallRepository.failure_summary(model="odd")).groups

    assert (group.sample_id, group.sample_message, group.rate) == ("odd", None, 1.0)


async def test_a_client_without_zones_makes_no_difference(
    mongod: embedded.Mongod, made_up: Database[Call]
) -> None:
    """Dates in results are in UTC and say so, also where the driver leaves the zone out."""
    with pymongo.MongoClient[Call](mongod.url, tz_aware=False) as client:
        (row,) = client[made_up.name]["llm_calls"].aggregate(pipelines.failure_summary())

    dates = {group.first_seen.tzinfo for group in FailureSummary(**row).groups if group.first_seen}
    assert dates == {UTC}
    found = await LLMCallRepository.failure_summary()
    for group in found.groups:
        group.sample_message = None
    assert FailureSummary(**row) == found


@pytest.mark.parametrize("group_by", GROUPINGS)
async def test_cost_summary(group_by: GroupBy) -> None:
    """Tokens and costs add up in every grouping, and calls without a cost are counted."""
    rows = [
        row.model_dump(exclude_unset=True) for row in await LLMCallRepository.cost_summary(group_by)
    ]

    assert {row["group"]: row for row in rows} == plain_answers.cost_summary(CALLS, group_by)
    assert_in_order(rows, group_by, "estimated_cost")


async def test_cost_summary_by_model_is_the_default() -> None:
    """Filters restrict what is summed up, by model where nothing else is said."""
    rows = await LLMCallRepository.cost_summary(**SECOND_DAY)
    expected = plain_answers.cost_summary(on_second_day(), "model")

    assert {row.group: row.calls for row in rows} == {
        model: row["calls"] for model, row in expected.items()
    }


@pytest.mark.parametrize("group_by", GROUPINGS)
@pytest.mark.parametrize("review", [None, "77"])
async def test_latency_summary(group_by: GroupBy, review: str | None) -> None:
    """A percentile is the smallest latency that so many percent do not exceed, within 0.51 %."""
    rows = [
        row.model_dump(exclude_unset=True)
        for row in await LLMCallRepository.latency_summary(group_by, review_id=review)
    ]
    selected = [call for call in CALLS if review in (None, call.get("review_id"))]

    plain_answers.assert_latencies(rows, selected, group_by)
    assert_in_order(rows, group_by, "p95")


def assert_in_order(rows: list[dict[str, Any]], group_by: str, measure: str) -> None:
    """Check that rows are oldest first in time groups, else highest first."""
    assert rows
    if group_by in {"hour", "day", "week", "month"}:
        assert rows == sorted(rows, key=lambda row: row["group"] or "")
    else:
        assert rows == sorted(rows, key=lambda row: (-row[measure], row["group"] or ""))


@pytest.mark.parametrize("bucket", get_args(Bucket))
async def test_usage_over_time(bucket: Bucket) -> None:
    """Each hour, day ... has its calls by how they ended, its tokens and its cost."""
    rows = [
        row.model_dump(exclude_unset=True)
        for row in await LLMCallRepository.usage_over_time(bucket)
    ]

    assert rows == plain_answers.usage_over_time(CALLS, bucket)


@pytest.mark.parametrize(
    ("filters", "selected"), [({}, CALLS), (SECOND_DAY, on_second_day())], ids=["all", "one day"]
)
async def test_retry_spend(filters: dict[str, Any], selected: list[Call]) -> None:
    """What later attempts paid is summed up by task, costliest first."""
    rows = [
        row.model_dump(exclude_unset=True) for row in await LLMCallRepository.retry_spend(**filters)
    ]

    assert {row["task_name"]: row for row in rows} == plain_answers.retry_spend(selected)
    costs = [row["estimated_cost"] for row in rows]
    assert costs == sorted(costs, reverse=True)
    assert all(cost > 0 for cost in costs)


async def test_no_calls_sum_up_to_nothing() -> None:
    """Where nothing matches there are no rows, and no rate is made up."""
    never = {"end_date": datetime(2000, 1, 1, tzinfo=UTC)}

    assert await LLMCallRepository.tool_usage(**never) == []
    assert await LLMCallRepository.cost_summary(**never) == []
    assert await LLMCallRepository.latency_summary(**never) == []
    assert await LLMCallRepository.usage_over_time(**never) == []
    assert await LLMCallRepository.retry_spend(**never) == []
    assert await LLMCallRepository.failure_summary(**never) == FailureSummary(calls=0)


async def test_tags_that_are_no_list_are_a_tag(own: Database[Call]) -> None:
    """What something else stored does not keep the other calls from being summed up."""
    own["llm_calls"].insert_one({"_id": "odd", "status": "SUCCESS", "tags": "odd"})

    rows = await LLMCallRepository.cost_summary("tag")

    assert {row.group: row.calls for row in rows}["odd"] == 1
