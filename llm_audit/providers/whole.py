"""A response taken apart for its document, and put together again.

Message, other choices, finish reason, id, model and usage have fields of their own. What is left
of the response is its `response_extra`, in the structure that it came in. Where the fields belong
in it is said by the row of the table of shapes that the document's `api` names: each goes to the
first of the row's places that the response has, if nothing is there. Under `llm_audit` it says
what this rule does not tell:

    elsewhere: fields that are not put back: the response does not have them, or not there
    vectors: how many were left out by design, and of how many dimensions
    beside: what came in a list or tuple with the response
    value: what was given as a response, if it is no object
    sold_as: a condition of the price that the response does not say: "batch"
    given: the arguments of `complete` or `fail`, if how the call ended could not be read of them
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from llm_audit.encoding.undone import as_given
from llm_audit.errors import let_through
from llm_audit.providers.fields import LISTS
from llm_audit.providers.shape import Names, Shape
from llm_audit.providers.shapes import ANY, SHAPES

OURS = "llm_audit"
ELSEWHERE, VECTORS, BESIDE, NO_OBJECT = "elsewhere", "vectors", "beside", "value"
GIVEN = "given"
SOLD_AS = "sold_as"
_MESSAGE, _CHOICES = "response_message", "other_choices"
_COLUMNS = {  # the table's, by the field that is read from them
    "finish_reason": "finish_reason",
    "response_id": "id",
    "response_model": "model",
    "usage": "usage",
}
_STORED = ("api", "response_extra", _MESSAGE, _CHOICES, *_COLUMNS)


class _Place(NamedTuple):
    """Where a field is: in the answer or the body, the way to what holds it, and its name there."""

    in_answer: bool
    way: Names
    name: str
    in_message: bool = False


class _Row(NamedTuple):
    """A row of the table as this module looks at it."""

    answers: _Place | None
    message: _Place | None  # None: it is the answer, or what the answer says
    is_answer: bool  # the message is the answer
    texts: frozenset[str]
    columns: tuple[tuple[str, tuple[_Place, ...]], ...]


def _place(path: str, shape: Shape) -> _Place:
    answers = next((each for each in shape.answers if path.startswith(f"{each}.")), None)
    *way, name = path.removeprefix(f"{answers}.").split(".")
    in_answer = answers is not None
    is_message = in_answer and shape.message == ("",)
    in_message = is_message or (bool(way) and shape.message == (way[0],))
    return _Place(in_answer, tuple(way), name, in_message)


def _row(shape: Shape) -> _Row:
    path = next(iter(shape.message), "")
    answers = next(iter(shape.answers), None)
    return _Row(
        _place(answers, shape) if answers else None,
        _place(path, shape)._replace(in_answer=True) if path else None,
        shape.message == ("",),
        frozenset(shape.texts),
        tuple(
            (field, tuple(_place(path, shape) for path in getattr(shape, column)))
            for field, column in _COLUMNS.items()
        ),
    )


_NOWHERE = _Place(in_answer=False, way=(), name="")
_ROWS = {shape.api: _row(shape) for shape in SHAPES}


def response_of(call: Mapping[str, Any] | BaseModel) -> dict[str, Any] | None:
    """Put the response of a call together again, as the provider sent it.

    Args:
        call: An `LLMCall`, or its document. If large content of it is in GridFS, read the call with
            that: `LLMCallRepository.get(call_id, with_media=True)`.

    Returns:
        The body of the response. What was changed to be stored (`encoding_notes`) is as it is
        stored, but whole numbers of any size and keys that begin with a dollar are as they were;
        the vectors of embeddings are left out. None if no response was given.
    """
    document = as_given(dict(call), _STORED)
    extra = document.get("response_extra") or {}
    row = _ROWS.get(document.get("api") or "")
    if not extra and row is None:
        return None
    body = {name: value for name, value in extra.items() if name != OURS}
    if row is None:
        return body
    elsewhere = (extra.get(OURS) or {}).get(ELSEWHERE) or ()
    return _put_back(
        body, row, {name: document[name] for name in document if name not in elsewhere}
    )


def extra_of(body: dict[str, Any], shape: Shape, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a response holds beyond the fields of its document.

    Args:
        body: The response, as plain values; it is not changed.
        shape: Its row.
        fields: What is stored of it, or instead of it.
    """
    extra = dict(body)
    if shape is ANY:
        return extra
    row = _ROWS[shape.api]
    answer = _answer(extra, row)
    message = fields.get(_MESSAGE)
    if row.is_answer and answer is extra and _same(message, body):
        return {}
    elsewhere = [*_take_columns(extra, answer, row, fields), *_take_message(answer, row, message)]
    if _CHOICES in fields and answer is not None:
        _put_choices(extra, row, ())
    if elsewhere:
        extra[OURS] = {ELSEWHERE: elsewhere}
    return extra


def _take_message(answer: dict[str, Any] | None, row: _Row, message: object) -> Iterator[str]:
    """Take the message out of its answer; name it if it would be put where it never was."""
    if not message or answer is None:
        return
    places = _places(answer, row, message) if isinstance(message, dict) else None
    if places is None:  # an object of the caller's
        yield _MESSAGE
    elif all(name in inner and _same(inner[name], value) for inner, name, value in places):
        for inner, name, _ in places:
            del inner[name]
    elif _have_room(places):
        yield _MESSAGE


def _put_message(answer: dict[str, Any] | None, row: _Row, message: object) -> None:
    if isinstance(message, dict) and answer is not None:
        places = _places(answer, row, message)
        if _have_room(places):
            for inner, name, value in places:
                inner[name] = value


def _have_room(places: Sequence[tuple[dict[str, Any], str, Any]]) -> bool:
    return all(name not in inner for inner, name, _ in places)


def _places(
    answer: dict[str, Any], row: _Row, message: dict[str, Any]
) -> list[tuple[dict[str, Any], str, Any]]:
    """Return where in its answer a message stands, and as what: what holds it, its name, itself."""
    if row.message is None or row.texts.issuperset(message):
        return [(answer, name, value) for name, value in message.items()]
    name = row.message.name
    inner = _opened(answer, row.message.way)
    if inner is None:
        return []
    # an API that answers with a list
    value = message[name] if message.keys() == {"role", name} else message
    return [(inner, name, value)]


def _take_columns(
    extra: dict[str, Any], answer: dict[str, Any] | None, row: _Row, fields: Mapping[str, Any]
) -> Iterator[str]:
    """Take the other fields out of a body; name those that would be put where they never were."""
    for field, places in row.columns:
        if value := fields.get(field):
            holder, place = _first(extra, answer, places)
            if holder is None:
                continue
            if place.name not in holder:
                yield field
            elif _same(holder[place.name], value) and not place.in_message:
                del holder[place.name]


def _put_back(body: dict[str, Any], row: _Row, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is left of a body with the fields where nothing is."""
    answer = _answer(body, row)
    if row.is_answer and answer is body and not body:
        return dict(fields.get(_MESSAGE) or {})
    _put_message(answer, row, fields.get(_MESSAGE))
    if (others := fields.get(_CHOICES)) and answer is not None:
        _put_choices(body, row, others)
    for field, places in row.columns:
        if value := fields.get(field):
            holder, place = _first(body, answer, places)
            if holder is not None:
                holder.setdefault(place.name, value)
    return body


def _answer(body: dict[str, Any], row: _Row) -> dict[str, Any] | None:
    """Return the answer in a body, the first of several, after copying all that leads to it."""
    holder, name = _of_answers(body, row)
    answers = holder.get(name)
    if not answers or not isinstance(answers, LISTS):
        return body
    first, *others = answers
    if not issubclass(type(first), dict):  # not isinstance: a mock may claim any __class__
        return None
    first = dict(dict.items(first))
    holder[name] = [first, *others]
    return first


def _put_choices(body: dict[str, Any], row: _Row, others: Iterable[Any]) -> None:
    """Put these answers in the place of those after the first."""
    holder, name = _of_answers(body, row)
    if isinstance(answers := holder.get(name), LISTS):
        holder[name] = [*answers[:1], *others]


def _of_answers(body: dict[str, Any], row: _Row) -> tuple[dict[str, Any], str]:
    """Return what holds the answers, and their name there; nothing if there are none."""
    holder = _opened(body, row.answers.way) if row.answers else None
    return (holder, row.answers.name) if holder and row.answers else ({}, "")


def _first(
    body: dict[str, Any], answer: dict[str, Any] | None, places: Iterable[_Place]
) -> tuple[dict[str, Any] | None, _Place]:
    """Return the first place of a field that there is, unless it says null, and what holds it."""
    for place in places:
        if not place.in_answer:
            holder = _opened(body, place.way)
        elif answer is None or answer is body:
            holder = None
        else:
            holder = _opened(answer, place.way)
        if holder is not None and holder.get(place.name, "") is not None:
            return holder, place
    return None, _NOWHERE


def _opened(inner: dict[str, Any], way: Names) -> dict[str, Any] | None:
    """Return what is at the end of a way, after copying all that leads to it."""
    for name in way:
        value = inner.get(name)
        if type(value) is not dict:
            return None
        inner[name] = inner = dict(value)
    return inner


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    try:
        return bool(one == other)
    except BaseException as error:  # noqa: BLE001 - a foreign object may raise anything
        let_through(error)
        return False
