"""Whose calls these are: users and companies."""

from typing import Literal, Unpack, get_args

from llm_audit.errors import UsageError
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import text_or_null
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    failure_rate,
    matching,
    other_outcomes,
    outcomes,
    summed_up,
)

Whose = Literal["user_id", "company_id"]


def user_summary(whose: Whose = "user_id", **filters: Unpack[CallFilters]) -> Pipeline:
    """What did each user, or each company, ask for, what did it cost, and what failed?

    Args:
        whose: `user_id` or `company_id`.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{id, calls, successes, failures, failure_rate, abandoned, cancelled,
        incomplete, pending, other, tokens, estimated_cost, calls_without_cost, unreadable_calls,
        first_seen, last_seen}`, most expensive first (see `UserSummary`). Index: that of a
        filter's field, else summed_up, which covers it.

    Raises:
        UsageError: An argument is wrong.
    """
    if whose not in get_args(Whose):
        raise UsageError(f"whose {whose!r:.50} is not one of {', '.join(get_args(Whose))}.")
    seen = {"first_seen": {"$min": "$first_seen"}, "last_seen": {"$max": "$last_seen"}}
    first, *others = summed_up(
        {"whose": f"${whose}", "status": "$status"},
        text_or_null("$_id.whose"),
        **outcomes("$_id.status", "$calls"),
        **seen,
    )
    first["$group"] |= {
        "first_seen": {"$min": "$created_at"},
        "last_seen": {"$max": "$created_at"},
    }
    return [
        *matching(filters),
        first,
        *others,
        {"$set": {"id": "$_id", "failure_rate": failure_rate(), "other": other_outcomes()}},
        {"$unset": "_id"},
        {"$sort": {"estimated_cost": -1, "calls": -1, "id": 1}},
    ]
