"""What calls used and cost: by group, over time, and again in every further attempt."""

from copy import deepcopy
from typing import Unpack

from llm_audit.call import LATER_ATTEMPTS
from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.grouping import Bucket, GroupBy, or_null, text_or_null
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    costs,
    matching,
    other_outcomes,
    outcomes,
    summed_up,
    total,
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
        cached_tokens, estimated_cost, calls_without_cost, unreadable_calls}`, costliest first, time
        groups oldest first (see `CostSummary`). Index: that of a filter's field, else summed_up,
        which covers all groups but tags, sessions and traces.

    Raises:
        UsageError: An argument is wrong.
    """
    return [
        *matching(filters),
        *grouping.unwound(group_by),
        *summed_up(
            {"part": grouping.first_key(group_by, timezone)},
            grouping.second_key("$_id.part", group_by, timezone),
        ),
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
        incomplete, pending, other, prompt_tokens, completion_tokens, total_tokens, cached_tokens,
        estimated_cost, calls_without_cost, unreadable_calls}`, oldest first, none for a time
        without calls (see `Usage`). The bucket is named in its zone, the start is its instant;
        failures include the abandoned. Index: that of a filter's field, else summed_up, which
        covers it.

    Raises:
        UsageError: An argument is wrong.
    """
    grouping.checked_bucket(bucket)
    return [
        *matching(filters),
        *summed_up(
            {"part": grouping.first_key(bucket, timezone), "status": "$status"},
            grouping.second_key("$_id.part", bucket, timezone),
            **outcomes("$_id.status", "$calls"),
        ),
        {"$sort": {"_id": 1}},
        {
            "$set": {
                "bucket": grouping.label("$_id", bucket, timezone),
                "start": "$_id",
                "other": other_outcomes(),
            }
        },
        {"$unset": "_id"},
    ]


def retry_spend(**filters: Unpack[CallFilters]) -> Pipeline:
    """What did Celery's retries and redeliveries pay again?

    A call belongs to a later attempt if its task had been retried or was redelivered; only these
    are looked at. What first attempts paid is the rest of `cost_summary("task_name")`. A broker may
    say redelivered of a message that nobody had begun to work on: then nothing was paid before.

    Args:
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{task_name, tasks, attempts, calls, total_tokens, estimated_cost,
        calls_without_cost}`, of later attempts alone, costliest first (see `RetrySpend`). Attempts
        without a call are not known. Indexes: task.retries_newest and task.redelivered_newest.

    Raises:
        UsageError: An argument is wrong.
    """
    attempt = {
        "task_name": or_null("$task.name"),
        "task_id": or_null("$task_id"),
        "attempt": {"$ifNull": ["$task.attempt_id", "$task.retries", None]},
    }
    names = ("calls", "total_tokens", "estimated_cost", "calls_without_cost")
    sums = {name: {"$sum": f"${name}"} for name in names}
    return [
        # the filters in each branch: beside them, MongoDB might go through all calls of the dates
        {"$match": {"$or": [condition(filters) | deepcopy(by) for by in LATER_ATTEMPTS.values()]}},
        {
            "$group": {
                "_id": attempt,
                "calls": {"$sum": 1},
                "total_tokens": total("total_tokens"),
                **costs(),
            }
        },
        {
            "$group": {
                "_id": {"task_name": "$_id.task_name", "task_id": "$_id.task_id"},
                "attempts": {"$sum": 1},
                **sums,
            }
        },
        {
            "$group": {
                "_id": text_or_null("$_id.task_name"),
                "tasks": {"$sum": 1},
                "attempts": {"$sum": "$attempts"},
                **sums,
            }
        },
        {"$set": {"task_name": "$_id"}},
        {"$unset": "_id"},
        {"$sort": {"estimated_cost": -1, "total_tokens": -1, "task_name": 1}},
    ]
