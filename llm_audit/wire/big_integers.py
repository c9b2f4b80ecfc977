"""Whole numbers of more than 64 bits, which are stored as texts: back to what they were."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

WHAT = "int beyond 64 bits stored as str"
_ELIDED = "…"


def with_integers(fields: Mapping[str, Any], notes: Iterable[object]) -> dict[str, Any]:
    """Return fields of a call with whole numbers where notes say that there were some.

    Args:
        fields: Are not changed.
        notes: The call's `encoding_notes`. They name the first 50 changes; what they do not name,
            or by a path too long to write out, stays a text.
    """
    found = dict(fields)
    for note in notes:
        path, _, what = str(note).rpartition(": ")
        if what == WHAT and _ELIDED not in path:
            _convert(found, path)
    return found


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
