"""A rule: what must not be stored, how to find it in a text, and what to put in its place."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from llm_audit.spelling import did_you_mean, nearest

Spans = Iterable[tuple[int, int]]
Find = Callable[[str], Spans]
Operator = Literal["remove", "mask", "pseudonym"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, repr=False)
class Rule:
    """What must not be stored.

    Attributes:
        name: In lower case; the document counts by it what was replaced.
        pattern: A regular expression, or a function that takes a text and returns the spans
            (start, end) of what it finds. Of an expression with a group called `value` only that
            group is replaced. None if the rule is ready-made: email, phone, card, iban or ip.
        literals: One of these is in every text that has a match; case does not count. A rule
            without any is tried on every text, which is slow.
        operator: What stands in its place. "remove": the rule's name; "mask": the domain of an
            address, the last of a number; "pseudonym": a name that is the same for the same text.
        call_types: The types of calls that it is for; None is all.
        fields: The fields of a call that it is for; None is all.
        may_hold: Says quickly of everything in a document, as one text and as people read it,
            that nothing in it can match: then it returns False. It is asked instead of `literals`.
    """

    name: str
    pattern: str | re.Pattern[str] | Find | None = None
    literals: tuple[str, ...] = ()
    operator: Operator = "remove"
    call_types: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    may_hold: Callable[[str], bool] | None = None
    _find: Find = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            ValueError: It is no rule; the message says why.
        """
        pattern = self.pattern
        if pattern is None:
            pattern, may_hold = _ready_made(str(self.name))
            object.__setattr__(self, "pattern", pattern)
            object.__setattr__(self, "may_hold", may_hold)
        if not _NAME.fullmatch(str(self.name)):
            raise ValueError("the name of a rule has to be like order_number")
        if self.operator not in get_args(Operator):
            raise ValueError(f"operator has to be one of {', '.join(get_args(Operator))}")
        for name in ("literals", "call_types", "fields"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise ValueError(f"{name} has to be a tuple of texts")  # noqa: TRY004
            if given is not None:
                object.__setattr__(self, name, tuple(map(str, given)))
        for name in self.fields or ():
            _check_field(name)
        object.__setattr__(self, "_find", _find_with(pattern))

    def __repr__(self) -> str:
        """Return what tells the rule from others; what it looks for may be nobody's business."""
        told = {"call_types": self.call_types, "fields": self.fields}
        rest = "".join(f", {name}={value!r}" for name, value in told.items() if value is not None)
        return f"Rule({self.name!r}, operator={self.operator!r}{rest})"

    def __str__(self) -> str:
        """Return the rule as `LLM_AUDIT_REDACT` has it."""
        return self.name if self.operator == "remove" else f"{self.name}:{self.operator}"

    @property
    def is_ready_made(self) -> bool:
        """Whether it is one of ours, which no text makes slow."""
        return getattr(self.pattern, "__module__", None) == "llm_audit.redaction.personal"

    def find(self, text: str) -> Spans:
        """Return the spans of what must not be stored of a text."""
        return self._find(text)


def _check_field(name: str) -> None:
    from llm_audit.call import CallFields

    if name not in CallFields.model_fields:
        meant = did_you_mean(nearest(name, CallFields.model_fields))
        raise ValueError(
            f"no field of a call is called {name[:64]!r}, so the rule is for none.{meant}"
        )


def _ready_made(name: str) -> tuple[Find, Callable[[str], bool]]:
    from llm_audit.redaction.personal import READY_MADE  # most do without, and loading takes time

    if name not in READY_MADE:
        raise ValueError(
            f"a rule takes a pattern, unless it is one of {', '.join(READY_MADE)}."
            f"{did_you_mean(nearest(name, READY_MADE))}"
        )
    return READY_MADE[name]


def _find_with(pattern: str | re.Pattern[str] | Find) -> Find:
    if callable(pattern):
        return pattern
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"the pattern of a rule is no regular expression: {error}") from None
    group = "value" if "value" in compiled.groupindex else 0
    return lambda text: [match.span(group) for match in compiled.finditer(text)]
