"""What calls used and cost: by group, over time."""

from typing import Unpack, get_args

from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import UsageError
from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket, GroupBy
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    costs,
    count_if,
    failed,
    has_status,
    matching,
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
    apart = ("ABANDONED", "CANCELLED", "INCOMPLETE", "PENDING")
    return [
        *matching(filters),
        {
            "$group": {
                "_id": grouping.beginning(bucket, timezone),
                "calls": {"$sum": 1},
                "successes": count_if(has_status(LLMCallStatusEnum.SUCCESS)),
                "failures": count_if(failed("$status")),
                **{name.lower(): count_if(has_status(LLMCallStatusEnum(name))) for name in apart},
                **tokens(),
                **costs(),
            }
        },
        {"$sort": {"_id": 1}},
        {"$set": {"bucket": grouping.label("$_id", bucket, timezone), "start": "$_id"}},
        {"$unset": "_id"},
    ]
