"""Puts the rules of the settings to work on what is about to be journaled."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llm_audit.call import CallFields, OutcomeFields, Score, TaskFields
from llm_audit.errors import let_through, log_once
from llm_audit.redaction import functions
from llm_audit.redaction.failing import NOTE, STATUSES, NoRulesError, without_text
from llm_audit.redaction.folding import folded
from llm_audit.redaction.functions import STRUCTURE
from llm_audit.redaction.rule import Rule
from llm_audit.redaction.secrets import look, raw
from llm_audit.redaction.walk import LARGE, MEDIA_MIN_CHARACTERS, Walk, has_no_words
from llm_audit.runtime import clock
from llm_audit.settings import Settings

# Python cannot stop a pattern or a function that is slow, only look at the clock after it. So one
# that was too slow is not tried again for a while: the audited call waits for it once.
BUDGET_SECONDS = 2.0
REST_SECONDS = 60.0

_ESCAPE = "\\u"  # in JSON: any character may stand behind it
_INT64 = b"\x12"  # how BSON begins one
_LARGE_NUMBER = re.compile(rb"\x12([^\0]{0,200})\0(.{8})", re.DOTALL)
_OUR_NUMBERS = frozenset((b"outcome_key", b"key"))
_OUTCOME = frozenset(OutcomeFields.model_fields)
# Documents that hold what was given, or what is said of a call, under names of ours.
_OUR_DOCUMENTS = frozenset(("said", "response", "task", "scores", "annotations"))
_OUR_NAMES = frozenset(
    (
        *(*CallFields.model_fields, *TaskFields.model_fields, *Score.model_fields),
        *("said", "asked", "response", "tokens", "error"),  # of an end that is still to be read
        *("body", "api", "ours", "message", "note", "mistake", "hidden"),  # of its response
    )
)


class OverrunError(Exception):
    """Rules take, or took not long ago, longer than the audited call may wait for them."""


class Redaction:
    """What the settings say must not be stored.

    Args:
        settings: In force for its whole life.
        budget_seconds: How long the user's rules may take for one document.
    """

    def __init__(self, settings: Settings, budget_seconds: float = BUDGET_SECONDS) -> None:
        given = settings.redact
        several = given if isinstance(given, tuple) else () if given is None else (given,)
        self.rules = tuple(one for one in several if isinstance(one, Rule))
        self.functions = tuple(one for one in several if not isinstance(one, Rule))
        self.for_secrets = settings.redact_secrets
        # the time that ours take is in proportion to the text, so only a huge one takes seconds
        are_all_ours = not self.functions and all(rule.is_ready_made for rule in self.rules)
        self.budget_seconds = math.inf if are_all_ours else budget_seconds
        self.rests_until = 0.0
        secret = settings.redaction_key
        self.key = secret.get_secret_value().encode() if secret else None
        # what a rule is for is known once a response is taken apart
        self.needs_fields = bool(self.functions) or any(
            rule.fields and not _OUTCOME.isdisjoint(rule.fields) for rule in self.rules
        )

    def is_clean(self, doc: bytes, fields: dict[str, Any]) -> bool:
        """Tell quickly whether a document may be stored as it is.

        Args:
            doc: As BSON.
            fields: What it was made of.
        """
        if self.may_hold_secrets(doc):
            return False
        if not self.rules and not self.functions:
            return True
        try:
            check = self.timed()
            clean = not self._rules_find(doc) and (
                not self.functions or functions.leave(self.functions, doc, fields)
            )
            check()
        except BaseException as fault:  # noqa: BLE001
            let_through(fault)
            return False  # the same happens where the document is rewritten, and is said there
        return clean

    def is_clean_as_seen(self, doc: bytes, body: bytes, told: Mapping[str, Any]) -> bool:
        """Tell quickly whether what was seen on the wire may be stored unread, without rules.

        Args:
            doc: What is known of it, as BSON.
            body: As it was seen.
            told: What its headers say: `content_type`, `content_encoding` and `streamed`.
        """
        return not self.for_secrets or raw.is_clean(doc, body, told)

    def may_hold_secrets(self, doc: bytes) -> bool:
        """Tell quickly whether a document, as BSON, may hold secrets that are looked for."""
        return self.for_secrets and look.may_be_in(doc)

    def timed(self) -> Callable[[], object]:
        """Begin with rules of the user's; return what to call after each step of theirs.

        Raises:
            OverrunError: They were too slow not long ago; from what is returned, they are now.
        """
        began = clock.monotonic()
        if began < self.rests_until:
            raise OverrunError

        def check() -> None:
            now = clock.monotonic()
            if now - began > self.budget_seconds:
                self.rests_until = now + REST_SECONDS
                raise OverrunError

        return check

    def rewrite(
        self, document: dict[str, Any], call_type: object = None
    ) -> tuple[dict[str, Any], Mapping[str, int]]:
        """Return a document of plain values as it may be stored, and counts of what was replaced.

        Args:
            document: By field, its values as `sanitise` returns them; it is changed.
            call_type: The call's, if that is known.
        """
        rewriting = Rewriting(self, call_type)
        clean = rewriting(document)
        return clean, rewriting.counts_with({})

    def _rules_find(self, doc: bytes) -> bool:
        if not self.rules:
            return False
        return bool(_that_may_match(self.rules, doc))


class Rewriting:
    """Makes of one document what may be stored of it.

    Args:
        redaction: What must not be.
        call_type: The call's, if that is known.
        doc: As BSON, if it can be made of the document as it is. What cannot be in it is not looked
            for in each of its texts.

    Attributes:
        asked: The provider and the model, as they may be stored.
        failed: What is left out because a rule has failed, for `encoding_notes`; None if none has.
    """

    def __init__(self, redaction: Redaction, call_type: object, doc: bytes | None = None) -> None:
        self.asked: tuple[Any, Any] = (None, None)
        self._counts: Counter[str] = Counter()
        self.failed: str | None = None
        self._redaction = redaction
        self._rules = [rule for rule in redaction.rules if _is_for(rule, call_type)]
        self._doc = None if redaction.functions else doc  # they may put in what they like
        self._for_secrets = redaction.for_secrets
        self._check: Callable[[], object] = int  # does nothing

    def __call__(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document of plain values as it may be stored.

        Args:
            document: By field, its values as `sanitise` returns them; it is changed.
        """
        names_given, kept = list(document), without_text(document)
        try:
            clean = self.attempt(document)
        except BaseException as fault:  # noqa: BLE001  (then nothing is known of the content)
            let_through(fault)
            if not isinstance(fault, NoRulesError):
                log_once(
                    f"A rule of redact failed with {type(fault).__name__}. Until it is fixed, "
                    "calls are recorded without their text and ids. A function has to return the "
                    "dict of fields, each of its own type; all rules together may take "
                    f"{BUDGET_SECONDS:.0f} s.",
                    key="redact failed",
                )
            self._counts.clear()
            self.failed = f"{', '.join(name for name in names_given if name not in kept)}: {NOTE}"
            clean = kept
        self.asked = clean.get("provider"), clean.get("model")
        return clean

    def lines(self, lines: Sequence[str]) -> Sequence[str]:
        """Return notes as they may be stored: they name keys, which may be anything."""
        if self.failed is not None:
            return (self.failed,)
        try:
            walk = self._walk(self._rules)
            told = [walk.text(line) for line in lines]
        except BaseException as fault:  # noqa: BLE001
            let_through(fault)
            return (NOTE,)
        if self._redaction.functions:  # of which nobody knows what they look for
            fields = dict.fromkeys(line.partition(":")[0].partition(".")[0] for line in lines)
            return [f"{field}: changed to be stored, before it was redacted" for field in fields]
        return told

    def counts_with(self, before: Mapping[str, int]) -> dict[str, int]:
        """Return how often each rule has replaced something, with what was counted before."""
        return dict(self._counts + Counter(before))

    def attempt(self, document: dict[str, Any]) -> dict[str, Any]:
        """Do the same, but let out what a rule raises.

        Args:
            document: As there.

        Raises:
            BaseException: A rule failed, and nothing is known of the content.
        """
        redaction = self._redaction
        if self._rules or redaction.functions:
            self._check = redaction.timed()
        if self._doc is not None:
            self._rules = _that_may_match(self._rules, self._doc)
            self._for_secrets = redaction.may_hold_secrets(self._doc)
        if redaction.functions:
            document = functions.apply(redaction.functions, document)
            self._check()
        clean: dict[str, Any] = {}
        for name, value in document.items():
            if name in STRUCTURE:
                clean[name] = value
                continue
            walk = self._walk(
                [rule for rule in self._rules if rule.fields is None or name in rule.fields]
            )
            clean |= _stored({name: value}, walk)
            self._counts += walk.counts
        return clean

    def _walk(self, rules: Sequence[Rule]) -> Walk:
        return Walk(rules, self._redaction.key, self._check, for_secrets=self._for_secrets)


def _stored(document: dict[str, Any], walk: Walk) -> dict[str, Any]:
    """Return a document of ours as it may be stored: its names are no content."""
    clean: dict[str, Any] = {}
    for name, value in document.items():
        if name not in _OUR_NAMES:
            clean |= walk.value({name: value})
        elif isinstance(value, int | float) or (name == "status" and value in STATUSES):
            clean[name] = value
        elif name in _OUR_DOCUMENTS and isinstance(value, dict):
            clean[name] = _stored(value, walk)
        elif name in _OUR_DOCUMENTS and isinstance(value, list):
            clean[name] = [
                _stored(item, walk) if isinstance(item, dict) else walk.value(item)
                for item in value
            ]
        else:
            clean[name] = walk.value(value)
    return clean


def _is_for(rule: Rule, call_type: object) -> bool:
    return rule.call_types is None or call_type is None or str(call_type) in rule.call_types


def _that_may_match(rules: Sequence[Rule], doc: bytes) -> list[Rule]:
    """Return the rules that may find something in a document, as BSON."""
    if not rules:
        return []
    text = doc.decode("utf-8", "ignore")
    if len(text) > MEDIA_MIN_CHARACTERS:  # as in the walk: there is no text in pictures
        text = "\0".join(piece for piece in text.split("\0") if not has_no_words(piece))
    text = "\0".join((folded(text)[0], *_large_numbers(doc)))
    return [rule for rule in rules if _ESCAPE in text or _may_hold(rule, text)]


def _large_numbers(doc: bytes) -> Iterator[str]:
    """Yield the large numbers in a document, as BSON, that are no text in it."""
    if _INT64 in doc:
        for name, value in _LARGE_NUMBER.findall(doc):
            number = int.from_bytes(value, "little", signed=True)
            if name not in _OUR_NUMBERS and not -LARGE < number < LARGE:
                yield str(number)


def _may_hold(rule: Rule, text: str) -> bool:
    if rule.may_hold is not None:
        return rule.may_hold(text)
    lower = text.lower()
    return not rule.literals or any(folded(one.lower())[0] in lower for one in rule.literals)
