"""A response taken apart for its document, and put together again.

Message, other choices, finish reason, id, model and usage have fields of their own. What is left
of the response is its `response_extra`, in the structure that it came in. Where the fields belong
in it is said by the row of the table of shapes that the document's `api` names: each goes to the
first of the row's places at which nothing is. Under `llm_audit` it says what this rule does not
tell:

    elsewhere: fields that are not put back: the response does not have them, or not there
    vectors: how many were left out by design, and of how many dimensions
"""

from collections.abc import Container, Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from llm_audit.errors import let_through
from llm_audit.providers.shapes import ANY, SHAPES, Names, Shape

OURS = "llm_audit"
ELSEWHERE, VECTORS = "elsewhere", "vectors"
_BY_API = {shape.api: shape for shape in SHAPES}
_MESSAGE, _CHOICES = "response_message", "other_choices"
_COLUMNS = {  # the table's, by the field that is read from them
    "finish_reason": "finish_reason",
    "response_id": "id",
    "response_model": "model",
    "usage": "usage",
}
_PLACED = (_MESSAGE, _CHOICES, *_COLUMNS)


def response_of(call: Mapping[str, Any] | BaseModel) -> dict[str, Any] | None:
    """Put the response of a call together again, as the provider sent it.

    Args:
        call: An `LLMCall`, or its document. If large content of it is in GridFS, read the call with
            that: `LLMCallRepository.get(call_id, with_media=True)`.

    Returns:
        The body of the response; what was changed to be stored (`encoding_notes`) is as it is
        stored, and the vectors of embeddings are left out. None if no response was given.
    """
    document = dict(call)
    extra = document.get("response_extra")
    shape = _BY_API.get(document.get("api") or "")
    if not extra and shape is None:
        return None
    body = {name: value for name, value in (extra or {}).items() if name != OURS}
    if shape is None:
        return body
    ours = (extra or {}).get(OURS) or {}
    elsewhere = ours.get(ELSEWHERE) or ()
    return _together(body, shape, _stored(document, elsewhere))


def extra_of(body: dict[str, Any], shape: Shape, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a response holds beyond the fields of its document.

    Args:
        body: The response, as plain values; it is not changed.
        shape: Its row.
        fields: What is stored of it, or instead of it.
    """
    if shape is ANY:
        return dict(body)
    stored = _stored(fields)
    extra = _apart(body, shape, stored)
    if _same(_together(extra, shape, stored), body):
        return extra
    placed: dict[str, Any] = {}
    for name, value in stored.items():
        tried = {**placed, name: value}
        if _same(_together(_apart(body, shape, tried), shape, tried), body):
            placed = tried
    extra = _apart(body, shape, placed)
    ours = extra.get(OURS) or {}
    return {**extra, OURS: {**ours, ELSEWHERE: [name for name in stored if name not in placed]}}


def _stored(document: Mapping[str, Any], but: Container[str] = ()) -> dict[str, Any]:
    return {name: value for name in _PLACED if name not in but and (value := document.get(name))}


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception as error:  # noqa: BLE001 - a foreign object may raise anything
        let_through(error)
        return False


def _apart(body: dict[str, Any], shape: Shape, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a body without what these fields hold of it."""
    extra = dict(body)
    answers = _answers(shape, extra)
    if _CHOICES in fields and answers and _same(extra[answers[0]][1:], fields[_CHOICES]):
        extra[answers[0]] = extra[answers[0]][:1]
    message = fields.get(_MESSAGE)
    if isinstance(message, dict):
        for path, value in _places(message, shape):
            if path:
                _take(extra, (*answers, *path), value)
            elif answers:
                extra[answers[0]] = [{}, *extra[answers[0]][1:]]
            else:
                return {}
    for name, column in _COLUMNS.items():
        if name in fields:
            any(_take(extra, path, fields[name]) for path in _paths(shape, column))
    return extra


def _together(extra: dict[str, Any], shape: Shape, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of what is left of a body with the fields put back."""
    body = dict(extra)
    answers = _answers(shape, body)
    message = fields.get(_MESSAGE)
    if isinstance(message, dict):
        for path, value in _places(message, shape):
            if path:
                _put(body, (*answers, *path), value)
            elif answers and body[answers[0]][0] == {}:
                body[answers[0]] = [message, *body[answers[0]][1:]]
            elif not answers and not body:
                return dict(message)
    if _CHOICES in fields and answers and len(body[answers[0]]) == 1:
        body[answers[0]] = [*body[answers[0]], *fields[_CHOICES]]
    for name, column in _COLUMNS.items():
        if name in fields:
            any(_put(body, path, fields[name]) for path in _paths(shape, column))
    return body


def _places(message: dict[str, Any], shape: Shape) -> Iterable[tuple[Names, Any]]:
    """Return where in its answer a message stands, or what it was made of."""
    if not shape.message or not message.keys() - {*shape.texts}:
        return [((name,), value) for name, value in message.items()]
    (path,) = _paths(shape, "message")
    if path and message.keys() == {"role", path[-1]}:
        return [(path, message[path[-1]])]  # of an API that answers with a list
    return [(path, message)]


@cache
def _paths(shape: Shape, column: str) -> tuple[Names, ...]:
    return tuple(tuple(filter(None, path.split("."))) for path in getattr(shape, column))


def _answers(shape: Shape, body: Mapping[str, Any]) -> Names:
    """Return the name of the list of answers that a body has, alone; nothing if it has none."""
    return tuple(name for name in shape.answers if body.get(name) and type(body[name]) is list)


def _put(body: dict[str, Any], path: Names, value: object) -> bool:
    """Put a value at a path, if nothing is there but all that leads to it; tell whether it was."""
    inner = _opened(body, path)
    if inner is None or path[-1] in inner:
        return False
    inner[path[-1]] = value
    return True


def _take(body: dict[str, Any], path: Names, value: object) -> bool:
    """Take a value away from a path, if just this is there; tell whether it was."""
    inner = _opened(body, path)
    if inner is None or path[-1] not in inner or not _same(inner[path[-1]], value):
        return False
    del inner[path[-1]]
    return True


def _opened(body: dict[str, Any], path: Names) -> dict[str, Any] | None:
    """Return what holds the end of a path, after copying all that leads to it."""
    inner = body
    for name in path[:-1]:
        value = inner.get(name)
        if type(value) is list and value and type(value[0]) is dict:
            first = dict(value[0])
            inner[name] = [first, *value[1:]]
            inner = first
        elif type(value) is dict:
            inner[name] = inner = dict(value)
        else:
            return None
    return inner
