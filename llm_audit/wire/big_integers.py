"""Whole numbers of more than 64 bits, which are stored as texts: back to what they were."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

WHAT = "int beyond 64 bits stored as str"
_ELIDED = "…"


def with_integers(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with whole numbers where its `encoding_notes` say that there were some.

    Args:
        document: Of a call. It is not changed. The notes name the first 50 changes; what they do
            not name, or by a path too long to write out, stays a text.
    """
    found = dict(document)
    for note in found.get("encoding_notes") or ():
        path, _, what = str(note).rpartition(": ")
        if what == WHAT and _ELIDED not in path:
            _convert(found, path)
    return found


def _convert(value: Any, path: str) -> bool:
    """Convert what is at a path; tell whether it is there. Keys may have dots themselves."""
    for key, rest in _steps(value, path):
        inner = value[key]
        if not rest:
            if isinstance(inner, str):
                try:
                    value[key] = int(inner, 0)
                except ValueError:
                    continue
                return True
        elif isinstance(inner, dict | list):
            value[key] = inner = inner.copy()
            if _convert(inner, rest):
                return True
    return False


def _steps(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    """Yield the keys that a path may begin with, and what is left of it."""
    if isinstance(value, list):
        head, _, rest = path.partition(".")
        if head.isdecimal() and int(head) < len(value):
            yield int(head), rest
    elif path.startswith('"'):  # a key that might pass for what is said of it
        try:
            key, end = json.JSONDecoder().raw_decode(path)
        except ValueError:
            return
        if key in value:
            yield key, path[end + 1 :]
    else:
        at = path.find(".")
        while at >= 0:
            if path[:at] in value:
                yield path[:at], path[at + 1 :]
            at = path.find(".", at + 1)
        if path in value:
            yield path, ""
