"""A stored document as lines of Extended JSON: what is large or deep is folded, and leads on."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from llm_audit.display.figures import counted, size
from llm_audit.display.hidden import escaped
from llm_audit.display.json_lines import extended_json
from llm_audit.encoding.moved import media_before, reference_in
from llm_audit.errors import UsageError

LINES = 1_200
CHILDREN = 200  # of one list or object
LEVELS = 12  # that are unfolded at once
TEXT = 400  # characters of a text in a line
TEXT_AT_ONCE = 40_000  # of one that is read by itself
_SIZE = 60_000  # characters of all lines together
_LONGEST_NAME = 200


class Line(NamedTuple):
    """A line of a document.

    Attributes:
        text: With its indentation.
        at: Where what is folded here is: a JSON Pointer; None if nothing is.
        said: How much is folded.
        start: From which of its items or characters on.
        sha256: Of the content in GridFS that it refers to.
    """

    text: str
    at: str | None = None
    said: str = ""
    start: int = 0
    sha256: str | None = None


class Moved(NamedTuple):
    """A content in GridFS that a document refers to.

    Attributes:
        at: Where in the document: a JSON Pointer.
        sha256: The content.
        kind: What it was: str, bytes, dict or list.
        length: In bytes, as the document says it.
    """

    at: str
    sha256: str
    kind: str
    length: Any


def value_at(document: Mapping[str, Any], pointer: str) -> Any:
    """Return what a JSON Pointer leads to.

    Raises:
        UsageError: It leads nowhere.
    """
    value: Any = document
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name[:10]) < len(value):
            value = value[int(name[:10])]
        else:
            raise UsageError("at leads to nothing in this document.")
    return value


def lines_of(value: Any, pointer: str, start: int = 0) -> list[Line]:
    """Return a value as lines, as many as a page has room for.

    Args:
        value: Of a document, as read from MongoDB.
        pointer: Where in that it is.
        start: How many of its items are left out, as they were shown before.
    """
    return list(_Writing().lines(value, _Place(pointer), start))


def moved_in(document: Mapping[str, Any]) -> list[Moved]:
    """Return the contents in GridFS that a document refers to, in order."""
    before = media_before(document)
    found: list[Moved] = []
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        at, value = waiting.pop()
        if reference := reference_in(value, before):
            found.append(Moved(at, reference.sha256, reference.kind, value["length"]))
        elif isinstance(value, Mapping | list):
            waiting.extend([(where, item) for _, where, item in _items(value, at)][::-1])
    return found


class _Place(NamedTuple):
    """Where a value is written.

    Attributes:
        at: Where in the document: a JSON Pointer.
        name: What stands before it: its name, if it has one.
        comma: What stands behind it.
        level: How far it is indented.
    """

    at: str
    name: str = ""
    comma: str = ""
    level: int = 0

    @property
    def before(self) -> str:
        """The beginning of its line."""
        return f"{'  ' * self.level}{self.name}"


class _Writing:
    """What is left of the room of a page."""

    def __init__(self) -> None:
        self._lines = LINES
        self._size = _SIZE

    def lines(self, value: Any, place: _Place, start: int = 0) -> Iterator[Line]:
        if reference := reference_in(value):
            length = value["length"]
            told = size(length) if isinstance(length, int | float) else "some"
            text = f"{place.before}<{told} in GridFS>{place.comma}"
            yield self._line(Line(text, sha256=reference.sha256))
        elif not isinstance(value, Mapping | list):
            yield self._leaf(value, place)
        elif not value:
            yield self._line(Line(f"{place.before}{''.join(_brackets(value))}{place.comma}"))
        elif place.level and (place.level >= LEVELS or self._is_full):
            text = f"{place.before}{' … '.join(_brackets(value))}{place.comma} "
            yield self._line(Line(text, place.at, counted(len(value), _what(value))))
        else:
            yield from self._unfolded(value, place, start)

    def _unfolded(self, value: Any, place: _Place, start: int) -> Iterator[Line]:
        opening, closing = _brackets(value)
        yield self._line(Line(f"{place.before}{opening}"))
        at = start
        for name, where, item in islice(_items(value, place.at), start, start + CHILDREN):
            if self._is_full:
                break
            at += 1
            comma = "" if at == len(value) else ","
            yield from self.lines(item, _Place(where, name, comma, place.level + 1))
        if rest := len(value) - at:
            before = f"{'  ' * (place.level + 1)}… "
            said = counted(rest, f"more {_what(value)}")
            yield self._line(Line(before, place.at, said, at))
        yield self._line(Line(f"{'  ' * place.level}{closing}{place.comma}"))

    def _leaf(self, value: Any, place: _Place) -> Line:
        if isinstance(value, str) and len(value) > TEXT:
            shown = f"{place.before}{_json(value[:TEXT])[:-1]}… "
            return self._line(Line(shown, place.at, counted(len(value), "character")))
        text = _json(value)
        if len(text) > 2 * TEXT:
            shown = f"{place.before}{text[:TEXT]}… "
            return self._line(Line(shown, place.at, counted(len(text), "character")))
        return self._line(Line(f"{place.before}{text}{place.comma}"))

    def _line(self, line: Line) -> Line:
        self._lines -= 1
        self._size -= len(line.text) + len(line.at or "")
        return line

    @property
    def _is_full(self) -> bool:
        return self._lines <= 0 or self._size <= 0


def _brackets(value: Any) -> tuple[str, str]:
    return ("{", "}") if isinstance(value, Mapping) else ("[", "]")


def _what(value: Any) -> str:
    return "field" if isinstance(value, Mapping) else "item"


def text_of(value: Any) -> str:
    """Return a value that is no list and no object as the text that is read by itself."""
    return value if isinstance(value, str) else _json(value)


def _items(value: Any, at: str) -> Iterator[tuple[str, str, Any]]:
    """Yield what stands before each item, where it is, and the item."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            step = str(name).replace("~", "~0").replace("/", "~1")
            yield f"{_quoted(str(name))}: ", f"{at}/{step}", item
    else:
        for number, item in enumerate(value):
            yield "", f"{at}/{number}", item


def _quoted(name: str) -> str:
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return escaped(json.dumps(shown, ensure_ascii=False))


def _json(value: Any) -> str:
    """Return a value in Extended JSON, in a line."""
    if isinstance(value, str):
        return escaped(json.dumps(str.__str__(value), ensure_ascii=False))
    return extended_json({"": value}).removeprefix('{"": ').removesuffix("}")
