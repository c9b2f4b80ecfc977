"""What is left of a record that has to do without its content: who, when and how much."""

import sys
from collections.abc import Container, Mapping
from typing import Any

from llm_audit.call import Kind, named
from llm_audit.encoding.encode import encode

# What is left of a record that has to do without its content, each as far as it is small.
BARE_FIELDS = frozenset(named(Kind.WHO, Kind.FIGURE, Kind.LABEL))
BARE_FIELD_MAX_BYTES = 2048


def strip_content(
    fields: Mapping[str, Any], why: str, *, but_not: Container[str] = ()
) -> tuple[dict[str, Any], str]:
    """Return the fields that say who, when and how much, and a note that names the others.

    Args:
        fields: A record's.
        why: For the note.
        but_not: Fields that go, too.
    """
    kept = {
        name: value
        for name, value in fields.items()
        if name in BARE_FIELDS and name not in but_not and _is_small(value)
    }
    return kept, f"{', '.join(name for name in fields if name not in kept)}: {why}"


def _is_small(value: Any) -> bool:
    if isinstance(value, str) and 4 * len(value) <= BARE_FIELD_MAX_BYTES:  # UTF-8 takes 4 at most
        return True
    return len(encode({"": value}, sys.maxsize, sys.maxsize).raw) <= BARE_FIELD_MAX_BYTES
