"""Celery's side of calls: by task name, by queue and worker, and attempt by attempt."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from llm_audit.ids import Id, id_text
from llm_audit.queries.filters import CallFilters, checked_values, condition
from llm_audit.queries.grouping import or_null, text_or_null
from llm_audit.queries.pipelines.latencies import LONGEST_MS, latency_bucket, reaches
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    costs,
    failure_rate,
    if_,
    is_number,
    matching,
    other_outcomes,
    outcomes,
    summed_up,
    total,
)

TASK_NAMES_MAX = 1_000
ATTEMPTS_MAX = 5_000
CALLS_OF_WORKERS_MAX = 50_000
_NO_BUCKET = -1e9  # of a call without a latency: below every other
_SUMS = ("total_tokens", "estimated_cost", "calls_without_cost", "unreadable_calls")
_END = ("status", "ended_by")
_PERCENTILES = (50, 95)
_OF_TASK = (
    *("attempt_id", "root_id", "parent_id", "group_id", "retries", "redelivered", "queue"),
    *("worker", "pid", "eager", "outer_task_id", "outer_attempt_id", "batch_size"),
)


def task_summary(**filters: Unpack[CallFilters]) -> Pipeline:
    """How many calls do the tasks of each name make, how do they end, how long do they take?

    Args:
        **filters: `status` would take away what a rate is measured against.

    Returns:
        Stages whose rows are `{task_name, calls, successes, failures, failure_rate, abandoned,
        cancelled, incomplete, pending, other, total_tokens, estimated_cost, calls_without_cost,
        unreadable_calls, p50, p95, last_seen, ends: [{status, ended_by, calls}]}`, most calls
        first, at most 1,000 names (see `TaskSummary`). Calls outside of tasks are left out. Index:
        that of a filter's field, else summed_up, which covers it.

    Raises:
        UsageError: An argument is wrong.
    """
    sums: dict[str, Any] = {name: {"$sum": f"${name}"} for name in _SUMS}
    percentiles: dict[str, Any] = {f"p{p}": {"$min": f"$p{p}"} for p in _PERCENTILES}
    end = {**{name: f"$_id.{name}" for name in _END}, "calls": "$calls"}
    return [
        *matching(filters),
        *_by_bucket(),
        *_with_percentiles(),
        {"$unwind": "$parts"},
        {
            "$group": {
                "_id": {"task": "$_id.task", **{name: f"$parts.{name}" for name in _END}},
                "calls": {"$sum": "$parts.calls"},
                "last_seen": {"$max": "$parts.last_seen"},
                **{name: {"$sum": f"$parts.{name}"} for name in _SUMS},
                **percentiles,
            }
        },
        {"$sort": {"calls": -1, "_id": 1}},
        {
            "$group": {
                "_id": "$_id.task",
                **outcomes("$_id.status", "$calls"),
                **sums,
                **percentiles,
                "last_seen": {"$max": "$last_seen"},
                "ends": {"$push": end},
            }
        },
        {"$set": {"task_name": "$_id", "failure_rate": failure_rate(), "other": other_outcomes()}},
        {"$unset": "_id"},
        {"$sort": {"calls": -1, "task_name": 1}},
        {"$limit": TASK_NAMES_MAX},
    ]


def worker_summary(**filters: Unpack[CallFilters]) -> Pipeline:
    """From which queues and in which workers do tasks make calls, and how do those end?

    No index tells it: the newest 50,000 calls are read.

    Args:
        **filters: `status` would take away what a rate is measured against.

    Returns:
        Stages whose rows are `{queue, worker, in_task, calls, successes, failures, failure_rate,
        abandoned, cancelled, incomplete, pending, other, first_seen, last_seen}`, most calls first
        (see `WorkerSummary`); those of calls outside of tasks say `in_task: false`, so that all
        calls that were read add up. Index: that of a filter's field, else _id.

    Raises:
        UsageError: An argument is wrong.
    """
    in_task = {"$eq": [{"$type": "$task"}, "object"]}
    return [
        {"$match": {"_id": {"$gt": ""}} | condition(filters)},
        {"$sort": {"_id": -1}},
        {"$limit": CALLS_OF_WORKERS_MAX},
        {
            "$group": {
                "_id": {
                    "queue": text_or_null("$task.queue"),
                    "worker": text_or_null("$task.worker"),
                    "in_task": in_task,
                },
                **outcomes(),
                "first_seen": {"$min": "$created_at"},
                "last_seen": {"$max": "$created_at"},
            }
        },
        {
            "$set": {
                **{name: f"$_id.{name}" for name in ("queue", "worker", "in_task")},
                "failure_rate": failure_rate(),
                "other": other_outcomes(),
            }
        },
        {"$sort": {"calls": -1, "_id": 1}},
        {"$unset": "_id"},
    ]


def task_attempts(task_ids: Sequence[Id]) -> Pipeline:
    """Which attempts did these Celery tasks take, where, and how did the calls of each end?

    Args:
        task_ids: Each str, UUID or int.

    Returns:
        Stages whose rows are attempts, oldest first, at most 5,000 (see `TaskAttempt`). Attempts
        without a call are not known. Index: task_id_newest.

    Raises:
        UsageError: An argument is wrong.
    """
    wanted = checked_values("task_ids", [id_text("task_ids", task_id) for task_id in task_ids])
    return _attempts({"task_id": {"$in": wanted}})


def workflow_attempts(workflow_id: Id) -> Pipeline:
    """Which tasks did this Celery canvas run, in which attempts, and how did the calls of each end?

    Args:
        workflow_id: The id of the canvas' first task (its root), of a group in it, or the trace's;
            str, UUID or int.

    Returns:
        Stages whose rows are attempts, oldest first, at most 5,000 (see `TaskAttempt`). Indexes:
        task.root_id_newest, task.group_id_newest and trace_id_newest, merged.

    Raises:
        UsageError: workflow_id is something else.
    """
    return _attempts(condition({"workflow_id": id_text("workflow_id", workflow_id)}))


def attempts_around(task_id: str, root_id: str | None, others: Sequence[str]) -> Pipeline:
    """Which attempts belong to a task's parent, root, or to the tasks that it started?

    Args:
        task_id: The task's.
        root_id: Of the canvas that it is in.
        others: The ids of its parent and so on.
    """
    related: list[dict[str, Any]] = [{"task.outer_task_id": task_id}]
    if others:
        related.append({"task_id": {"$in": list(others)}})
    if root_id is not None:
        related.append({"task.root_id": root_id, "task.parent_id": task_id})
    return _attempts({"$or": related})


def _attempts(matched: Mapping[str, Any]) -> Pipeline:
    """Return the stages that make attempts of the calls that match, oldest first.

    They add up twice: by how calls ended, and then by attempt.
    """
    names = ("total_tokens", "estimated_cost", "calls_without_cost")
    attempt = {"$ifNull": ["$task.attempt_id", "$task.retries", None]}
    of_task = {"task_id": "$task_id", "attempt": attempt}
    last = {"$ifNull": ["$completed_at", "$created_at"]}
    kept = {
        "task_name": "$task.name",
        **{name: f"$task.{name}" for name in _OF_TASK},
        **{name: f"${name}" for name in ("trace_id", "process_nonce", "host")},
    }
    end = {
        **{name: f"$_id.{name}" for name in ("status", "ended_by")},
        "calls": "$calls",
        "last_at": "$ended_at",
        "sample_id": "$last_call_id",
    }
    return [
        {"$match": dict(matched)},
        {
            "$group": {
                "_id": {**of_task, "status": "$status", "ended_by": or_null("$ended_by")},
                "calls": {"$sum": 1},
                "total_tokens": total("total_tokens"),
                **costs(),
                "started_at": {"$min": "$created_at"},
                "ended_at": {"$max": last},
                "first_call_id": {"$min": "$_id"},
                "last_call_id": {"$max": "$_id"},
                **{name: {"$max": path} for name, path in kept.items()},
            }
        },
        # no condition of the first stage, for which MongoDB might take the index of all tasks
        {"$match": {"$expr": {"$eq": [{"$type": "$_id.task_id"}, "string"]}}},
        {"$sort": {"first_call_id": 1}},
        {
            "$group": {
                "_id": {name: f"$_id.{name}" for name in of_task},
                "calls": {"$sum": "$calls"},
                **{name: {"$sum": f"${name}"} for name in names},
                "started_at": {"$min": "$started_at"},
                "ended_at": {"$max": "$ended_at"},
                "first_call_id": {"$min": "$first_call_id"},
                "last_call_id": {"$max": "$last_call_id"},
                **{name: {"$max": f"${name}"} for name in kept},
                "ends": {"$push": end},
            }
        },
        {"$sort": {"first_call_id": 1}},
        {"$limit": ATTEMPTS_MAX},
        {"$set": {"task_id": "$_id.task_id"}},
        {"$unset": "_id"},
    ]


def _by_bucket() -> Pipeline:
    """Return the stages that add up calls of each task's name by end and bucket of latency."""
    timed = {"$and": [{"$gte": ["$latency_ms", 0]}, {"$lt": ["$latency_ms", LONGEST_MS]}]}
    return summed_up(
        {
            "task": "$task.name",
            "status": "$status",
            "ended_by": "$ended_by",
            "bucket": if_(timed, latency_bucket(), _NO_BUCKET),
        },
        {
            "task": text_or_null("$_id.task"),
            "status": or_null("$_id.status"),
            "ended_by": text_or_null("$_id.ended_by"),
            "bucket": "$_id.bucket",
        },
        {"latency_ms": {"$max": "$latency_ms"}, "last_seen": {"$max": "$created_at"}},
        latency_ms={"$max": "$latency_ms"},
        last_seen={"$max": "$last_seen"},
    )


def _with_percentiles() -> Pipeline:
    """Return the stages that make one document of each bucket, with its parts by end."""
    end = {name: f"$_id.{name}" for name in _END}
    part = {**end, **{name: f"${name}" for name in ("calls", "last_seen", *_SUMS)}}
    so_far: dict[str, Any] = {"$sum": "$timed", "window": {"documents": ["unbounded", "current"]}}
    return [
        {"$match": {"_id.task": {"$type": "string"}}},
        {
            "$group": {
                "_id": {name: f"$_id.{name}" for name in ("task", "bucket")},
                "timed": {"$sum": if_({"$eq": ["$_id.bucket", _NO_BUCKET]}, 0, "$calls")},
                "latency_ms": {"$max": "$latency_ms"},
                "parts": {"$push": part},
            }
        },
        {
            "$setWindowFields": {
                "partitionBy": "$_id.task",
                "sortBy": {"_id.bucket": 1},
                "output": {"so_far": so_far, "total": {"$sum": "$timed"}},
            }
        },
        {"$set": {f"p{p}": if_(_is_percentile(p), "$latency_ms", None) for p in _PERCENTILES}},
    ]


def _is_percentile(percentile: int) -> dict[str, Any]:
    return {"$and": [{"$gt": ["$timed", 0]}, is_number("$latency_ms"), reaches(percentile)]}
