"""What fails, and why."""

from collections.abc import Sequence
from typing import Any, Unpack

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum
from llm_audit.ids import Id, id_text
from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters, checked_values, condition
from llm_audit.queries.grouping import Bucket, or_null
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    count_if,
    failed,
    failure_rate,
    if_,
    judged,
    matching,
    other_outcomes,
    outcomes,
    share,
)

NEWEST_FAILURES = 5_000  # of which messages are read
MESSAGE_CHARACTERS = 300
MOST_GROUPS = 1000  # a document has 16 MB

_KIND = {
    "status": "$status",
    "error_type": "$error_type",
    "ended_by": "$ended_by",
    "model": "$model",
    "task_name": "$task.name",
}


def failure_summary(**filters: Unpack[CallFilters]) -> Pipeline:
    """What fails, why, how often, in which model and task, since when?

    Args:
        **filters: `status` would take away the successes that a rate is measured against.

    Returns:
        Stages that give one document, none if no call matches: `{calls, successes, failures,
        failure_rate, cancelled, incomplete, pending, other, kinds, groups: [{status, error_type,
        ended_by, model, task_name, count, rate, first_seen, last_seen, sample_id}]}`, most frequent
        group first (see `FailureSummary`). A group's rate is its share of the successes and
        failures of the same model and task. Index: that of a filter's field, else summed_up, which
        covers it; what the samples say is in `error_messages`.

    Raises:
        UsageError: An argument is wrong.
    """
    return [
        *matching(filters),
        {
            "$group": {
                "_id": dict(_KIND),
                "calls": {"$sum": 1},
                "first_seen": {"$min": "$created_at"},
                "last_seen": {"$max": "$created_at"},
                "sample_id": {"$max": "$_id"},
            }
        },
        # that a missing field is like null would be expensive to say for every call
        {
            "$group": {
                "_id": {name: or_null(f"$_id.{name}") for name in _KIND},
                "calls": {"$sum": "$calls"},
                "first_seen": {"$min": "$first_seen"},
                "last_seen": {"$max": "$last_seen"},
                "sample_id": {"$max": "$sample_id"},
            }
        },
        {
            "$setWindowFields": {
                "partitionBy": {"model": "$_id.model", "task_name": "$_id.task_name"},
                "output": {"judged": count_if(judged("$_id.status"), "$calls")},
            }
        },
        {"$sort": {"calls": -1, "sample_id": -1}},
        _summary(),
        {
            "$set": {
                "failure_rate": failure_rate(),
                "other": other_outcomes(),
                "kinds": {"$size": "$groups"},
                "groups": {"$slice": ["$groups", MOST_GROUPS]},
            }
        },
        {"$unset": "_id"},
    ]


def failures_over_time(
    bucket: Bucket = "day", *, timezone: str = grouping.UTC, **filters: Unpack[CallFilters]
) -> Pipeline:
    """How often did each kind of failure come each day?

    Args:
        bucket: `hour`, `day`, `week` (from Monday) or `month`.
        timezone: Whose hours and days, an IANA name or an offset.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{bucket, status, error_type, ended_by, model, task_name, count}`,
        oldest first (see `FailureCount`). Index: that of a filter's field, else summed_up,
        which covers it.

    Raises:
        UsageError: An argument is wrong.
    """
    grouping.checked_bucket(bucket)
    key = {name: or_null(field) for name, field in _KIND.items()}
    # of statuses that are named, MongoDB would take the index: see `matching`
    others = [status.value for status in LLMCallStatusEnum if status not in FAILURE_STATUSES]
    return [
        *matching(filters),
        {"$match": {"status": {"$nin": others}}},
        {
            "$group": {
                "_id": {**key, "at": grouping.key(bucket, timezone)},
                "count": {"$sum": 1},
            }
        },
        {"$match": {"_id.status": {"$in": [status.value for status in FAILURE_STATUSES]}}},
        {"$sort": {"_id.at": 1, "count": -1, **{f"_id.{name}": 1 for name in _KIND}}},
        {
            "$project": {
                "_id": 0,
                "count": 1,
                "bucket": grouping.label("$_id.at", bucket, timezone),
                **{name: f"$_id.{name}" for name in _KIND},
            }
        },
    ]


def failure_messages(**filters: Unpack[CallFilters]) -> Pipeline:
    """What do failures say?

    Args:
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{id, created_at, error_type, error_message}`, of the newest 5,000
        failures with a message, newest first; of a message at most 300 characters. Index: that of a
        filter's field, else status_newest.

    Raises:
        UsageError: An argument is wrong.
    """
    failed_ones = [status.value for status in FAILURE_STATUSES]
    beginning = {"$substrCP": ["$error_message", 0, MESSAGE_CHARACTERS]}
    is_text = {"$eq": [{"$type": "$error_message"}, "string"]}  # a list with a text in it matches
    return [
        {
            "$match": {
                "$and": [
                    condition(filters),
                    {"status": {"$in": sorted(failed_ones)}, "error_message": {"$type": "string"}},
                ]
            }
        },
        {"$sort": {"_id": -1}},
        {"$limit": NEWEST_FAILURES},
        {
            "$project": {
                "_id": 0,
                "id": "$_id",
                "created_at": 1,
                "error_type": 1,
                "error_message": if_(is_text, beginning, None),
            }
        },
    ]


def error_messages(call_ids: Sequence[Id]) -> Pipeline:
    """What did these calls fail with?

    Args:
        call_ids: Such as the `sample_id` of each group of a `failure_summary`.

    Returns:
        Stages whose rows are `{id, error_message}`, of the calls that have one. Index: _id.

    Raises:
        UsageError: A call_id is no str, UUID or int; or they are too many.
    """
    wanted = checked_values("call_ids", [id_text("call_ids", call_id) for call_id in call_ids])
    return [
        {"$match": {"_id": {"$in": wanted}, "error_message": {"$type": "string"}}},
        {"$project": {"_id": 0, "id": "$_id", "error_message": 1}},
    ]


def _summary() -> dict[str, Any]:
    """Return the stage that makes one document of all kinds of ends."""
    failure = {
        **{name: f"$_id.{name}" for name in _KIND},
        "count": "$calls",
        "rate": share("$calls", "$judged"),
        "first_seen": "$first_seen",
        "last_seen": "$last_seen",
        "sample_id": "$sample_id",
    }
    sums = outcomes("$_id.status", "$calls")
    del sums["abandoned"]  # the groups tell them apart from other failures
    return {
        "$group": {
            "_id": None,
            **sums,
            "groups": {"$push": if_(failed("$_id.status"), failure, "$$REMOVE")},
        }
    }
