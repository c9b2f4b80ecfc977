"""How long calls take."""

from typing import Any, Unpack

from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket, GroupBy
from llm_audit.queries.pipelines.stages import Pipeline, if_, matching

PERCENTILES = (50, 90, 95, 99)
LONGEST_MS = 1e15  # what is beyond is no latency
STEPS_PER_DECADE = 4  # of a heatmap
BUCKETS_PER_E = 200  # latencies in one bucket differ by less than 0.51 %


def latency_summary(
    group_by: GroupBy = "model", *, timezone: str = grouping.UTC, **filters: Unpack[CallFilters]
) -> Pipeline:
    """How long do the calls of each model, task, day ... take?

    Every call with a latency counts, however it ended; `status="SUCCESS"` leaves out the others.
    A percentile p is the smallest latency that p % of the calls do not exceed, at most 0.51 % too
    high: latencies are counted in narrow buckets, so that memory is bounded for any number of
    calls and MongoDB 6.0 will do, which has no `$percentile`.

    Args:
        group_by: A field; `tag` counts a call once for each of its tags; or `hour`, `day`, `week`
            (from Monday) or `month`.
        timezone: Whose hours and days, an IANA name or an offset.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{group, calls, p50, p90, p95, p99}` in milliseconds, slowest p95
        first, time groups oldest first (see `LatencySummary`). Index: that of a filter's field,
        else summed_up, which covers all groups but tags, sessions and traces.

    Raises:
        UsageError: An argument is wrong.
    """
    so_far: dict[str, Any] = {"$sum": "$calls", "window": {"documents": ["unbounded", "current"]}}
    return [
        *matching(filters, {"latency_ms": {"$gte": 0, "$lt": LONGEST_MS}}),
        *grouping.unwound(group_by),
        {
            "$group": {
                "_id": {
                    "group": grouping.key(group_by, timezone),
                    "bucket": if_({"$isNumber": "$latency_ms"}, latency_bucket(), None),
                },
                "calls": {"$sum": 1},
                "latency_ms": {"$max": "$latency_ms"},
            }
        },
        {"$match": {"_id.bucket": {"$type": "number"}}},  # a list with a number in it has none
        {
            "$setWindowFields": {
                "partitionBy": "$_id.group",
                "sortBy": {"_id.bucket": 1},
                "output": {"so_far": so_far, "total": {"$sum": "$calls"}},
            }
        },
        {
            "$group": {
                "_id": "$_id.group",
                "calls": {"$sum": "$calls"},
                **{f"p{p}": {"$min": if_(reaches(p), "$latency_ms", None)} for p in PERCENTILES},
            }
        },
        *grouping.named_and_sorted(group_by, timezone, {"p95": -1}),
    ]


def latency_heatmap(
    bucket: Bucket = "day", *, timezone: str = grouping.UTC, **filters: Unpack[CallFilters]
) -> Pipeline:
    """How many calls of each day took how long?

    Args:
        bucket: `hour`, `day`, `week` (from Monday) or `month`.
        timezone: Whose hours and days, an IANA name or an offset.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{bucket, step, calls}`, oldest and fastest first (see `LatencyCell`).
        There are four steps from one power of ten of milliseconds to the next: step 12 begins at a
        second. Index: that of a filter's field, else summed_up, which covers it.

    Raises:
        UsageError: An argument is wrong.
    """
    grouping.checked_bucket(bucket)
    at_least_one = {"$max": ["$latency_ms", 1]}
    step = {"$floor": {"$multiply": [STEPS_PER_DECADE, {"$log10": at_least_one}]}}
    return [
        *matching(filters, {"latency_ms": {"$gte": 0, "$lt": LONGEST_MS}}),
        {
            "$group": {
                "_id": {
                    "at": grouping.key(bucket, timezone),
                    "step": if_({"$isNumber": "$latency_ms"}, step, None),
                },
                "calls": {"$sum": 1},
            }
        },
        {"$match": {"_id.step": {"$type": "number"}}},
        {"$sort": {"_id.at": 1, "_id.step": 1}},
        {
            "$project": {
                "_id": 0,
                "bucket": grouping.label("$_id.at", bucket, timezone),
                "step": {"$toInt": "$_id.step"},
                "calls": 1,
            }
        },
    ]


def latency_bucket() -> dict[str, Any]:
    """Return the expression for the number of the bucket that a call's latency falls into."""
    logarithm = {"$ln": {"$max": ["$latency_ms", 0.001]}}
    return {"$floor": {"$multiply": [BUCKETS_PER_E, logarithm]}}


def reaches(percentile: int) -> dict[str, Any]:
    """Return the test for a bucket up to which there is this share of the `total` calls."""
    share = {"$multiply": ["$so_far", 100]}
    return {"$gte": [share, {"$multiply": ["$total", percentile]}]}
