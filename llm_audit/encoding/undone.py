"""What encoding changed and can be undone: whole numbers of over 64 bits, and `$id` keys."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from llm_audit.encoding.moved import unescaped
from llm_audit.encoding.notes import BIG_INTEGER

_ELIDED = "…"


def as_given(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return fields of a call as they were given, as far as that can be told.

    Args:
        document: Of the call. Its `encoding_notes` name the first 50 changes; a number that they do
            not name, or by a path too long to write out, stays the text that it is stored as.
        names: Of the fields; those that there are not are left out.
    """
    found = {name: _unescaped(document[name]) for name in names if name in document}
    notes = document.get("encoding_notes")
    for note in notes if isinstance(notes, list) else ():
        path, _, what = str(note).rpartition(": ")
        if what == BIG_INTEGER and _ELIDED not in path:
            _convert(found, path)
    return found


def _unescaped(value: Any) -> Any:
    """Return a value with the names of keys that MongoDB's drivers would read as references."""
    if isinstance(value, dict):
        return unescaped({key: _unescaped(item) for key, item in value.items()})
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    return value


def _convert(value: Any, path: str) -> bool:
    """Convert what is at a path; tell whether it is there. Keys may have dots themselves."""
    for key, rest in _steps(value, path):
        inner = value[key]
        if rest is None:
            if isinstance(inner, str) and (number := _number(inner)) is not None:
                value[key] = number
                return True
        elif isinstance(inner, dict | list):
            value[key] = inner = inner.copy()
            if _convert(inner, rest):
                return True
    return False


def _number(text: str) -> int | None:
    try:
        return int(text, 0)  # what is very long is stored in hex
    except ValueError:
        return None


def _steps(value: Any, path: str) -> Iterator[tuple[Any, str | None]]:
    """Yield the keys that a path may begin with, and what comes after each; None at its end."""
    if isinstance(value, list):
        head, dot, rest = path.partition(".")
        if head.isdecimal() and int(head) < len(value):
            yield int(head), rest if dot else None
        return
    if path.startswith('"'):  # a key that might pass for what is said of it
        try:
            key, end = json.JSONDecoder().raw_decode(path)
        except ValueError:
            key, end = None, 0
        if key in value:
            yield key, path[end + 1 :] if end < len(path) else None
    at = path.find(".")
    while at >= 0:
        if path[:at] in value:
            yield path[:at], path[at + 1 :]
        at = path.find(".", at + 1)
    if path in value:
        yield path, None
