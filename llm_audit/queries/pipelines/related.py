"""Which calls belong together: those of a trace, of a session, of a task, of a canvas."""

from typing import Any

from llm_audit.call import SAID
from llm_audit.ids import Id, id_text
from llm_audit.queries.filters import checked_limit, condition
from llm_audit.queries.pipelines.stages import Pipeline

_IN_A_TREE = (
    *("parent_call_id", "call_type", "status", "provider", "model", "task_id", "tools_called"),
    *("prompt_tokens", "completion_tokens", "total_tokens", "estimated_cost", "latency_ms"),
    *("error_type", "ended_by", "created_at", "completed_at"),
)
_IN_A_CONVERSATION = (
    *SAID,
    *("response_id", "finish_reason", "call_type", "status", "provider", "model"),
    *("trace_id", "task_id"),
    *("error_type", "error_message", "ended_by"),
    *("total_tokens", "estimated_cost", "latency_ms", "created_at", "completed_at"),
)


def calls_by_trace(trace_id: Id) -> Pipeline:
    """Which calls made up this trace, oldest first?

    Args:
        trace_id: str, UUID or int.

    Returns:
        Stages whose rows are whole calls. Index: trace_id_newest.

    Raises:
        UsageError: trace_id is something else.
    """
    return _oldest_first("trace_id", trace_id)


def calls_by_task(task_id: Id) -> Pipeline:
    """Which calls did this Celery task make, in all its attempts, oldest first?

    Args:
        task_id: str, UUID or int.

    Returns:
        Stages whose rows are whole calls. Index: task_id_newest.

    Raises:
        UsageError: task_id is something else.
    """
    return _oldest_first("task_id", task_id)


def workflow(workflow_id: Id) -> Pipeline:
    """Which calls did this Celery canvas make, in all its tasks and their attempts, oldest first?

    Args:
        workflow_id: The id of the canvas' first task (its root), of a group in it, or the trace's;
            str, UUID or int.

    Returns:
        Stages whose rows are whole calls. Indexes: task.root_id_newest, task.group_id_newest and
        trace_id_newest, merged.

    Raises:
        UsageError: workflow_id is something else.
    """
    wanted = id_text("workflow_id", workflow_id)
    return [{"$match": condition({"workflow_id": wanted})}, {"$sort": {"_id": 1}}]


def trace_tree(trace_id: Id, *, limit: int | None = None) -> Pipeline:
    """Who called whom in this trace, and what did each call take?

    Args:
        trace_id: str, UUID or int.
        limit: How many calls at the most, the oldest ones; None for all.

    Returns:
        Stages whose rows are calls without what was said, oldest first, for `build_trace_tree`
        (see `TraceCall`). Index: trace_id_newest.

    Raises:
        UsageError: trace_id is something else, or limit is none.
    """
    shown: dict[str, Any] = {
        "_id": 0,
        "id": "$_id",
        "task_name": "$task.name",
        **{name: f"$task.{name}" for name in ("retries", "redelivered", "attempt_id")},
        **dict.fromkeys(_IN_A_TREE, 1),
    }
    checked_limit(limit)
    oldest: Pipeline = [] if limit is None else [{"$limit": limit}]
    return [*calls_by_trace(trace_id), *oldest, {"$project": shown}]


def session(session_id: Id) -> Pipeline:
    """What was said in this session, by whom?

    Args:
        session_id: str, UUID or int.

    Returns:
        Stages whose rows are calls with request and answer, but without tool definitions and
        other parameters, oldest first, for `build_conversation`. Index: session_id_newest.

    Raises:
        UsageError: session_id is something else.
    """
    shown: dict[str, Any] = {
        "previous_response_id": "$request_params.previous_response_id",
        **dict.fromkeys(_IN_A_CONVERSATION, 1),
    }
    return [*_oldest_first("session_id", session_id), {"$project": shown}]


def _oldest_first(field: str, wanted: Id) -> Pipeline:
    return [{"$match": {field: id_text(field, wanted)}}, {"$sort": {"_id": 1}}]
