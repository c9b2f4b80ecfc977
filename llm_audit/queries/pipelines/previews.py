"""Calls in a line each: what they were, and the beginning of what was asked and answered."""

from typing import Any, Literal, TypeAlias, Unpack, get_args

from llm_audit.errors import UsageError
from llm_audit.ids import Id
from llm_audit.queries.filters import CallFilters, checked_limit, condition
from llm_audit.queries.pipelines.stages import Pipeline, if_, list_in

PREVIEW_CHARACTERS = 120
Largest: TypeAlias = Literal["estimated_cost", "latency_ms", "total_tokens"]
_BLOCKS_MAX = 20  # of a message, that are looked at
_SHOWN = (
    *("created_at", "completed_at", "status", "call_type", "provider", "model", "trace_id"),
    *("session_id", "user_id", "company_id", "task_id", "environment", "service", "tags"),
    *("tools_called", "total_tokens"),
    *("estimated_cost", "latency_ms", "error_type", "ended_by", "finish_reason"),
)


def call_previews(
    *, limit: int | None = 100, after: Id | None = None, **filters: Unpack[CallFilters]
) -> Pipeline:
    """Which calls match, newest first, and what was asked and answered in a line?

    Args:
        limit: How many calls at the most; None for all.
        after: Only calls older than the one with this id.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are those of `CallPreview`. Indexes: those of the filters.

    Raises:
        UsageError: An argument is wrong.
    """
    checked_limit(limit)
    return [
        {"$match": condition(filters, after=after)},
        {"$sort": {"_id": -1}},
        *([] if limit is None else [{"$limit": limit}]),
        {"$project": _preview()},
    ]


def largest_calls(
    largest: Largest = "estimated_cost", limit: int = 100, **filters: Unpack[CallFilters]
) -> Pipeline:
    """Which calls cost most, took longest or have the most tokens, and what was said in them?

    Args:
        largest: Of which figure; calls without it are left out.
        limit: How many calls at the most.
        **filters: See `CallFilters`.

    Returns:
        Stages whose rows are those of `CallPreview`, the largest first. Indexes: those of the
        filters; MongoDB looks at every call that matches.

    Raises:
        UsageError: An argument is wrong.
    """
    if largest not in get_args(Largest):
        raise UsageError(f"largest {largest!r:.40}: there are {', '.join(get_args(Largest))}.")
    checked_limit(limit)
    return [
        {"$match": {"$and": [condition(filters), {largest: {"$type": "number"}}]}},
        {"$sort": {largest: -1, "_id": -1}},
        {"$limit": limit},
        {"$project": _preview()},
    ]


def _preview() -> dict[str, Any]:
    return {
        "_id": 0,
        "id": "$_id",
        "task_name": "$task.name",
        "retries": "$task.retries",
        "redelivered": "$task.redelivered",
        "attempt_id": "$task.attempt_id",
        **dict.fromkeys(_SHOWN, 1),
        "asked": asked(),
        "answered": answered(),
        "error_message": _text("$error_message"),
    }


def asked() -> dict[str, Any]:
    """Return the expression for the beginning of what was asked, null where nothing was."""
    return {"$ifNull": [_last("$messages"), _last("$input"), _text("$system_prompt")]}


def answered() -> dict[str, Any]:
    """Return the expression for the beginning of what was answered, null where nothing was."""
    return _message("$response_message")


def beginning_of(value: str) -> dict[str, Any]:
    """Return the expression for the beginning of a text, or of the first one in blocks."""
    return _message(value)


def _last(field: str) -> dict[str, Any]:
    """Return the expression for the text of the last message in a field, or of the field itself."""
    of_last = {"$let": {"vars": {"last": {"$last": list_in(field)}}, "in": _message("$$last")}}
    return if_({"$isArray": field}, of_last, _text(field))


def _message(message: str) -> dict[str, Any]:
    """Return the expression for the text of a message, which may be one, or hold it or blocks."""
    said = [_text(f"{message}.{name}") for name in ("content", "parts", "text", "output")]
    return {"$ifNull": [_text(message), *said, None]}


def _text(value: str) -> dict[str, Any]:
    """Return the expression for the beginning of a text, or of the first one in a list of blocks.

    It is null where there is none: for empty texts, too.
    """
    blocks = {"$slice": [list_in(value), _BLOCKS_MAX]}
    texts = {
        "$filter": {
            "input": {"$map": {"input": blocks, "in": {"$ifNull": ["$$this.text", "$$this"]}}},
            "cond": {"$eq": [{"$type": "$$this"}, "string"]},
        }
    }
    of_blocks = {"$let": {"vars": {"text": {"$first": texts}}, "in": _beginning("$$text")}}
    return if_({"$isArray": value}, of_blocks, _beginning(value))


def _beginning(text: str) -> dict[str, Any]:
    is_text = {"$and": [{"$eq": [{"$type": text}, "string"]}, {"$ne": [text, ""]}]}
    return if_(is_text, {"$substrCP": [text, 0, PREVIEW_CHARACTERS]}, None)
