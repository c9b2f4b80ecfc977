"""What a client hands over as its response -> the body that its API sent, as far as it can be read.

Nothing is imported for it, and nothing is read that the app has not read: an open stream stays
open, and what can be read only once is the app's.
"""

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from llm_audit.encoding.bounds import MAX_READ, Room, TooMuchError
from llm_audit.encoding.safe_text import safe_repr
from llm_audit.errors import let_through
from llm_audit.providers.fields import LISTS, fields_of, native
from llm_audit.providers.shapes import ANY, shape_of

_SINGLE = (str, int, float, type(None))
_SINGLES = frozenset({*_SINGLE, bool})
_NUMBERS = frozenset({int, float})
_DEEPEST = 20  # objects in each other; what is deeper is left to the encoder
_FIX = "give complete() the response object of the provider's client, or its body as a dict"


class Received(NamedTuple):
    """A response as it can be read.

    Attributes:
        value: A dict or an object with fields; else what there is instead of one.
        message: What was said, if nothing else is known.
        beside: What came in a list or tuple with it.
        note: What is to be said of it.
        mistake: One sentence for whoever gave it, if it is no response.
    """

    value: Any
    message: dict[str, Any] | None = None
    beside: tuple[Any, ...] = ()
    note: str | None = None
    mistake: str | None = None


def received(response: object) -> Received:
    """Return what is to be read of a response; its code never makes this raise.

    Args:
        response: Whatever was given: a body, an SDK's object, a raw or HTTP response, a text, a
            stream, a list or tuple with a response in it.
    """
    if type(response) is dict or isinstance(response, BaseModel):
        return Received(response)
    try:
        return _received(response)
    except BaseException as error:  # noqa: BLE001 - a foreign object may raise anything
        let_through(error)
        return _no_response(response, f"cannot be read: {type(error).__name__}")


def plain(
    value: Any,
    exclude: Mapping[str, Any] | None = None,
    inside: tuple[int, ...] = (),
    room: Room | None = None,
) -> Any:
    """Return an object, and all objects in it, as the dicts that its API sent.

    Args:
        value: Anything.
        exclude: What to leave out of a pydantic object, as pydantic takes it.
        inside: What it is in, by `id`: an object may hold itself.
        room: How much of it may be read.

    Returns:
        The dicts; what is in itself, or too deep, is as it was.

    Raises:
        TooMuchError: There is more in it.
    """
    is_vector = type(value) is list and _NUMBERS.issuperset(map(type, value))
    if isinstance(value, _SINGLE) or is_vector or len(inside) >= _DEEPEST or id(value) in inside:
        return value
    if type(value) is dict and _SINGLES.issuperset(map(type, value.values())):
        if room is not None and not room.take(len(value)):
            raise TooMuchError
        return value
    room = room or Room(MAX_READ)
    if not room.take(len(value) if isinstance(value, dict | list | tuple) else 1):
        raise TooMuchError
    inside = (*inside, id(value))
    dump: Any = native(value, exclude)
    if dump is value and not isinstance(value, dict | list | tuple):
        return value
    if issubclass(type(dump), dict) and not callable(getattr(value, "model_dump", None)):
        return {name: plain(item, None, inside, room) for name, item in dict.items(dump)}
    if isinstance(dump, LISTS):
        return [plain(item, None, inside, room) for item in dump]
    return dump


def _received(response: Any) -> Received:
    for fits, read in _READERS:
        if fits(response):
            return read(response)
    return _no_response(response, "has no fields that can be read")


def _no_response(response: object, why: str) -> Received:
    kind = type(response).__name__
    return Received(
        safe_repr(response),
        note=f"{kind} {why}",
        mistake=f"response of type {kind} {why}: {_FIX}; it is not recorded.",
    )


def _of_text(text: str | bytes) -> Received:
    """Return the JSON object that a text is, or the text as what was said."""
    body = _parsed(text)
    if isinstance(body, dict):
        return Received(body)
    kind = type(text).__name__
    said = text if isinstance(text, str) else text.decode(errors="backslashreplace")
    return Received(
        {},
        {"role": "assistant", "content": said},
        note=f"{kind} stored as the content of a message",
        mistake=f"response is of type {kind}: {_FIX}; it is stored as the content of a message.",
    )


def _of_list(items: list[Any] | tuple[Any, ...]) -> Received:
    """Return the response that is in a list or tuple, as instructor gives one; or all of it."""
    for number, item in enumerate(items):
        if isinstance(item, LISTS):  # it may hold itself
            continue
        found = received(item)
        if shape_of(fields_of(found.value)) is not ANY:
            beside = tuple(plain(other) for at, other in enumerate(items) if at != number)
            kind = type(found.value).__name__
            note = f"of a {type(items).__name__} the {kind} at {number} is read"
            return found._replace(beside=beside, note=note)
    note = f"{type(items).__name__} without a response that can be read"
    return Received(
        plain(items), note=note, mistake=f"response is a {note}: {_FIX}; it is kept as it is."
    )


def _is_http(value: Any) -> bool:
    return {"status_code", "headers"} <= getattr(value, "__dict__", {}).keys()  # a mock has none


def _of_http(response: Any) -> Received:
    """Return the body of a response of httpx, httpx2 or requests, if it has been read."""
    attributes = vars(response)
    content = attributes.get("_content")
    if not isinstance(content, bytes):
        return _no_response(response, "is open: its body is the app's to read")
    body = _parsed(content)
    if isinstance(body, dict):
        return Received(body)
    text = content.decode(errors="backslashreplace")
    note = "HTTP response whose body is no JSON object"
    return Received(text, note=note, mistake=f"response is an {note}: {_FIX}; its text is kept.")


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        let_through(error)
        return None


def _of_protobuf(message: Any) -> dict[str, Any]:
    """Return what is set in a protobuf as a dict, enums by name."""
    return {field.name: _of_field(field, value) for field, value in message.ListFields()}


def _of_field(field: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        field = field.message_type.fields_by_name["value"]
        return {str(name): _of_field(field, item) for name, item in value.items()}
    if not isinstance(value, str | bytes) and hasattr(value, "__len__"):
        return [_of_field(field, item) for item in value]
    if field.message_type is not None:
        return _of_protobuf(value)
    if field.enum_type is not None and (named := field.enum_type.values_by_number.get(value)):
        return named.name
    return value


def _is_stream(value: Any) -> bool:
    kind = type(value)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")


def _is_protobuf(value: Any) -> bool:
    return hasattr(type(value), "DESCRIPTOR") and hasattr(type(value), "ListFields")


def _in_xai(value: Any) -> Any:
    """Return the protobuf in an object of xAI's client."""
    return getattr(value, "__dict__", {}).get("_proto")


def _of_slots(value: Any) -> Received:
    return Received({each.name: getattr(value, each.name) for each in dataclasses.fields(value)})


# The first that fits counts.
_READERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Received]], ...] = (
    (lambda value: isinstance(value, str | bytes), _of_text),
    (lambda value: isinstance(value, LISTS), _of_list),
    (inspect.isawaitable, lambda value: _no_response(value, "was not awaited")),
    (_is_stream, lambda value: _no_response(value, "is a stream, which is the app's to read")),
    (_is_http, _of_http),
    # with_raw_response of OpenAI's and Anthropic's clients
    (
        lambda value: _is_http(getattr(value, "http_response", None)),
        lambda value: _of_http(value.http_response),
    ),
    (_is_protobuf, lambda value: Received(_of_protobuf(value))),
    (
        lambda value: _is_protobuf(_in_xai(value)),
        lambda value: Received(_of_protobuf(_in_xai(value))),
    ),
    (lambda value: bool(fields_of(value)), Received),
    (lambda value: dataclasses.is_dataclass(type(value)), _of_slots),
)
