"""The pieces of a stream: Server-Sent Events, lines of JSON, a JSON array, AWS event stream.

A stream may be broken off anywhere, in the middle of a character too: what came whole before is
read. No bytes make this raise, and reading takes time in proportion to their number.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from llm_audit.encoding.bounds import MAX_VALUES
from llm_audit.errors import let_through
from llm_audit.wire.api import Event

DONE = "[DONE]"
_BOM = codecs.BOM_UTF8
_BETWEEN = " \t\r\n,"  # the items of a JSON array
_DECODER = json.JSONDecoder()


class Frames(NamedTuple):
    """What a stream holds.

    Attributes:
        events: Those that came whole.
        rest: How many bytes at its end, or lines in it, are none.
    """

    events: list[Event]
    rest: int = 0


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


def holds_too_much(text: str | bytes) -> bool:
    """Tell whether JSON has more lists and objects than there is memory for."""
    if len(text) <= MAX_VALUES:
        return False
    if isinstance(text, str):
        return text.count("[") + text.count("{") > MAX_VALUES
    return text.count(b"[") + text.count(b"{") > MAX_VALUES


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
    for line in (*body.removeprefix(_BOM).splitlines(), b""):
        if not line:
            rest += _dispatch(name, data, events)
            name, data = "", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode(errors="replace")
    return Frames(events, rest)


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
    lines = [line for line in body.removeprefix(_BOM).splitlines() if line and not line.isspace()]
    each = [_event("", line) for line in lines]
    return Frames([event for event in each if event], each.count(None))


def of_array(body: bytes) -> Frames:
    """Return the items of a JSON array as events: Gemini's stream without `alt=sse`."""
    text = body.removeprefix(_BOM).decode(errors="replace").lstrip(" \t\r\n")
    if not text.startswith("["):
        return Frames([], len(body))
    events: list[Event] = []
    at = 1
    while True:
        at = _past(text, at)
        if at >= len(text) or text[at] == "]":
            return Frames(events)
        try:
            item, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            let_through(error)
            return Frames(events, len(text) - at)
        events.append(Event("", item))


def _past(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BETWEEN:
        at += 1
    return at


def is_lines(body: bytes) -> bool:
    """Tell whether a body is several JSON texts, each on a line of its own."""
    lines: Iterator[bytes] = (line for line in body.splitlines() if line and not line.isspace())
    first, second = next(lines, b""), next(lines, b"")
    return first[:1] == b"{" and second[:1] == b"{" and _event("", first) is not None


def is_sse(body: bytes) -> bool:
    """Tell whether a body begins as Server-Sent Events do."""
    start = body[:64].removeprefix(_BOM).lstrip(b"\r\n")
    return start.startswith((b"data:", b"event:", b"id:", b"retry:", b":"))
