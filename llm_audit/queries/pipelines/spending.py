"""What calls used and cost: by group, over time, and again in every further attempt."""

from typing import Any, Unpack, get_args

from llm_audit.errors import UsageError
from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket, GroupBy, or_null
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    costs,
    count_if,
    if_,
    matching,
    outcomes,
    tokens,
)


def cost_summary(
    group_by: GroupBy = "model", *, timezone: str = grouping.UTC, **filters: Unpack[CallFilters]
) -> Pipeline:
    """What did the calls of each model, user, day ... use and cost?

    Failed and running calls count too: what they cost is in, where it is known.

    Args:
        group_by: A field; `tag` counts a call once for each of its tags; or `hour`, `day`, `week`
            (from Monday) or `month`.
        timezone: Whose hours and days, an IANA name or an offset.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{group, calls, prompt_tokens, completion_tokens, total_tokens,
        cached_tokens, estimated_cost, calls_without_cost}`, dearest first, time groups oldest
        first (see `CostSummary`). Index: that of a filter's field, else _id for dates, else none.

    Raises:
        UsageError: An argument is wrong.
    """
    return [
        *matching(filters),
        *grouping.unwound(group_by),
        {
            "$group": {
                "_id": grouping.key(group_by, timezone),
                "calls": {"$sum": 1},
                **tokens(),
                **costs(),
            }
        },
        *grouping.named_and_sorted(group_by, timezone, {"estimated_cost": -1}),
    ]


def usage_over_time(
    bucket: Bucket = "day", *, timezone: str = grouping.UTC, **filters: Unpack[CallFilters]
) -> Pipeline:
    """How many calls were there each day, how did they end, and what did they use and cost?

    Args:
        bucket: `hour`, `day`, `week` (from Monday) or `month`.
        timezone: Whose hours and days, an IANA name or an offset. Where clocks change by half an
            hour (Lord Howe Island), hours may begin at half past.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{bucket, start, calls, successes, failures, abandoned, cancelled,
        incomplete, pending, prompt_tokens, completion_tokens, total_tokens, cached_tokens,
        estimated_cost, calls_without_cost}`, oldest first, none for a time without calls (see
        `Usage`). The bucket is named in its zone, the start is its instant; failures include the
        abandoned. Index: that of a filter's field, else _id for dates, else none.

    Raises:
        UsageError: An argument is wrong.
    """
    if bucket not in get_args(Bucket):
        raise UsageError(f"bucket {bucket!r:.50} is not one of {', '.join(get_args(Bucket))}.")
    grouping.checked_timezone(timezone)
    return [
        *matching(filters),
        {
            "$group": {
                "_id": grouping.beginning(bucket, timezone),
                **outcomes(),
                **tokens(),
                **costs(),
            }
        },
        {"$sort": {"_id": 1}},
        {"$set": {"bucket": grouping.label("$_id", bucket, timezone), "start": "$_id"}},
        {"$unset": "_id"},
    ]


def retry_spend(**filters: Unpack[CallFilters]) -> Pipeline:
    """What did Celery's retries and redeliveries pay again?

    A call belongs to a later attempt if its task had been retried or was redelivered. Eager and
    running tasks count like others.

    Args:
        **filters: See `CallFilters`; calls outside of tasks are left out.

    Returns:
        Stages whose rows are `{task_name, tasks, tasks_repeated, first, later}`, where `first` and
        `later` are each `{attempts, calls, total_tokens, estimated_cost, calls_without_cost}`,
        dearest in later attempts first (see `RetrySpend`). Attempts without a call are not known.
        Index: that of a filter's field, else _id for dates, else none.

    Raises:
        UsageError: An argument is wrong.
    """
    by_attempt = {
        "task_name": or_null("$task.name"),
        "task_id": or_null("$task_id"),
        "attempt": {"$ifNull": ["$task.attempt_id", "$task.retries", None]},
        "later": {"$or": [{"$gt": ["$task.retries", 0]}, {"$eq": ["$task.redelivered", True]}]},
    }
    summed = ("attempts", "calls", "total_tokens", "estimated_cost", "calls_without_cost")
    parts: dict[str, dict[str, Any]] = {
        "first": {"$not": "$_id.later"},
        "later": {"$eq": ["$_id.later", True]},
    }
    sums = [f"{part}_{name}" for part in parts for name in summed]
    return [
        *matching(filters, {"task": {"$exists": True}}),
        {
            "$group": {
                "_id": by_attempt,
                "calls": {"$sum": 1},
                "total_tokens": {"$sum": "$total_tokens"},
                **costs(),
            }
        },
        {"$set": {"attempts": 1}},
        {
            "$group": {
                "_id": {"task_name": "$_id.task_name", "task_id": "$_id.task_id"},
                **{
                    f"{part}_{name}": {"$sum": if_(test, f"${name}", 0)}
                    for part, test in parts.items()
                    for name in summed
                },
            }
        },
        {
            "$group": {
                "_id": "$_id.task_name",
                "tasks": {"$sum": 1},
                "tasks_repeated": count_if({"$gt": ["$later_attempts", 0]}),
                **{name: {"$sum": f"${name}"} for name in sums},
            }
        },
        {
            "$project": {
                "_id": 0,
                "task_name": "$_id",
                "tasks": 1,
                "tasks_repeated": 1,
                **{part: {name: f"${part}_{name}" for name in summed} for part in parts},
            }
        },
        {"$sort": {"later.estimated_cost": -1, "later.total_tokens": -1, "task_name": 1}},
    ]
