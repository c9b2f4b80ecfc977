"""Hours, days, weeks and months where people live, also when their clocks change."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, get_args
from zoneinfo import ZoneInfo

import plain_answers
import pymongo
import pytest
from made_up_calls import Call, call_id
from pymongo.collection import Collection

from llm_audit import pipelines
from llm_audit.queries.grouping import Bucket

CLOCKS_CHANGE = {
    "Europe/Paris": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "America/New_York": datetime(2026, 3, 8, 7, tzinfo=UTC),
    "America/Sao_Paulo": datetime(2018, 11, 4, 3, tzinfo=UTC),  # a day that begins at one
    "Asia/Kathmandu": datetime(2027, 1, 1, tzinfo=UTC),  # no change, but a quarter of an hour
    "Pacific/Apia": datetime(2011, 12, 30, 10, tzinfo=UTC),  # a day that was left out
    "-03:30": datetime(2026, 2, 28, tzinfo=UTC),
}


def zone_of(name: str) -> tzinfo:
    if name.startswith("-"):
        return timezone(-timedelta(hours=3, minutes=30))
    return ZoneInfo(name)


@pytest.fixture(scope="module")
def around() -> dict[str, list[Call]]:
    """Make up a call every 25 minutes for two days around each change."""
    lot = random.Random(7)
    return {
        name: [
            {
                "_id": call_id(at := change + timedelta(minutes=25 * n), lot),
                "created_at": at,
                "status": "SUCCESS",
                "latency_ms": float(n + 100),
                "estimated_cost": 0.5,
            }
            for n in range(-58, 58)
        ]
        for name, change in CLOCKS_CHANGE.items()
    }


@pytest.fixture(scope="module")
def calls(
    mongo_client: pymongo.MongoClient[Call], around: dict[str, list[Call]]
) -> Iterator[Collection[Call]]:
    """Store the calls around all changes."""
    database = mongo_client["test_time_zones"]
    database["llm_calls"].insert_many(call for some in around.values() for call in some)
    yield database["llm_calls"]
    mongo_client.drop_database(database)


@pytest.mark.parametrize("bucket", get_args(Bucket))
@pytest.mark.parametrize("name", CLOCKS_CHANGE)
def test_buckets_are_local(
    calls: Collection[Call], around: dict[str, list[Call]], name: str, bucket: Bucket
) -> None:
    """All summaries by time put each call where the clock on the wall does, in order."""
    some, zone = around[name], zone_of(name)
    near: Any = {"start_date": some[0]["created_at"], "end_date": some[-1]["created_at"]}
    some = some[:-1]

    usage = list(calls.aggregate(pipelines.usage_over_time(bucket, timezone=name, **near)))
    costs = list(calls.aggregate(pipelines.cost_summary(bucket, timezone=name, **near)))
    latencies = list(calls.aggregate(pipelines.latency_summary(bucket, timezone=name, **near)))

    expected = plain_answers.usage_over_time(some, bucket, zone)
    names = [row["bucket"] for row in expected]
    assert usage == expected
    assert costs == [plain_answers.cost_summary(some, bucket, zone)[name] for name in names]
    plain_answers.assert_latencies(latencies, some, bucket, zone)
    assert [row["group"] for row in latencies] == names


def test_an_hour_that_comes_twice_is_two_hours(calls: Collection[Call]) -> None:
    """When clocks go back, both hours have their own row, the earlier first."""
    change = CLOCKS_CHANGE["Europe/Paris"]
    hour = timedelta(hours=1)
    pipeline = pipelines.usage_over_time(
        "hour", timezone="Europe/Paris", start_date=change - hour, end_date=change + hour
    )

    assert [row["bucket"] for row in calls.aggregate(pipeline)] == [
        "2026-10-25T02:00+0200",
        "2026-10-25T02:00+0100",
    ]
