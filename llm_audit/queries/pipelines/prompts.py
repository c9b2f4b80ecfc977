"""What calls were told, compared: each system prompt with how its calls went."""

from typing import Any, Unpack

from llm_audit.queries.filters import CallFilters
from llm_audit.queries.instructions import instructions
from llm_audit.queries.pipelines.latencies import LONGEST_MS
from llm_audit.queries.pipelines.previews import beginning_of
from llm_audit.queries.pipelines.stages import (
    Pipeline,
    costs,
    failure_rate,
    if_,
    matching,
    outcomes,
    total,
)

NEWEST = 20_000  # calls that are looked at, as their prompts have to be read
MOST_PROMPTS = 200


def prompt_summary(**filters: Unpack[CallFilters]) -> Pipeline:
    """How did the calls of each system prompt go: what failed, how long did it take, at what cost?

    A prompt is the whole of `system_prompt`, or the content of a first message whose role is
    `system` or `developer`: one character makes another of it. The newest 20,000 calls that match
    are read.

    Args:
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are those of `PromptSummary`, at most 200, most calls first. Index: that
        of a filter's field, else `_id`; the calls themselves are read.

    Raises:
        UsageError: An argument is wrong.
    """
    in_time = {"$and": [{"$isNumber": "$latency_ms"}, {"$lt": ["$latency_ms", LONGEST_MS]}]}
    return [
        *matching(filters),
        {"$sort": {"_id": -1}},
        {"$limit": NEWEST},
        {
            "$group": {
                "_id": instructions(),
                **outcomes(),
                "total_tokens": total("total_tokens"),
                **costs(),
                "latencies": {"$push": if_(in_time, "$latency_ms", "$$REMOVE")},
                "first_seen": {"$min": "$created_at"},
                "last_seen": {"$max": "$created_at"},
                "first_id": {"$min": "$_id"},
                "last_id": {"$max": "$_id"},
            }
        },
        {"$sort": {"calls": -1, "last_id": -1}},
        {"$limit": MOST_PROMPTS},
        {"$set": {"latencies": {"$sortArray": {"input": "$latencies", "sortBy": 1}}}},
        {
            "$set": {
                "beginning": beginning_of("$_id"),
                "characters": if_({"$eq": [{"$type": "$_id"}, "string"]}, _length("$_id"), None),
                "failure_rate": failure_rate(),
                "p50": _percentile(50),
                "p95": _percentile(95),
            }
        },
        {"$unset": ["_id", "latencies"]},
    ]


def _length(text: str) -> dict[str, Any]:
    return {"$strLenCP": text}


def _percentile(percent: int) -> dict[str, Any]:
    """Return the expression for the smallest latency that so many of a hundred do not exceed."""
    count = {"$size": "$latencies"}
    place = {"$subtract": [{"$ceil": {"$divide": [{"$multiply": [count, percent]}, 100]}}, 1]}
    return {"$ifNull": [{"$arrayElemAt": ["$latencies", place]}, None]}
