"""What several pipelines are made of: stages, accumulators and expressions."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum
from llm_audit.queries.filters import condition

Pipeline = list[dict[str, Any]]

TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
TOOLS_MAX = 200  # different ones that count, of those that one call asks for
_LARGEST = 1e100  # beyond that, sums would become infinite


def matching(filters: Mapping[str, Any], more: dict[str, Any] | None = None) -> Pipeline:
    """Return the stage that selects what the filters and one more condition select, for a sum.

    It is worded so that MongoDB takes the index summed_up, and does not read every call for want of
    a better one. That index begins with `_id`, so there is a condition on it: every id is greater
    than "". And most calls succeed, so these are said to have no other status: of a status that is
    named, MongoDB would take the index. A status that only a later version knows is taken with
    SUCCESS.
    """
    matched = {"_id": {"$gt": ""}} | condition(filters)
    statuses = matched.get("status")
    if isinstance(statuses, str):
        statuses = {"$in": [statuses]}
    if statuses and LLMCallStatusEnum.SUCCESS in _named(statuses):
        wanted = set(_named(statuses)) - set(statuses.get("$nin", ()))
        others = [status.value for status in LLMCallStatusEnum if status not in wanted]
        matched["status"] = {"$nin": others}
    more = more or {}
    together = {"$and": [matched, more]} if matched.keys() & more.keys() else matched | more
    return [{"$match": together}]


def _named(statuses: Mapping[str, Any]) -> list[str]:
    """Return the statuses that a condition asks for, whatever it leaves out of them."""
    return [statuses["$eq"]] if "$eq" in statuses else list(statuses.get("$in", ()))


def per_tool(matched: dict[str, Any]) -> Pipeline:
    """Return the stages that make a call one document for each `tool` that it asks for.

    Each of them is looked for in all of the call's names, so there is a bound to them.
    """
    different = {"$setUnion": [list_in("$tools_called")]}
    return [
        {"$match": matched},
        {"$set": {"tool": {"$slice": [different, TOOLS_MAX]}}},
        {"$unwind": "$tool"},
    ]


def tokens() -> dict[str, Any]:
    """Return the accumulators of the tokens that are known."""
    return {name: total(name) for name in TOKENS}


def costs() -> dict[str, Any]:
    """Return the accumulators of what is known of costs, and of how many calls nothing is."""
    return {
        "estimated_cost": total("estimated_cost"),
        "calls_without_cost": count_if({"$not": is_number("$estimated_cost")}),
    }


def total(name: str) -> dict[str, Any]:
    """Return the accumulator of a figure, which leaves out what is no number."""
    return {"$sum": if_(is_number(f"${name}"), f"${name}", 0)}


def summed_up(
    key: Mapping[str, Any], then_by: Any, first: Mapping[str, Any] | None = None, **more: Any
) -> Pipeline:
    """Return the stages that add up calls, tokens and costs.

    They add up twice, because a test for every call costs more than a group for each of its
    results: first by a key that also tells whether a cost is known and every figure readable, then
    by what is wanted.

    Args:
        key: The parts of the first key; the second stage finds them in `$_id`.
        then_by: The expression for the second key.
        first: Further accumulators of the first stage.
        **more: Further accumulators of the second stage, over `$calls`.
    """
    names = (*TOKENS, "estimated_cost")
    test = {"has_cost": is_known("$estimated_cost"), "unreadable": _is_no_number(names)}
    unknown = {"$or": ["$_id.unreadable", {"$not": "$_id.has_cost"}]}
    return [
        {
            "$group": {
                "_id": {**key, **test},
                "calls": {"$sum": 1},
                **{name: {"$sum": f"${name}"} for name in names},
                **(first or {}),
            }
        },
        {
            "$group": {
                "_id": then_by,
                "calls": {"$sum": "$calls"},
                **more,
                **{name: {"$sum": if_("$_id.unreadable", 0, f"${name}")} for name in names},
                "calls_without_cost": count_if(unknown, "$calls"),
                "unreadable_calls": count_if("$_id.unreadable", "$calls"),
            }
        },
    ]


def _is_no_number(names: Iterable[str]) -> dict[str, Any]:
    """Return the test for a call with a figure that is there and no number, or none to add up."""
    fields = [f"${name}" for name in names]
    # MongoDB's order: missing, null, not a number, numbers, everything else
    return {
        "$or": [
            {"$gt": [{"$max": [0, *fields]}, _LARGEST]},
            {"$lt": [{"$min": [0, *fields]}, -_LARGEST]},
        ]
    }


def outcomes(status: str = "$status", calls: int | str = 1) -> dict[str, Any]:
    """Return the accumulators of how many calls there were, and of how they ended.

    Args:
        status: The field that tells it.
        calls: How many calls a document stands for.
    """
    apart = ("ABANDONED", "CANCELLED", "INCOMPLETE", "PENDING")
    return {
        "calls": {"$sum": calls},
        "successes": count_if(is_status(status, LLMCallStatusEnum.SUCCESS), calls),
        "failures": count_if(failed(status), calls),
        **{
            name.lower(): count_if(is_status(status, LLMCallStatusEnum(name)), calls)
            for name in apart
        },
    }


def other_outcomes() -> dict[str, Any]:
    """Return the expression for how many calls `outcomes` counts nowhere: of another status."""
    names = ("successes", "failures", "cancelled", "incomplete", "pending")
    return {"$subtract": ["$calls", {"$add": [f"${name}" for name in names]}]}


def failure_rate() -> dict[str, Any]:
    """Return the expression for the share of failures among successes and failures."""
    return share("$failures", {"$add": ["$successes", "$failures"]})


def share(part: Any, whole: Any) -> dict[str, Any]:
    """Return the expression for a share, null where there is no whole."""
    return if_({"$gt": [whole, 0]}, {"$divide": [part, whole]}, None)


def count_if(test: dict[str, Any] | str, calls: int | str = 1) -> dict[str, Any]:
    """Return the accumulator that counts the calls which pass a test.

    Args:
        test: An expression.
        calls: How many calls a document stands for.
    """
    return {"$sum": if_(test, calls, 0)}


def if_(test: dict[str, Any] | str, then: Any, otherwise: Any) -> dict[str, Any]:
    """Return the expression that chooses by a test."""
    return {"$cond": [test, then, otherwise]}


def is_status(field: str, status: LLMCallStatusEnum) -> dict[str, Any]:
    """Return the test for one status."""
    return {"$eq": [field, status.value]}


def failed(status: str) -> dict[str, Any]:
    """Return the test for a failure."""
    return _is_any(status, FAILURE_STATUSES)


def judged(status: str) -> dict[str, Any]:
    """Return the test for what a rate is measured against: a success or a failure."""
    return _is_any(status, (LLMCallStatusEnum.SUCCESS, *FAILURE_STATUSES))


def _is_any(field: str, statuses: Iterable[LLMCallStatusEnum]) -> dict[str, Any]:
    return {"$in": [field, [status.value for status in statuses]]}


def is_known(field: str) -> dict[str, Any]:
    """Return the test for a field that is there and not null."""
    return {"$gt": [field, None]}  # every value sorts after null, and null after a missing field


def is_number(field: str) -> dict[str, Any]:
    """Return the test for a number that can be added up."""
    return {"$and": [{"$gte": [field, -_LARGEST]}, {"$lte": [field, _LARGEST]}]}


def list_in(field: str) -> dict[str, Any]:
    """Return the expression for a field that makes everything but a list an empty one."""
    return if_({"$isArray": field}, field, [])


def times_in(names: str) -> dict[str, Any]:
    """Return the expression for how often `tool` is in a list of names."""
    this_tool = {"$eq": ["$$this", "$tool"]}
    return {"$size": {"$filter": {"input": list_in(names), "cond": this_tool}}}
