"""JSON in a text, such as a tool's arguments, read only where there is one way to read it."""

import json
from typing import Any


def meaning_of(text: str) -> Any:
    """Return what a text of JSON means.

    Of a name that stands twice in an object some readers take the first value and some the last,
    so what one of them is shown need not be what another one does.

    Args:
        text: What may be JSON.

    Raises:
        ValueError: It is none, or a name stands in an object twice.
        RecursionError: It is too deep.
    """
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in an object twice")
    return found
