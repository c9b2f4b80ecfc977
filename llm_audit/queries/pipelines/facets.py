"""Which values the fields of calls have, and how often."""

from typing import Any, Unpack

from llm_audit.queries.filters import STORED_AS, CallFilters
from llm_audit.queries.grouping import text_or_null
from llm_audit.queries.pipelines.stages import Pipeline, matching

FACETS = (
    *("status", "call_type", "provider", "model", "task_name", "company_id", "environment"),
    *("service", "error_type", "ended_by"),
)
NEWEST = 20_000  # calls that are looked at: of months, that says as much, and takes no seconds


def facets(**filters: Unpack[CallFilters]) -> Pipeline:
    """Which values do the fields have by which calls are told apart, and how many calls have each?

    The newest 20,000 calls that match are looked at.

    Args:
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{field, value, calls}`, the most frequent first. Index: that of a
        filter's field, else summed_up.

    Raises:
        UsageError: An argument is wrong.
    """
    # one group for all fields costs a look at each call; one for each would cost ten
    together = {name: f"${STORED_AS.get(name, name)}" for name in FACETS}
    values: list[dict[str, Any]] = [
        {"field": name, "value": text_or_null(f"$_id.{name}")} for name in FACETS
    ]
    return [
        *matching(filters),
        {"$sort": {"_id": -1}},
        {"$limit": NEWEST},
        {"$group": {"_id": together, "calls": {"$sum": 1}}},
        {"$project": {"_id": 0, "calls": 1, "values": values}},
        {"$unwind": "$values"},
        {"$match": {"values.value": {"$ne": None}}},
        {"$group": {"_id": "$values", "calls": {"$sum": "$calls"}}},
        {"$project": {"_id": 0, "field": "$_id.field", "value": "$_id.value", "calls": 1}},
        {"$sort": {"calls": -1, "field": 1, "value": 1}},
    ]
