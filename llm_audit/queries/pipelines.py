"""The queries as aggregation pipelines: pure functions that return the list of stages.

They need nothing but a collection: `collection.aggregate(pipelines.tool_usage(...))` with PyMongo,
`await` before it with PyMongo Async, Motor as you are used to it. The stages are plain JSON, so
`json.dumps(pipelines.tool_usage())` can be pasted into mongosh. `**filters` are those of
`CallFilters`. MongoDB 6.0 and later.

In every rate, failures are ERROR, TIMEOUT and ABANDONED, and a rate is failures / (successes +
failures): CANCELLED, INCOMPLETE and PENDING calls are on neither side.
"""

from collections.abc import Mapping
from typing import Any, Unpack

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum
from llm_audit.queries import grouping
from llm_audit.queries.filters import CallFilters, Id, condition, id_text
from llm_audit.queries.grouping import GroupBy, or_null

Pipeline = list[dict[str, Any]]

PERCENTILES = (50, 90, 95, 99)
BUCKETS_PER_E = 200  # latencies in one bucket differ by less than 0.51 %
SAMPLE_MAX_CHARACTERS = 500

_KIND = {
    "status": "$status",
    "error_type": "$error_type",
    "ended_by": "$ended_by",
    "model": "$model",
    "task_name": "$task.name",
}


def calls_by_trace(trace_id: Id) -> Pipeline:
    """Which calls made up this trace, oldest first?

    Args:
        trace_id: str, UUID or int.

    Returns:
        Stages whose rows are whole calls. Index: trace_id_newest, read backwards.
    """
    return [{"$match": {"trace_id": id_text("trace_id", trace_id)}}, {"$sort": {"_id": 1}}]


def calls_by_task(task_id: Id) -> Pipeline:
    """Which calls did this Celery task make, in all its attempts, oldest first?

    Args:
        task_id: str, UUID or int.

    Returns:
        Stages whose rows are whole calls. Index: task_id_newest, read backwards.
    """
    return [{"$match": {"task_id": id_text("task_id", task_id)}}, {"$sort": {"_id": 1}}]


def tool_usage(**filters: Unpack[CallFilters]) -> Pipeline:
    """Which tools do models ask for, how often, and what do the calls that ask for them cost?

    A call that asks for two tools counts, with its whole cost, for both.

    Args:
        **filters: With `tool`, only the rows of those tools are given.

    Returns:
        Stages whose rows are `{tool, calls, llm_calls, traces, failures, failure_rate,
        estimated_cost, calls_without_cost}`, most often asked for first (see `ToolUsage`).
        Index: that of a filter's field, else _id for dates, else tools_called_newest.
    """
    wanted = condition(filters)
    tools = wanted.get("tools_called")
    times = {"$size": {"$filter": {"input": "$tools_called", "cond": {"$eq": ["$$this", "$tool"]}}}}
    summed = ("calls", "llm_calls", "failures", "judged", "estimated_cost", "calls_without_cost")
    return [
        {"$match": wanted if tools else wanted | {"tools_called": {"$exists": True}}},
        {"$set": {"tool": {"$setUnion": "$tools_called"}}},
        {"$unwind": "$tool"},
        *([{"$match": {"tool": tools}}] if tools else []),
        {
            "$group": {
                "_id": {"tool": "$tool", "trace_id": "$trace_id"},
                "calls": {"$sum": times},
                "llm_calls": {"$sum": 1},
                "failures": _count_if(_failed("$status")),
                "judged": _count_if(_judged("$status")),
                **_costs(),
            }
        },
        {
            "$group": {
                "_id": "$_id.tool",
                "traces": _count_if(_is_known("$_id.trace_id")),
                **{name: {"$sum": f"${name}"} for name in summed},
            }
        },
        {"$set": {"tool": "$_id", "failure_rate": _share("$failures", "$judged")}},
        {"$unset": ["_id", "judged"]},
        {"$sort": {"calls": -1, "tool": 1}},
    ]


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
        *_match(filters),
        {
            "$group": {
                "_id": {name: or_null(field) for name, field in _KIND.items()},
                "calls": {"$sum": 1},
                "first_seen": {"$min": "$created_at"},
                "last_seen": {"$max": "$created_at"},
                # documents compare by their first field, so this is the newest call's message
                "newest": {"$max": {"id": "$_id", "message": _if(is_text, message, None)}},
            }
        },
        {
            "$setWindowFields": {
                "partitionBy": {"model": "$_id.model", "task_name": "$_id.task_name"},
                "output": {"judged": _calls_if(_judged("$_id.status"))},
            }
        },
        {"$sort": {"calls": -1, "newest.id": -1}},
        _outcomes(),
        {"$set": {"failure_rate": _share("$failures", {"$add": ["$successes", "$failures"]})}},
        {"$unset": "_id"},
    ]


def cost_summary(group_by: GroupBy = "model", **filters: Unpack[CallFilters]) -> Pipeline:
    """What did the calls of each model, user, day ... use and cost?

    Failed and running calls count too: what they cost is in, where it is known.

    Args:
        group_by: A field; `tag` counts a call once for each of its tags; `day` and `hour` are UTC.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{group, calls, prompt_tokens, completion_tokens, total_tokens,
        cached_tokens, estimated_cost, calls_without_cost}`, dearest first, `day` and `hour`
        oldest first (see `CostSummary`). Index: that of a filter's field, else _id for dates, else
        none.
    """
    tokens = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
    return [
        *_match(filters),
        *grouping.unwound(group_by),
        {
            "$group": {
                "_id": grouping.key(group_by),
                "calls": {"$sum": 1},
                **{name: {"$sum": f"${name}"} for name in tokens},
                **_costs(),
            }
        },
        *grouping.named_and_sorted(group_by, {"estimated_cost": -1}),
    ]


def latency_summary(group_by: GroupBy = "model", **filters: Unpack[CallFilters]) -> Pipeline:
    """How long do the calls of each model, task, day ... take?

    Every call with a latency counts, however it ended; `status="SUCCESS"` leaves out the others.
    A percentile p is the smallest latency that p % of the calls do not exceed, at most 0.51 % too
    high: latencies are counted in narrow buckets, so that memory is bounded for any number of
    calls and MongoDB 6.0 will do, which has no `$percentile`.

    Args:
        group_by: A field; `tag` counts a call once for each of its tags; `day` and `hour` are UTC.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{group, calls, p50, p90, p95, p99}` in milliseconds, slowest p95
        first, `day` and `hour` oldest first (see `LatencySummary`). Index: that of a filter's
        field, else _id for dates, else none.
    """
    logarithm = {"$ln": {"$max": ["$latency_ms", 0.001]}}
    so_far: dict[str, Any] = {"$sum": "$calls", "window": {"documents": ["unbounded", "current"]}}
    return [
        *_match(filters, {"latency_ms": {"$gte": 0}}),
        *grouping.unwound(group_by),
        {
            "$group": {
                "_id": {
                    "group": grouping.key(group_by),
                    "bucket": {"$floor": {"$multiply": [BUCKETS_PER_E, logarithm]}},
                },
                "calls": {"$sum": 1},
                "latency_ms": {"$max": "$latency_ms"},
            }
        },
        {
            "$setWindowFields": {
                "partitionBy": "$_id.group",
                "sortBy": {"_id.bucket": 1},
                "output": {"so_far": so_far, "total": {"$sum": "$calls"}},
            }
        },
        {
            "$group": {
                "_id": "$_id.group",
                "calls": {"$sum": "$calls"},
                **{f"p{p}": {"$min": _if(_reaches(p), "$latency_ms", None)} for p in PERCENTILES},
            }
        },
        *grouping.named_and_sorted(group_by, {"p95": -1}),
    ]


def _match(filters: Mapping[str, Any], more: dict[str, Any] | None = None) -> Pipeline:
    matched = condition(filters) | (more or {})
    return [{"$match": matched}] if matched else []


def _outcomes() -> dict[str, Any]:
    """Return the stage that makes one document of all kinds of ends."""
    failure = {
        **{name: f"$_id.{name}" for name in _KIND},
        "count": "$calls",
        "rate": _share("$calls", "$judged"),
        "first_seen": "$first_seen",
        "last_seen": "$last_seen",
        "sample_id": "$newest.id",
        "sample_message": "$newest.message",
    }
    neither = {
        status.lower(): _calls_if({"$eq": ["$_id.status", status]})
        for status in ("CANCELLED", "INCOMPLETE", "PENDING")
    }
    return {
        "$group": {
            "_id": None,
            "calls": {"$sum": "$calls"},
            "successes": _calls_if({"$eq": ["$_id.status", LLMCallStatusEnum.SUCCESS.value]}),
            "failures": _calls_if(_failed("$_id.status")),
            **neither,
            "groups": {"$push": _if(_failed("$_id.status"), failure, "$$REMOVE")},
        }
    }


def _costs() -> dict[str, Any]:
    return {
        "estimated_cost": {"$sum": "$estimated_cost"},
        "calls_without_cost": _count_if({"$not": _is_known("$estimated_cost")}),
    }


def _reaches(percentile: int) -> dict[str, Any]:
    share = {"$multiply": ["$so_far", 100]}
    return {"$gte": [share, {"$multiply": ["$total", percentile]}]}


def _share(part: Any, whole: Any) -> dict[str, Any]:
    return _if({"$gt": [whole, 0]}, {"$divide": [part, whole]}, None)


def _count_if(test: dict[str, Any]) -> dict[str, Any]:
    return {"$sum": _if(test, 1, 0)}


def _calls_if(test: dict[str, Any]) -> dict[str, Any]:
    return {"$sum": _if(test, "$calls", 0)}


def _if(test: dict[str, Any], then: Any, otherwise: Any) -> dict[str, Any]:
    return {"$cond": [test, then, otherwise]}


def _failed(status: str) -> dict[str, Any]:
    return {"$in": [status, [failure.value for failure in FAILURE_STATUSES]]}


def _judged(status: str) -> dict[str, Any]:
    """Return the test for what a rate is measured against: a success or a failure."""
    return {"$or": [{"$eq": [status, LLMCallStatusEnum.SUCCESS.value]}, _failed(status)]}


def _is_known(field: str) -> dict[str, Any]:
    return {"$gt": [field, None]}  # every value sorts after null, and null after a missing field
