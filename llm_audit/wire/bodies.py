"""The body of a request, read: JSON, or the fields of a form."""

import json
from collections.abc import Sequence
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from llm_audit.errors import let_through
from llm_audit.wire.frames import whole_number

_FORM, _URL_ENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
_NAMES_MAX = 5  # in a note
_CHARACTERS_MAX = 50  # of a name in it


class Body(NamedTuple):
    """What a body says.

    Attributes:
        value: The JSON, or a form's fields as a dict; a text if it is neither.
        is_text: Whether it is neither.
        notes: What is to be said of it.
    """

    value: Any
    is_text: bool = False
    notes: tuple[str, ...] = ()


def read_body(body: bytes, content_type: str | None) -> Body:
    """Return what a body says; no bytes make this raise.

    Of a name that stands in an object twice the last value counts, as for Python and JavaScript. A
    whole number of more digits than Python converts is kept as a text of them. Of a file in a form
    its name, type and size are kept.

    Args:
        body: As it was sent.
        content_type: As the header has it.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == _FORM:
        header = Message()
        header["content-type"] = " ".join((content_type or "").split())
        if boundary := header.get_boundary():
            return Body(_form(body, boundary.encode(errors="replace")))
    if kind == _URL_ENCODED:
        return Body(_fields(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)))
    return _json(body)


def _json(body: bytes) -> Body:
    reading = _Reading()
    try:
        value = json.loads(body, object_pairs_hook=reading.pairs)
        return Body(value, notes=reading.notes())
    except (ValueError, RecursionError) as error:
        let_through(error)
    try:
        value = json.loads(body, object_pairs_hook=reading.pairs, parse_int=reading.integer)
        return Body(value, notes=reading.notes())
    except (ValueError, RecursionError) as error:
        let_through(error)
        why = "JSON nested too deep" if isinstance(error, RecursionError) else "no JSON"
    return Body(
        body.decode(errors="backslashreplace"), is_text=True, notes=(f"body: {why}, kept as text",)
    )


class _Reading:
    """What is noticed while JSON is read."""

    def __init__(self) -> None:
        self._twice: dict[str, None] = {}
        self._long = 0

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs) and len(self._twice) < _NAMES_MAX:
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    self._twice[name[:_CHARACTERS_MAX]] = None
                seen.add(name)
        return found

    def integer(self, digits: str) -> int | str:
        number = whole_number(digits)
        self._long += number is digits
        return number

    def notes(self) -> tuple[str, ...]:
        notes = [
            f"body: {json.dumps(name)} stands in an object twice, the last is kept"
            for name in self._twice
        ]
        if self._long:
            notes.append(f"body: {self._long} numbers too long to convert, kept as text")
        return tuple(notes)


def _form(body: bytes, boundary: bytes) -> dict[str, Any]:
    pairs: list[tuple[str, Any]] = []
    for part in body.split(b"--" + boundary)[1:]:
        head, found, content = part.lstrip(b"\r\n").partition(b"\r\n\r\n")
        if not found:
            continue
        header = _headers(head)
        name = header.get_param("name", header="content-disposition")
        content = content.removesuffix(b"\r\n")
        pairs.append((str(name or ""), _content(header, content)))
    return _fields(pairs)


def _headers(head: bytes) -> Message:
    header = Message()
    for line in head.decode(errors="replace").splitlines():
        name, found, value = line.partition(":")
        if found:
            header[name.strip()] = value.strip()
    return header


def _content(header: Message, content: bytes) -> Any:
    filename = header.get_filename()
    if filename is None:
        return content.decode(errors="replace")
    return {"filename": filename, "content_type": header.get_content_type(), "bytes": len(content)}


def _fields(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return fields by name; of one that is given several times a list."""
    listed: dict[str, list[Any]] = {}
    for name, value in pairs:
        listed.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in listed.items()}
