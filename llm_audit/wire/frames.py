"""The pieces of a stream: Server-Sent Events, lines of JSON, a JSON array, AWS event stream.

A stream may be broken off anywhere, in the middle of a character too: what came whole before is
read. No bytes make this raise, and reading takes time in proportion to their number, and memory up
to a bound.
"""

import codecs
import json
import re
from typing import Any, NamedTuple

from llm_audit.encoding.bounds import MAX_VALUES
from llm_audit.errors import let_through
from llm_audit.wire.api import Event

DONE = "[DONE]"
_BOM = codecs.BOM_UTF8
LINES_MAX = 2 * MAX_VALUES
VALUES_MAX = 4 * MAX_VALUES  # lists and objects in all pieces together
_LINE = re.compile(rb"[^\r\n]+")
_LINE_OR_BLANK = re.compile(rb"[^\r\n]+|(?>\r\n|\r|\n){2,}+")  # one such, however many blank ones
_BETWEEN = re.compile(r"[ \t\r\n,]*")  # the items of a JSON array
_DECODER = json.JSONDecoder()


class Frames(NamedTuple):
    """What a stream holds.

    Attributes:
        events: Those that came whole.
        rest: How many bytes at its end, or lines in it, are none.
        is_cut: Whether there are more than are read.
        odd_headers: How many have headers of an unknown type, so that some may not be read.
    """

    events: list[Event]
    rest: int = 0
    is_cut: bool = False
    odd_headers: int = 0


class Room:
    """For how much more of a stream there is room."""

    def __init__(self) -> None:
        self._lines = LINES_MAX
        self._values = VALUES_MAX

    def takes(self, line: bytes) -> bool:
        """Tell whether there is room for another line, or message, and take that."""
        self._lines -= 1
        self._values -= line.count(b"{") + line.count(b"[")
        return self._lines >= 0 and self._values >= 0


def parsed(text: str | bytes) -> Any:
    """Return what JSON says; a whole number of more digits than Python converts as a text.

    Raises:
        ValueError: It is none, nested too deep, or too much.
    """
    if holds_too_much(text):
        raise ValueError("too many lists and objects")
    try:
        return json.loads(text)
    except RecursionError as error:
        let_through(error)
        raise ValueError("nested too deep") from None
    except ValueError as error:
        if "digits" not in str(error):
            raise
    return json.loads(text, parse_int=whole_number)


def holds_too_much(text: str | bytes, most: int = MAX_VALUES) -> bool:
    """Tell whether JSON has more lists and objects than there is memory for."""
    if len(text) <= most:
        return False
    if isinstance(text, str):
        return text.count("[") + text.count("{") > most
    return text.count(b"[") + text.count(b"{") > most


def whole_number(digits: str) -> int | str:
    """Return a number, or the text that it is if it has more digits than Python converts."""
    try:
        return int(digits)
    except ValueError:
        return digits


def of_sse(body: bytes) -> Frames:
    """Return the events of a stream of Server-Sent Events.

    The last one also counts if the blank line after it is missing, and so do events that have none
    between them, as long as the JSON in them is whole.

    Args:
        body: See https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    events: list[Event] = []
    rest, name = 0, ""
    data: list[bytes] = []
    room, is_cut = Room(), False
    for found in _LINE_OR_BLANK.finditer(body.removeprefix(_BOM)):
        line = found[0]
        if line[0] in b"\r\n":
            rest += _dispatch(name, data, events)
            name, data = "", []
            continue
        if not room.takes(line):
            is_cut = True
            break
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode(errors="replace")
    return Frames(events, rest + _dispatch(name, data, events), is_cut)


def _dispatch(name: str, data: list[bytes], events: list[Event]) -> int:
    """Add the event that lines of data are, or several; return how many are none."""
    if not data:
        return 0
    joined = b"\n".join(data)
    if found := _event(name, joined):
        events.append(found)
        return 0
    if len(data) == 1:
        return 1
    each = [_event(name, line) for line in data]
    events += filter(None, each)
    return each.count(None)


def _event(name: str, data: bytes) -> Event | None:
    if data.strip() == DONE.encode():
        return Event(name, DONE)
    try:
        return Event(name, parsed(data))
    except ValueError:  # UnicodeDecodeError is one
        return None


def of_lines(body: bytes) -> Frames:
    """Return the events of a stream that has one JSON a line."""
    events: list[Event] = []
    rest, room = 0, Room()
    for found in _LINE.finditer(body.removeprefix(_BOM)):
        line = found[0]
        if line.isspace():
            continue
        if not room.takes(line):
            return Frames(events, rest, is_cut=True)
        event = _event("", line)
        if event:
            events.append(event)
        else:
            rest += 1
    return Frames(events, rest)


def of_array(body: bytes) -> Frames:
    """Return the items of a JSON array as events: Gemini's stream without `alt=sse`."""
    text = body.removeprefix(_BOM).decode(errors="replace").lstrip(" \t\r\n")
    if not text.startswith("["):
        return Frames([], len(body))
    events: list[Event] = []
    if holds_too_much(text, VALUES_MAX):
        return Frames(events, len(body), is_cut=True)
    at = _past(text, 1)
    while at < len(text) and text[at] != "]":
        if len(events) == LINES_MAX:
            return Frames(events, len(text) - at, is_cut=True)
        try:
            item, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            let_through(error)
            return Frames(events, len(text) - at)
        events.append(Event("", item))
        at = _past(text, end)
    return Frames(events)


def _past(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def is_lines(body: bytes) -> bool:
    """Tell whether a body is several JSON texts, each on a line of its own."""
    lines = (found[0] for found in _LINE.finditer(body) if not found[0].isspace())
    first = next(lines, b"")
    if not first.startswith(b"{") or not next(lines, b"").startswith(b"{"):
        return False
    return _event("", first) is not None


def is_sse(body: bytes) -> bool:
    """Tell whether a body begins as Server-Sent Events do."""
    start = body[:64].removeprefix(_BOM).lstrip(b"\r\n")
    return start.startswith((b"data:", b"event:", b"id:", b"retry:", b":"))
