"""What is said of a call later, checked: the arguments of `LLMLogger.score` and `annotate`."""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any

from llm_audit.call import COMMENT, LABEL, NAME_OF_SCORE
from llm_audit.encoding.safe_text import text
from llm_audit.errors import let_through
from llm_audit.given import arguments
from llm_audit.settings import report_mistake

NAME_MAX_CHARACTERS = NAME_OF_SCORE.characters
LABEL_MAX_CHARACTERS = LABEL.characters
COMMENT_MAX_CHARACTERS = COMMENT.characters
_INT64 = 2**63


def score_fields(name: object, value: object, comment: object, source: object) -> dict[str, Any]:
    """Return the fields of a score; where there is none, nothing.

    Args:
        name: What is judged.
        value: How it is judged.
        comment: Why.
        source: Who judges.
    """
    judged = _value(value)
    named = _cut("name", name, NAME_MAX_CHARACTERS)
    if not named:
        report_mistake("name has to say what the score is about; the score is left out.")
    if judged is None or not named:
        return {}
    score = {
        "name": named,
        "value": judged,
        "source": _cut("source", source, NAME_MAX_CHARACTERS),
        "comment": _cut("comment", comment, COMMENT_MAX_CHARACTERS),
    }
    return {"scores": [{key: given for key, given in score.items() if given is not None}]}


def annotation_fields(
    tags: Iterable[str] | None, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the fields of an annotation; where it says nothing, nothing."""
    return arguments.checked({"tags": tags, "metadata": metadata}, {})


def _value(given: object) -> bool | int | float | str | None:
    """Return a verdict, a number or a label; anything else is none."""
    try:
        value = _judged(given)
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        value = None
    if value is None:
        report_mistake(
            "value has to be True or False, a finite number of at most 64 bits or a label, not %s; "
            "the score is left out.",
            given,
        )
    return _cut("value", value, LABEL_MAX_CHARACTERS) if isinstance(value, str) else value


def _judged(given: object) -> bool | int | float | str | None:
    value = given.value if isinstance(given, Enum) else given
    if callable(item := getattr(type(value), "item", None)):  # numpy's
        value = item(value)
    if isinstance(value, bool | str):
        return value if value != "" else None
    if isinstance(value, Integral):
        return int(value) if -_INT64 <= int(value) < _INT64 else None
    if isinstance(value, Real | Decimal) and math.isfinite(value):
        return float(value)
    return None


def _cut(name: str, given: object, most: int) -> str | None:
    """Return a text of at most so many characters; an empty one is none."""
    if given is None:
        return None
    whole = text(given)
    if len(whole) > most:
        report_mistake(f"{name} has {len(whole)} characters: give {most} at most; it is cut.")
    return whole[:most] or None
