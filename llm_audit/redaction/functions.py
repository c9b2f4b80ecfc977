"""Functions of the user's that redact: each takes the fields of a call, and returns them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bson

from llm_audit.call import OutcomeFields, SaidLater, StartFields, TaskFields
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.sanitise import sanitise
from llm_audit.encoding.single_values import CODEC_OPTIONS

Function = Callable[[dict[str, Any]], dict[str, Any]]

# What makes a record a record; a function that drops or changes it would lose the call.
STRUCTURE = frozenset({"status", "outcome_key", "process_nonce", "completed_at"})


def leave(functions: Sequence[Function], doc: bytes, fields: Mapping[str, Any]) -> bool:
    """Tell whether functions leave a document as it is; what they raise comes out.

    Args:
        functions: In this order.
        doc: As BSON, of which each gets a copy that it may change in place.
        fields: What it was made of.
    """
    returned: Any = bson.decode(doc)
    for function in functions:
        returned = function(returned)
    if type(returned) is not dict:
        return False
    structure = {name: fields[name] for name in STRUCTURE if name in fields}  # is kept anyway
    # tuples are not what they were; to encode all of it again takes three times as long
    return bool(returned | structure == fields) or bool(
        bson.encode(returned, codec_options=CODEC_OPTIONS) == doc
    )


def apply(functions: Sequence[Function], document: dict[str, Any]) -> dict[str, Any]:
    """Return fields as functions leave them.

    Args:
        functions: In this order.
        document: A copy of plain values, which they may change in place.

    Raises:
        BaseException: Whatever they raise, and what says that they return no fields.
    """
    half = _half_of(document)
    structure = {name: document[name] for name in STRUCTURE if name in document}
    if half is OutcomeFields and "task_id" in document:  # of how a task ended
        structure["task_id"] = document["task_id"]
    order = _order_of(document)
    fields: Any = document
    for function in functions:
        fields = function(fields)
    returned = {
        name: value
        for name, value in fields.items()
        if name in half.model_fields and value is not None
    }
    typed = half.model_validate(returned | structure)
    stored = {name: _stored(getattr(typed, name), value) for name, value in returned.items()}
    if "scores" in stored:
        stored["scores"] = [{**score, **order} for score in stored["scores"]]
    return sanitise(stored | structure, Notes())


def _half_of(fields: dict[str, Any]) -> type[StartFields | OutcomeFields | SaidLater]:
    if "status" in fields:
        return OutcomeFields
    return StartFields if "schema_version" in fields else SaidLater


def _order_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return when the scores of a document were said, which no function changes."""
    scores = document.get("scores") or [{}]
    return {name: scores[0][name] for name in ("at", "key") if name in scores[0]}


def _stored(typed: Any, redacted: Any) -> Any:
    """Return a field as its type has it: a cost as a number, where the rule made it a Decimal."""
    if isinstance(typed, TaskFields):
        return typed.model_dump(exclude_unset=True)
    if isinstance(typed, str):
        return str.__str__(typed)  # an enum would say its name
    return typed if isinstance(typed, int | float) else redacted
