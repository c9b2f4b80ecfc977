"""What fails, and why."""

from typing import Any, Unpack

from llm_audit.call import LLMCallStatusEnum
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import or_null
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    calls_if,
    failed,
    failure_rate,
    if_,
    judged,
    matching,
    share,
)

SAMPLE_MAX_CHARACTERS = 500

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
        failure_rate, cancelled, incomplete, pending, groups: [{status, error_type, ended_by,
        model, task_name, count, rate, first_seen, last_seen, sample_id, sample_message}]}`, most
        frequent group first (see `FailureSummary`). A group's rate is its share of the successes
        and failures of the same model and task. Index: that of a filter's field, else _id for
        dates, else none.
    """
    message = {"$substrCP": ["$error_message", 0, SAMPLE_MAX_CHARACTERS]}
    is_text = {"$eq": [{"$type": "$error_message"}, "string"]}
    return [
        *matching(filters),
        {
            "$group": {
                "_id": {name: or_null(field) for name, field in _KIND.items()},
                "calls": {"$sum": 1},
                "first_seen": {"$min": "$created_at"},
                "last_seen": {"$max": "$created_at"},
                # documents compare by their first field, so this is the newest call's message
                "newest": {"$max": {"id": "$_id", "message": if_(is_text, message, None)}},
            }
        },
        {
            "$setWindowFields": {
                "partitionBy": {"model": "$_id.model", "task_name": "$_id.task_name"},
                "output": {"judged": calls_if(judged("$_id.status"))},
            }
        },
        {"$sort": {"calls": -1, "newest.id": -1}},
        _outcomes(),
        {"$set": {"failure_rate": failure_rate()}},
        {"$unset": "_id"},
    ]


def _outcomes() -> dict[str, Any]:
    """Return the stage that makes one document of all kinds of ends."""
    failure = {
        **{name: f"$_id.{name}" for name in _KIND},
        "count": "$calls",
        "rate": share("$calls", "$judged"),
        "first_seen": "$first_seen",
        "last_seen": "$last_seen",
        "sample_id": "$newest.id",
        "sample_message": "$newest.message",
    }
    neither = {
        status.lower(): calls_if({"$eq": ["$_id.status", status]})
        for status in ("CANCELLED", "INCOMPLETE", "PENDING")
    }
    return {
        "$group": {
            "_id": None,
            "calls": {"$sum": "$calls"},
            "successes": calls_if({"$eq": ["$_id.status", LLMCallStatusEnum.SUCCESS.value]}),
            "failures": calls_if(failed("$_id.status")),
            **neither,
            "groups": {"$push": if_(failed("$_id.status"), failure, "$$REMOVE")},
        }
    }
