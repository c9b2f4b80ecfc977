"""The user's `redact` rule, applied before anything is encoded, so before anything is on disk."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import bson
from bson.errors import BSONError

from llm_audit.call import OutcomeFields, SaidLater, StartFields, TaskFields, without_content
from llm_audit.encoding.encode import encode, encode_carefully
from llm_audit.errors import let_through, log_once
from llm_audit.settings.fields import Redact

# What makes a record a record; a rule that drops or changes it would lose the call.
STRUCTURE = frozenset({"status", "outcome_key", "process_nonce", "completed_at"})


def apply(redact: Redact, fields: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields as the rule leaves them, and notes of what encoding changed before.

    The rule gets a plain copy (dicts, lists, strings, numbers), so it may change it in place
    without touching what the audited code sends. Where the rule itself fails, the content is left
    out: better a call without its text than a secret on disk.

    Args:
        redact: Takes and returns the fields of a call's start, later those of its outcome, and
            those of what is said of it after that.
        fields: What would be recorded.
    """
    encoded = encode(fields, sys.maxsize, sys.maxsize)
    try:
        plain = bson.decode(encoded.raw)
    except BSONError:  # it can be written, not read: a date far beyond the year 9999, say
        encoded = encode_carefully(fields, sys.maxsize, sys.maxsize)
        plain = bson.decode(encoded.raw)
    structure = {name: fields[name] for name in STRUCTURE if name in fields}
    half = _model_of(fields)
    try:
        redacted = {
            name: value
            for name, value in redact(dict(plain)).items()
            if name in half.model_fields and value is not None
        }
        typed = half.model_validate(redacted | structure)
        redacted = {name: _stored(getattr(typed, name), value) for name, value in redacted.items()}
    except Exception as error:  # noqa: BLE001  (any fault of the rule counts as "do not store")
        let_through(error)
        log_once(
            f"redact failed with {type(error).__name__}: the function given to "
            "llm_audit.configure(redact=...) has to return the dict of fields, each of its own "
            "type. Until it is fixed, calls are recorded without their content."
        )
        redacted = without_content(plain)
    redacted |= structure
    return redacted, list(_notes(redacted, encoded.notes))


def _model_of(fields: dict[str, Any]) -> type[StartFields | OutcomeFields | SaidLater]:
    if "status" in fields:
        return OutcomeFields
    return StartFields if "schema_version" in fields else SaidLater


def _stored(typed: Any, redacted: Any) -> Any:
    """Return a field as its type has it: a cost as a number, where the rule made it a Decimal."""
    if isinstance(typed, TaskFields):
        return typed.model_dump(exclude_unset=True)
    if isinstance(typed, str):
        return str.__str__(typed)  # an enum would say its name
    return typed if isinstance(typed, int | float) else redacted


def _notes(redacted: dict[str, Any], notes: Sequence[str]) -> Iterator[str]:
    """Say what was changed by field only: the paths in the notes may hold what was redacted."""
    for name in redacted:
        if any(note.startswith((f"{name}.", f"{name}:")) for note in notes):
            yield f"{name}: changed to be stored, before it was redacted"
