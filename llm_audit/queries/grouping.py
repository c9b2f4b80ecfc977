"""What the summaries can be grouped by, and the stages and expressions of it."""

from typing import Any, Literal, get_args

from llm_audit.errors import UsageError

Expression = dict[str, Any]
GroupBy = Literal[
    "model",
    "provider",
    "call_type",
    "status",
    "user_id",
    "company_id",
    "session_id",
    "trace_id",
    "task_name",
    "environment",
    "service",
    "tag",
    "day",
    "hour",
]

_TIME_FORMATS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00Z"}
_STORED_AS = {"task_name": "task.name", "tag": "tags"}


def unwound(group_by: GroupBy) -> list[Expression]:
    """Return the stages that make a call one document for each of its groups.

    Raises:
        UsageError: There is no such group_by.
    """
    if group_by not in get_args(GroupBy):
        known = ", ".join(get_args(GroupBy))
        raise UsageError(f"group_by {group_by!r:.50} is not one of {known}.")
    if group_by != "tag":
        return []
    return [{"$unwind": {"path": "$tags", "preserveNullAndEmptyArrays": True}}]


def key(group_by: GroupBy) -> Expression:
    """Return the expression for a call's group: a str, or null where it has none."""
    if group_by in _TIME_FORMATS:
        return {"$dateToString": {"date": "$created_at", "format": _TIME_FORMATS[group_by]}}
    return or_null(f"${_STORED_AS.get(group_by, group_by)}")


def named_and_sorted(group_by: GroupBy, order: dict[str, int]) -> list[Expression]:
    """Return the stages that name the group and sort the rows: by time, else by this order."""
    by_time = group_by in _TIME_FORMATS
    return [
        {"$set": {"group": "$_id"}},
        {"$unset": "_id"},
        {"$sort": {"group": 1} if by_time else order | {"group": 1}},
    ]


def or_null(field: str) -> Expression:
    """Return the expression for a field that makes a missing one null, so both are one group."""
    return {"$ifNull": [field, None]}
