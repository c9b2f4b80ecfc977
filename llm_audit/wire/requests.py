"""What was sent -> the fields of a call's start, and back.

What has no field of its own is in `request_params`, in the structure that it came in. Where the
fields belong in it is said by the row of the table that the call's `endpoint` leads to: each goes
back to the first of the row's places. A number that is called otherwise there, and a model that the
URL names as well, are in both. Under `llm_audit` it says what this rule does not tell:

    api: the row, if the endpoint leads to several and it is not the first
    moved: fields whose place is another one of the row's, and which
    value: the body, if it is no object, or has a key of that name
    text: the same, if it is no JSON
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from pydantic import BaseModel

from llm_audit.call import AtMost
from llm_audit.encoding.undone import as_given
from llm_audit.providers.whole import OURS
from llm_audit.wire.api import Api
from llm_audit.wire.apis import Asked, matched
from llm_audit.wire.bodies import read_body

API, MOVED, VALUE, TEXT = "api", "moved", "value", "text"
_MODEL = "model"
_LISTS = frozenset({"messages", "tools"})
_NUMBERS = frozenset({"temperature", "max_tokens"})
_FIELDS = (_MODEL, "messages", "input", "system_prompt", "tools", "tool_choice", *sorted(_NUMBERS))
_INT64 = 2**63


def read_request(
    asked: Asked, body: bytes | None, content_type: str | None = None
) -> dict[str, Any]:
    """Return the fields of a call's start that the body of its request says.

    Args:
        asked: What `confirmed` returned.
        body: As it was sent; None if it could not be read.
        content_type: As the header has it.

    Returns:
        Those of `call_type`, `model`, `messages`, `input`, `system_prompt`, `tools`, `tool_choice`,
        `temperature`, `max_tokens` that there are; `request_params`, which holds all the rest;
        `encoding_notes`, if there is something to say.
    """
    found: dict[str, Any] = {"call_type": asked.api.call_type}
    if body is None:
        notes: tuple[str, ...] = ("body: sent from files or a stream, not read",)
    else:
        value, is_text, notes = read_body(body, content_type)
        if is_text:
            found["request_params"] = {OURS: {TEXT: value}} if value else {}
        elif not isinstance(value, dict) or OURS in value:
            found["request_params"] = {OURS: {VALUE: value}}
        else:
            found |= _fields_of(asked, value)
    if asked.model is not None:
        found.setdefault(_MODEL, asked.model)
    if notes:
        found["encoding_notes"] = list(notes)
    return found


def request_of(call: Mapping[str, Any] | BaseModel) -> Any:
    """Put the request of a captured call together again, as it was sent.

    Args:
        call: An `LLMCall`, or its document. If large content of it is in GridFS, read the call with
            that: `LLMCallRepository.get(call_id, with_media=True)`.

    Returns:
        The body of the request as JSON has it; a text if it was none. What was changed to be stored
        (`encoding_notes`) is as it is stored, but whole numbers of any size and keys that begin
        with a dollar are as they were. None if the call was not captured.
    """
    document = dict(call)
    endpoint = document.get("endpoint")
    if not isinstance(endpoint, str):
        return None
    fields = as_given(document, (*_FIELDS, "request_params"))
    given = fields.pop("request_params", None)
    params = dict(given) if isinstance(given, dict) else {}
    ours = params.pop(OURS, None)
    if not isinstance(ours, dict):  # an import may bring in anything
        ours = {}
    for name in (VALUE, TEXT):
        if name in ours:
            return ours[name]
    path = endpoint.partition("://")[2].partition("/")[2].partition("#")[0]
    sent = matched("POST", f"/{path}")
    if sent is None:
        return params
    row = next((row for row in sent.rows if row.api == ours.get(API)), sent.api)
    return _put_back(params, fields, row, sent.model, ours.get(MOVED))


class _Place(NamedTuple):
    """Where a field is in a body.

    Attributes:
        path: Of it.
        value: What is there.
        is_copied: Whether it is there as well.
    """

    path: str
    value: Any
    is_copied: bool


def _fields_of(asked: Asked, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    moved: dict[str, str] = {}
    params = dict(body)
    for field in _FIELDS:
        paths = getattr(asked.api, field)
        place = _place(field, paths, body, in_url=field == _MODEL and asked.model is not None)
        if place is not None:
            found[field] = place.value
            if not place.is_copied:
                _take(params, place.path)
                if place.path != paths[0]:
                    moved[field] = place.path
    api = None if asked.is_first else asked.api.api
    if ours := {name: value for name, value in ((API, api), (MOVED, moved)) if value}:
        params[OURS] = ours
    if params:
        found["request_params"] = params
    return found


def _place(
    field: str, paths: tuple[str, ...], body: dict[str, Any], *, in_url: bool
) -> _Place | None:
    """Return where a field is; None if it is nowhere, or of a type that it does not take."""
    filled = [(path, value) for path in paths if (value := _at(body, path)) is not None]
    if not filled:
        return None
    path, value = next(((p, v) for p, v in filled if _fits(field, v)), ("", None))
    if not path:
        return None
    is_copied = in_url or (field == _MODEL and len(str(value)) > AtMost().characters)
    if field in _NUMBERS:
        is_copied = len(filled) > 1 or path != paths[0]
    return _Place(path, value, is_copied)


def _fits(field: str, value: Any) -> bool:
    """Tell whether a field holds a value as it is, and whether that says anything."""
    kind = type(value)
    if field in _NUMBERS:
        is_number = kind is int or (kind is float and field == "temperature")
        return is_number and isfinite(value) and -_INT64 <= value < _INT64
    if field in _LISTS:
        return kind is list and bool(value)
    return bool(value) and (field != _MODEL or kind is str)


def _at(body: dict[str, Any], path: str) -> Any:
    if "." not in path:
        return body.get(path)
    value: Any = body
    for name in path.split("."):
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value


def _take(body: dict[str, Any], path: str) -> None:
    """Take what is at a path out of a body, after copying all that leads to it."""
    *way, name = path.split(".")
    for step in way:
        body[step] = body = dict(body[step])
    del body[name]


def _put_back(
    params: Mapping[str, Any],
    document: Mapping[str, Any],
    row: Api,
    model: str | None,
    moved: object,
) -> dict[str, Any]:
    """Return what is left of a body with the fields where they were."""
    body = dict(params)
    places = moved if isinstance(moved, dict) else {}
    for field in _FIELDS:
        value, paths = document.get(field), getattr(row, field)
        says_nothing = value is None or (value in ("", [], {}) and field not in _NUMBERS)
        if says_nothing or not paths or (field == _MODEL and model is not None):
            continue
        if field in _NUMBERS and any(_at(body, path) is not None for path in paths):
            continue
        _set(body, str(places.get(field, paths[0])), value)
    return body


def _set(body: dict[str, Any], path: str, value: Any) -> None:
    *way, name = path.split(".")
    for step in way:
        inner = body.get(step)
        body[step] = body = dict(inner) if isinstance(inner, dict) else {}
    body.setdefault(name, value)
