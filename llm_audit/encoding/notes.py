"""What encoding changed in a call: the lines of a document's `encoding_notes`."""

import json
from collections.abc import Sequence

from llm_audit.encoding.safe_text import escape_surrogates

BIG_INTEGER = "int beyond 64 bits stored as str"  # `undone` looks for it
MAX_NOTES = 50
MAX_PATH_CHARACTERS = 200


class Notes:
    """Collects "<path>: <what>" lines: the first 50, then only how many more there were."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, path: Sequence[str], what: str) -> None:
        """Note that the value at `path` (keys and list positions, from the top) was changed."""
        if len(self._lines) == MAX_NOTES:
            self._more += 1
            return
        dotted = ".".join(map(_step, path))
        if len(dotted) > MAX_PATH_CHARACTERS:
            half = MAX_PATH_CHARACTERS // 2
            dotted = f"{dotted[:half]}…{dotted[-half:]}"
        self._lines.append(escape_surrogates(f"{dotted}: {what}"))

    def lines(self) -> tuple[str, ...]:
        """Return the notes in the order in which they were made."""
        if self._more:
            return (*self._lines, f"and {self._more} more")
        return tuple(self._lines)


def _step(key: str) -> str:
    """Return a key, between quotes if it might pass for what is said of it."""
    if ": " not in key and key.isprintable():
        return key
    return json.dumps(key[: MAX_PATH_CHARACTERS + 1], ensure_ascii=False)
