"""What becomes of the tools that models ask for."""

from typing import Unpack

from llm_audit.queries.filters import CallFilters, checked_limit, condition
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    costs,
    count_if,
    failed,
    is_known,
    judged,
    per_tool,
    share,
    times_in,
)


def tool_usage(**filters: Unpack[CallFilters]) -> Pipeline:
    """Which tools do models ask for, how often, and what do the calls that ask for them cost?

    A call that asks for two tools counts, with its whole cost, for both; of one that asks for more
    than 200 different ones, 200 count.

    Args:
        **filters: With `tool`, only the rows of those tools are given.

    Returns:
        Stages whose rows are `{tool, calls, llm_calls, traces, malformed_calls,
        argument_validity, failures, failure_rate, estimated_cost, calls_without_cost}`, most
        often asked for first (see `ToolUsage`). Malformed: the arguments are no JSON object.
        Index: that of a filter's field, else _id for dates, else tools_called_newest.

    Raises:
        UsageError: An argument is wrong.
    """
    wanted = condition(filters)
    tools = wanted.get("tools_called")
    summed = ("calls", "malformed_calls", "llm_calls", "failures", "judged")
    summed_costs = ("estimated_cost", "calls_without_cost")
    well_formed = {"$subtract": ["$calls", "$malformed_calls"]}
    return [
        *per_tool({"tools_called": {"$exists": True}} | wanted),
        *([{"$match": {"tool": tools}}] if tools else []),
        {
            "$group": {
                "_id": {"tool": "$tool", "trace_id": "$trace_id"},
                "calls": {"$sum": times_in("$tools_called")},
                # a rule that redacts may have left more of these than of those
                "malformed_calls": {
                    "$sum": {"$min": [times_in("$malformed_tool_calls"), times_in("$tools_called")]}
                },
                "llm_calls": {"$sum": 1},
                "failures": count_if(failed("$status")),
                "judged": count_if(judged("$status")),
                **costs(),
            }
        },
        {
            "$group": {
                "_id": "$_id.tool",
                "traces": count_if(is_known("$_id.trace_id")),
                **{name: {"$sum": f"${name}"} for name in (*summed, *summed_costs)},
            }
        },
        {
            "$set": {
                "tool": "$_id",
                "argument_validity": share(well_formed, "$calls"),
                "failure_rate": share("$failures", "$judged"),
            }
        },
        {"$unset": ["_id", "judged"]},
        {"$sort": {"calls": -1, "tool": 1}},
    ]


def tool_arguments(name: str, limit: int = 20, **filters: Unpack[CallFilters]) -> Pipeline:
    """With which arguments do models ask for a tool?

    Args:
        name: The tool's.
        limit: How many calls at the most, the newest ones.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are `{id, created_at, status, malformed_tool_calls, response_message,
        other_choices}`: the arguments are in the last two, as the API speaks. Index:
        tools_called_newest.

    Raises:
        UsageError: An argument is wrong.
    """
    checked_limit(limit)
    shown = ("created_at", "status", "malformed_tool_calls", "response_message", "other_choices")
    return [
        {"$match": {"$and": [condition({"tool": name}), condition(filters)]}},
        {"$sort": {"_id": -1}},
        {"$limit": limit},
        {"$project": {"_id": 0, "id": "$_id", **dict.fromkeys(shown, 1)}},
    ]
