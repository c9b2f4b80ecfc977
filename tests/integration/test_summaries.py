"""Every summary against a slow and plain computation over the same calls."""

import math
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pymongo
import pytest
import pytest_asyncio
from made_up_calls import CALLS, FAILURES, START, Call, bound, instant, store
from pymongo.database import Database

from llm_audit import LLMCallRepository, embedded, pipelines
from llm_audit.queries.grouping import GroupBy
from llm_audit.queries.results import FailureSummary

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


def grouped(
    calls: Iterable[Call], groups_of: Callable[[Call], Iterable[Any]]
) -> dict[Any, list[Call]]:
    found: dict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        for group in groups_of(call):
            found[group].append(call)
    return found


def groups_by(group_by: str) -> Callable[[Call], list[str | None]]:
    """Return the function that gives the groups that a call belongs to."""
    if group_by == "tag":
        return lambda call: call.get("tags") or [None]
    if group_by == "task_name":
        return lambda call: [call.get("task", {}).get("name")]
    if group_by in {"day", "hour"}:
        shape = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00Z"}[group_by]
        return lambda call: [call["created_at"].strftime(shape) if "created_at" in call else None]
    return lambda call: [call.get(group_by)]


def failed(calls: Iterable[Call]) -> int:
    return sum(call["status"] in FAILURES for call in calls)


def succeeded(calls: Iterable[Call]) -> int:
    return sum(call["status"] == "SUCCESS" for call in calls)


def failure_rate(calls: list[Call]) -> float | None:
    judged = failed(calls) + succeeded(calls)
    return failed(calls) / judged if judged else None


def total(calls: Iterable[Call], field: str) -> Any:
    return sum(call.get(field, 0) for call in calls)


def expected_tool_usage(calls: list[Call]) -> dict[str, dict[str, Any]]:
    return {
        tool: {
            "tool": tool,
            "calls": sum(call["tools_called"].count(tool) for call in users),
            "llm_calls": len(users),
            "traces": len({call["trace_id"] for call in users if "trace_id" in call}),
            "failures": failed(users),
            "failure_rate": pytest.approx(failure_rate(users)),
            "estimated_cost": pytest.approx(total(users, "estimated_cost")),
            "calls_without_cost": sum("estimated_cost" not in call for call in users),
        }
        for tool, users in grouped(calls, lambda call: set(call.get("tools_called", []))).items()
    }


@pytest.mark.parametrize(
    ("filters", "selected"), [({}, CALLS), (SECOND_DAY, on_second_day())], ids=["all", "one day"]
)
async def test_tool_usage(filters: dict[str, Any], selected: list[Call]) -> None:
    """Each tool is counted as often as it was asked for, and by call and by trace."""
    rows = [row.model_dump() for row in await LLMCallRepository.tool_usage(**filters)]

    assert {row["tool"]: row for row in rows} == expected_tool_usage(selected)
    assert [row["calls"] for row in rows] == sorted((row["calls"] for row in rows), reverse=True)


async def test_tool_usage_of_one_tool() -> None:
    """Asked for one tool, the others that the same calls asked for are left out."""
    rows = [row.model_dump() for row in await LLMCallRepository.tool_usage(tool="search")]

    assert rows == [expected_tool_usage(CALLS)["search"]]


def expected_failure_groups(calls: list[Call]) -> list[dict[str, Any]]:
    def scope_of(call: Call) -> tuple[Any, Any]:
        return call.get("model"), call.get("task", {}).get("name")

    def group_of(call: Call) -> list[tuple[Any, ...]]:
        kind = (call["status"], call.get("error_type"), call.get("ended_by"), *scope_of(call))
        return [kind] if call["status"] in FAILURES else []

    scopes = grouped(calls, lambda call: [scope_of(call)])
    groups = []
    for (status, error_type, ended_by, *scope), same in grouped(calls, group_of).items():
        newest = max(same, key=lambda call: call["_id"])
        dates = [call["created_at"] for call in same if "created_at" in call]
        message = newest.get("error_message")
        judged = failed(scopes[tuple(scope)]) + succeeded(scopes[tuple(scope)])
        groups.append(
            {
                "status": status,
                "error_type": error_type,
                "ended_by": ended_by,
                "model": scope[0],
                "task_name": scope[1],
                "count": len(same),
                "rate": pytest.approx(len(same) / judged),
                "first_seen": min(dates, default=None),
                "last_seen": max(dates, default=None),
                "sample_id": newest["_id"],
                "sample_message": message[:500] if message else None,
            }
        )
    return sorted(groups, key=lambda group: (group["count"], group["sample_id"]), reverse=True)


@pytest.mark.parametrize(
    ("filters", "selected"), [({}, CALLS), (SECOND_DAY, on_second_day())], ids=["all", "one day"]
)
async def test_failure_summary(filters: dict[str, Any], selected: list[Call]) -> None:
    """Failures are grouped by kind, cause, model and task; what is no failure is counted apart."""
    summary = await LLMCallRepository.failure_summary(**filters)

    assert summary.model_dump() == {
        "calls": len(selected),
        "successes": succeeded(selected),
        "failures": failed(selected),
        "failure_rate": pytest.approx(failure_rate(selected)),
        "cancelled": sum(call["status"] == "CANCELLED" for call in selected),
        "incomplete": sum(call["status"] == "INCOMPLETE" for call in selected),
        "pending": sum(call["status"] == "PENDING" for call in selected),
        "groups": expected_failure_groups(selected),
    }
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
    assert FailureSummary(**row) == await LLMCallRepository.failure_summary()


@pytest.mark.parametrize("group_by", GROUPINGS)
async def test_cost_summary(group_by: GroupBy) -> None:
    """Tokens and costs add up in every grouping, and calls without a cost are counted."""
    rows = [row.model_dump() for row in await LLMCallRepository.cost_summary(group_by)]
    fields = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")

    assert {row["group"]: row for row in rows} == {
        group: {
            "group": group,
            "calls": len(members),
            **{field: total(members, field) for field in fields},
            "estimated_cost": pytest.approx(total(members, "estimated_cost")),
            "calls_without_cost": sum("estimated_cost" not in call for call in members),
        }
        for group, members in grouped(CALLS, groups_by(group_by)).items()
    }
    assert_in_order(rows, group_by, "estimated_cost")


async def test_cost_summary_by_model_is_the_default() -> None:
    """Filters restrict what is summed up, by model where nothing else is said."""
    rows = await LLMCallRepository.cost_summary(**SECOND_DAY)
    expected = grouped(on_second_day(), groups_by("model"))

    assert {row.group: row.calls for row in rows} == {
        model: len(members) for model, members in expected.items()
    }


@pytest.mark.parametrize("group_by", GROUPINGS)
@pytest.mark.parametrize("review", [None, "77"])
async def test_latency_summary(group_by: GroupBy, review: str | None) -> None:
    """A percentile is the smallest latency that so many percent do not exceed, within 0.51 %."""
    rows = [
        row.model_dump()
        for row in await LLMCallRepository.latency_summary(group_by, review_id=review)
    ]
    measured = [
        call for call in CALLS if "latency_ms" in call and review in (None, call.get("review_id"))
    ]
    expected = grouped(measured, groups_by(group_by))

    assert {row["group"]: row["calls"] for row in rows} == {
        group: len(members) for group, members in expected.items()
    }
    for row in rows:
        latencies = sorted(call["latency_ms"] for call in expected[row["group"]])
        for percent in (50, 90, 95, 99):
            exact = latencies[math.ceil(percent * len(latencies) / 100) - 1]
            assert exact <= row[f"p{percent}"] <= exact * 1.0051
    assert_in_order(rows, group_by, "p95")


def assert_in_order(rows: list[dict[str, Any]], group_by: str, measure: str) -> None:
    """Check that rows are oldest first in time groups, else highest first."""
    assert len(rows) > 1
    if group_by in {"day", "hour"}:
        assert rows == sorted(rows, key=lambda row: row["group"] or "")
    else:
        assert rows == sorted(rows, key=lambda row: (-row[measure], row["group"] or ""))


async def test_no_calls_sum_up_to_nothing() -> None:
    """Where nothing matches there are no rows, and no rate is made up."""
    never = {"end_date": datetime(2000, 1, 1, tzinfo=UTC)}

    assert await LLMCallRepository.tool_usage(**never) == []
    assert await LLMCallRepository.cost_summary(**never) == []
    assert await LLMCallRepository.latency_summary(**never) == []
    assert await LLMCallRepository.failure_summary(**never) == FailureSummary(calls=0)
