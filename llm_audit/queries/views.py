"""Read-only views for everyone who asks MongoDB directly: Compass, Grafana, Metabase, mongosh.

A definition is a list of stages in plain JSON, like a pipeline; MongoDB 6.0 and later. No view
shows a body. As everywhere, failures are ERROR, TIMEOUT and ABANDONED, and a failure_rate is
failures / (successes + failures), null where there are none of either: PENDING, CANCELLED and
INCOMPLETE calls are counted apart, and `abandoned` says how many of the failures are ABANDONED.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from llm_audit.call import FAILURE_STATUSES, Kind, columns
from llm_audit.queries import grouping
from llm_audit.queries.grouping import GroupBy
from llm_audit.queries.pipelines.stages import (
    costs,
    count_if,
    failure_rate,
    if_,
    is_known,
    outcomes,
    per_tool,
    times_in,
    tokens,
)

Definition: TypeAlias = list[dict[str, Any]]

_PAID_FOR: tuple[GroupBy, ...] = (
    "provider",
    "model",
    "call_type",
    "task_name",
    "company_id",
    "environment",
    "service",
)


def v_calls() -> Definition:
    """Every call, without bodies.

    Returns:
        Stages whose rows have the fields of `LLMCall` of the kinds who, figure and label, under the
        same names, `task` with those of `TaskFields`; what another version of llm-audit recorded
        beyond these is not shown. Index: that of a filter's field; views_created_at for dates.
    """
    shown = columns(Kind.WHO, Kind.FIGURE, Kind.LABEL)
    return [{"$project": dict.fromkeys(("_id", *shown), 1)}]


def v_failures() -> Definition:
    """Every call that failed, without bodies.

    Returns:
        Stages whose rows are those of `v_calls` with the status ERROR, TIMEOUT or ABANDONED.
        Index: status_newest, or a filter's.
    """
    failed = {"$in": [status.value for status in FAILURE_STATUSES]}
    return [{"$match": {"status": failed}}, *v_calls()]


def v_tool_usage_daily() -> Definition:
    """How often did models ask for each tool on each day, and how did these calls end?

    A call that asks for two tools counts, with its whole cost, for both.

    Returns:
        Stages whose rows are `{day, tool, calls, llm_calls, traces, successes, failures, abandoned,
        cancelled, incomplete, pending, failure_rate, estimated_cost, calls_without_cost}`: `day` is
        a date, midnight in UTC, or null where a call has no `created_at`; `calls` counts repeats in
        a response, `llm_calls` and what follows do not. Index: tools_called_newest.
    """
    sums = outcomes() | costs()
    llm_calls = sums.pop("calls")
    summed = ("calls", "llm_calls", *sums)
    return [
        *per_tool({"tools_called": {"$exists": True}}),
        {
            "$group": {
                "_id": {
                    "day": grouping.key("day", grouping.UTC),
                    "tool": "$tool",
                    "trace_id": "$trace_id",
                },
                "calls": {"$sum": times_in("$tools_called")},
                "llm_calls": llm_calls,
                **sums,
            }
        },
        {
            "$group": {
                "_id": {"day": "$_id.day", "tool": "$_id.tool"},
                "traces": count_if(is_known("$_id.trace_id")),
                **{name: {"$sum": f"${name}"} for name in summed},
            }
        },
        _row(
            {"day": "$_id.day", "tool": "$_id.tool"},
            ("calls", "llm_calls", "traces", *sums),
        ),
    ]


def v_cost_daily() -> Definition:
    """What did the calls of each day use and cost, by model and by who asked for what?

    Failed and running calls count too: what they cost is in, where it is known.

    Returns:
        Stages whose rows are `{day, provider, model, call_type, task_name, company_id, environment,
        service, calls, successes, failures, abandoned, cancelled, incomplete, pending,
        failure_rate, prompt_tokens, completion_tokens, total_tokens, cached_tokens, estimated_cost,
        calls_without_cost}`: `day` as in `v_tool_usage_daily`; null stands for what a call does not
        have. All but the rate may be added up over rows. Index: none.
    """
    key = {name: grouping.key(name, grouping.UTC) for name in ("day", *_PAID_FOR)}
    sums = outcomes() | tokens() | costs()
    return [{"$group": {"_id": key, **sums}}, _row({n: f"$_id.{n}" for n in key}, sums)]


def v_sessions() -> Definition:
    """What happened in each session, and what did it cost?

    Returns:
        Stages whose rows are `{session_id, user_id, company_id, first_seen, last_seen, calls,
        successes, failures, abandoned, cancelled, incomplete, pending, failure_rate, prompt_tokens,
        completion_tokens, total_tokens, cached_tokens, estimated_cost, calls_without_cost}`:
        `first_seen` and `last_seen` are when its first and its last call started; where its calls
        name several users or companies, the greatest. Index: session_id_newest.
    """
    seen = {"first_seen": {"$min": "$created_at"}, "last_seen": {"$max": "$created_at"}}
    return _summed_up("session_id", ("user_id", "company_id"), seen)


def v_traces() -> Definition:
    """What happened in each trace, how long did it take, and what did it cost?

    Returns:
        Stages whose rows are `{trace_id, session_id, user_id, company_id, started_at, ended_at,
        duration_ms, calls, ...}`, then as in `v_sessions`: `ended_at` is when the last call of
        those that have ended did, `duration_ms` lies between the two, and both are null if none
        has. Index: trace_id_newest.
    """
    seen = {"started_at": {"$min": "$created_at"}, "ended_at": {"$max": "$completed_at"}}
    are_dates = [{"$eq": [{"$type": f"${name}"}, "date"]} for name in seen]
    length = {"$subtract": ["$ended_at", "$started_at"]}
    duration = {"duration_ms": if_({"$and": are_dates}, length, None)}
    return _summed_up("trace_id", ("session_id", "user_id", "company_id"), seen, duration)


VIEWS: dict[str, Callable[[], Definition]] = {
    view.__name__: view
    for view in (v_calls, v_failures, v_tool_usage_daily, v_cost_daily, v_sessions, v_traces)
}


def _summed_up(
    field: str,
    inherited: tuple[str, ...],
    seen: dict[str, Any],
    computed: dict[str, Any] | None = None,
) -> Definition:
    """Return the stages that make one row of the calls that share an id.

    The id alone is the key of the group: only then does MongoDB apply a filter on it before.
    """
    sums = outcomes() | tokens() | costs()
    more = {name: {"$max": f"${name}"} for name in inherited} | seen
    named = {field: "$_id"} | dict.fromkeys(more, 1) | (computed or {})
    return [
        {"$match": {field: {"$type": "string"}}},
        {"$group": {"_id": f"${field}", **more, **sums}},
        _row(named, sums),
    ]


def _row(named: dict[str, Any], sums: Any) -> dict[str, Any]:
    """Return the stage that names the columns of a row, in their order."""
    columns: dict[str, Any] = {"_id": 0, **named}
    for name in sums:
        columns[name] = 1
        if name == "pending":
            columns["failure_rate"] = failure_rate()
    return {"$project": columns}
