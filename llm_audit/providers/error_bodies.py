"""The error inside a response: instead of an answer, or beside one that it cut off."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from llm_audit.providers.errors import as_text, shortened, status_in
from llm_audit.providers.fields import LISTS, at, fields_of, first, spelled
from llm_audit.providers.shape import Shape

ERROR_FIELDS = ("error_type", "error_message", "http_status")

_TYPES = ("type", "status", "code", "errorCode", "reason")
_TYPES_BESIDE = ("error_type", "error_code", "__type", "code")  # of an error that is a text
_MESSAGES = (
    *("message", "Message", "errorMessage", "error_msg", "error_message", "msg", "detail"),
    *("blockReasonMessage", "block_reason_message"),
)
_STATUSES = ("code", "status", "http_code", "http_status", "status_code")
_UNNAMED = ("error", "errors")  # what holds an error under another name says its type by it
# Reasons to finish that are no answer's: OpenRouter, Mistral, Cohere, failed Responses
_ENDS = frozenset({"error", "error_toxic", "error_limit", "failed", "timeout", "cancelled"})


def error_in(
    body: Mapping[str, Any], shape: Shape, finish_reason: str | None, *, answered: bool
) -> dict[str, Any]:
    """Return what a call's outcome records of the error that a response holds.

    Args:
        body: The response.
        shape: Its row.
        finish_reason: As read out of it.
        answered: Whether it has a message.

    Returns:
        `error_type`, `error_message` and `http_status`, as far as they are said; nothing if there
        is no error.
    """
    for said, otherwise in _errors(body, shape, answered=answered):
        if found := _read(said, otherwise):
            return found
    if finish_reason is not None and finish_reason.lower() in _ENDS:
        return {"error_type": finish_reason}
    return {}


def _errors(
    body: Mapping[str, Any], shape: Shape, *, answered: bool
) -> Iterator[tuple[Mapping[str, Any], object]]:
    """Yield the fields of each error, and what its message is if they do not say."""
    for mark in shape.error:
        way, name, text = _taken_apart(mark)
        holder = fields_of(_first_of(at(body, way) if way else body))
        error = _first_of(holder.get(name))
        if not error or (text and error != text) or (answered and name != "error"):
            continue
        if text:
            yield {**holder, name: None}, None
        elif said := fields_of(error):
            yield said if name in _UNNAMED else {"type": name, **said}, said
        elif name == "error":  # a text, or a flag
            beside = {"type": first(holder, _TYPES_BESIDE), "message": first(holder, _MESSAGES)}
            yield (beside if error is True else {"type": beside["type"]}), error
        else:
            yield {**holder, "type": error}, None


@cache
def _taken_apart(mark: str) -> tuple[str, str, str]:
    """Return the way to what holds an error, its name there, and the text that it has to be."""
    path, _, text = mark.partition("=")
    way, _, name = path.rpartition(".")
    return way, name, text


def _first_of(value: Any) -> Any:
    if isinstance(value, LISTS):
        return value[0] if value else None
    return value


def _read(said: Mapping[str, Any], otherwise: object) -> dict[str, Any]:
    message = first(said, _MESSAGES) or otherwise
    found = {
        "error_type": next(filter(None, (spelled(said.get(name)) for name in _TYPES)), None),
        "error_message": None if message is None else shortened(as_text(message)),
        "http_status": next(filter(None, (status_in(said.get(name)) for name in _STATUSES)), None),
    }
    return {name: value for name, value in found.items() if value is not None}
