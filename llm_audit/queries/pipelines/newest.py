"""What began last: the newest traces, and what each of them was, used and cost."""

from collections.abc import Collection, Mapping
from typing import Any

from llm_audit.ids import Id, id_text
from llm_audit.queries.filters import checked_values, condition
from llm_audit.queries.pipelines.previews import answered, asked
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    costs,
    if_,
    is_known,
    outcomes,
    total,
)

NAMES_MAX = 20  # of tasks, that are named

# What else is of any time has no place in an order of time.
_OURS: dict[str, Any] = {"_id": {"$gt": ""}}


def walked(
    field: str, known: Collection[str], after: Id | None, filters: Mapping[str, Any], count: int
) -> Pipeline:
    """Which values has this field in the newest calls that match?

    Args:
        field: `trace_id`, say.
        known: Values that are no news.
        after: Only calls older than this one.
        filters: A `CallFilters`.
        count: How many of them are looked at, if there are so many.

    Returns:
        Stages whose rows are `{_id, oldest, calls}`: a value, the oldest of these calls that has
        it, and how many do. Index: _id_.

    Raises:
        UsageError: An argument is wrong.
    """
    news: dict[str, Any] = {field: {"$gt": "", "$nin": checked_values("known", known)}}
    return [
        {"$match": {"$and": [condition(filters, after=after), news, _OURS]}},
        {"$sort": {"_id": -1}},
        {"$limit": count},
        {"$group": {"_id": f"${field}", "oldest": {"$min": "$_id"}, "calls": {"$sum": 1}}},
    ]


def first_calls(field: str, values: Collection[str], filters: Mapping[str, Any]) -> Pipeline:
    """Which is the first call that matches, of each of these values of a field?

    Args:
        field: `trace_id`, say.
        values: Of it.
        filters: A `CallFilters`.

    Returns:
        Stages whose rows are `{_id, first}`. Index: that of the field, which covers it where there
        is no filter.

    Raises:
        UsageError: An argument is wrong.
    """
    these = {field: {"$in": checked_values(field, values)}}
    return [
        {"$match": {"$and": [condition(filters), these, _OURS]}},
        {"$group": {"_id": f"${field}", "first": {"$min": "$_id"}}},
    ]


def began_last(field: str, limit: int, after: Id | None, filters: Mapping[str, Any]) -> Pipeline:
    """Which values of this field began last, of all calls that match?

    Args:
        field: `trace_id`, say.
        limit: How many values.
        after: Only values whose first call that matches is older than this one.
        filters: A `CallFilters`.

    Returns:
        Stages whose rows are `{_id, first}`, those that began last first. Index: that of the field;
        without a filter, of each value only its first entry is read.

    Raises:
        UsageError: An argument is wrong.
    """
    wanted = condition(filters)
    older = [] if after is None else [{"$match": {"first": {"$lt": id_text("after", after)}}}]
    group: Pipeline = [
        {"$match": {"$and": [wanted, {field: {"$gt": ""}}, _OURS]}},
        {"$group": {"_id": f"${field}", "first": {"$min": "$_id"}}},
    ]
    if not wanted:  # what else is of any time stands before ids that are texts, or after them
        group = [
            {"$match": {field: {"$gt": ""}}},
            {"$sort": {field: 1, "_id": 1}},
            {"$group": {"_id": f"${field}", "first": {"$first": "$_id"}}},
            {"$match": {"first": {"$gt": ""}}},
        ]
    # A list that a stranger stored is no value. A test of `_id` alone would be made of each call,
    # which has to be read for it.
    is_value: Pipeline = [{"$set": {"type": {"$type": "$_id"}}}, {"$match": {"type": "string"}}]
    return [*group, *is_value, *older, {"$sort": {"first": -1}}, {"$limit": limit}]


def trace_summaries(trace_ids: Collection[str]) -> Pipeline:
    """What was each of these traces, what did it use and cost, and which tasks was it of?

    Args:
        trace_ids: str.

    Returns:
        Stages whose rows are `{trace_id, root_id, call_type, model, user_id, asked, started_at,
        ended_at, duration_ms, calls, successes, failures, abandoned, cancelled, incomplete,
        pending, total_tokens, estimated_cost, calls_without_cost, tasks, task_names, retries}` (see
        `TraceSummary`). The root is the first call without a parent, or the first one; of the names
        of tasks there are at most 20. Index: trace_id_newest.

    Raises:
        UsageError: They are too many.
    """
    later = is_known("$parent_call_id")
    root = {
        "later": later,
        "id": "$_id",
        **{name: f"${name}" for name in ("call_type", "model", "user_id")},
        "asked": if_(later, None, asked()),
    }
    shown = ("id", "call_type", "model", "user_id", "asked")
    return [
        {"$match": {"trace_id": {"$in": checked_values("trace_ids", trace_ids)}}},
        {
            "$group": {
                "_id": "$trace_id",
                "root": {"$min": root},
                "started_at": {"$min": _date("$created_at")},
                "ended_at": {"$max": {"$max": [_date("$created_at"), _date("$completed_at")]}},
                **outcomes(),
                "total_tokens": total("total_tokens"),
                **costs(),
                "task_ids": {"$addToSet": "$task_id"},
                "task_names": {"$addToSet": "$task.name"},
                "retries": {"$max": "$task.retries"},
            }
        },
        {
            "$set": {
                "trace_id": "$_id",
                **{"root_id" if name == "id" else name: f"$root.{name}" for name in shown},
                "duration_ms": {"$subtract": ["$ended_at", "$started_at"]},
                "tasks": {"$size": "$task_ids"},
                "task_names": {
                    "$slice": [{"$sortArray": {"input": "$task_names", "sortBy": 1}}, NAMES_MAX]
                },
            }
        },
        {"$unset": ["_id", "root", "task_ids"]},
        {"$sort": {"trace_id": 1}},
    ]


def session_summaries(session_ids: Collection[str]) -> Pipeline:
    """What was each of these sessions, whose, what was said last, and what did it cost?

    Args:
        session_ids: str.

    Returns:
        Stages whose rows are `{session_id, user_id, company_id, last_id, asked, answered,
        started_at, ended_at, calls, successes, failures, abandoned, cancelled, incomplete, pending,
        total_tokens, estimated_cost, calls_without_cost}` (see `SessionSummary`). The user, the
        company and what was said are of its last call. Index: session_id_newest.

    Raises:
        UsageError: They are too many.
    """
    last = {
        "last_id": "$_id",
        **{name: f"${name}" for name in ("user_id", "company_id")},
        "asked": asked(),
        "answered": answered(),
    }
    return [
        {"$match": {"session_id": {"$in": checked_values("session_ids", session_ids)}}},
        {
            "$group": {
                "_id": "$session_id",
                "last": {"$max": last},
                "started_at": {"$min": _date("$created_at")},
                "ended_at": {"$max": {"$max": [_date("$created_at"), _date("$completed_at")]}},
                **outcomes(),
                "total_tokens": total("total_tokens"),
                **costs(),
            }
        },
        {"$set": {"session_id": "$_id", **{name: f"$last.{name}" for name in last}}},
        {"$unset": ["_id", "last"]},
        {"$sort": {"session_id": 1}},
    ]


def _date(field: str) -> dict[str, Any]:
    """Return the expression for a field that makes everything but a date null."""
    return if_({"$eq": [{"$type": field}, "date"]}, field, None)
