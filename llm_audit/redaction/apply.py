"""Puts the rules of the settings to work on what is about to be journaled."""

from collections.abc import Mapping, Sequence
from typing import Any

from llm_audit.call import OutcomeFields
from llm_audit.redaction import functions, secrets
from llm_audit.redaction.folding import folded
from llm_audit.redaction.rule import Rule
from llm_audit.redaction.walk import Walk
from llm_audit.settings import Settings

_ESCAPE = "\\u"  # in JSON: any character may stand behind it
_OUTCOME = frozenset(OutcomeFields.model_fields)


class Redaction:
    """What the settings say must not be stored.

    Args:
        settings: In force for its whole life.
    """

    def __init__(self, settings: Settings) -> None:
        given = settings.redact
        several = given if isinstance(given, tuple) else () if given is None else (given,)
        self._rules = tuple(one for one in several if isinstance(one, Rule))
        self.functions = tuple(one for one in several if not isinstance(one, Rule))
        self._secrets = settings.redact_secrets
        key = settings.redaction_key
        self._key = key.get_secret_value().encode() if key else None
        # what a rule is for is known once a response is taken apart
        self.needs_fields = bool(self.functions) or any(
            rule.fields and not _OUTCOME.isdisjoint(rule.fields) for rule in self._rules
        )

    def by_functions(self, fields: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return fields as the functions that were given leave them, and notes of what changed."""
        notes: list[str] = []
        for function in self.functions:
            fields, more = functions.apply(function, fields)
            notes += more
        return fields, notes

    def is_clean(self, doc: bytes) -> bool:
        """Tell quickly whether a document, as BSON, surely holds nothing to replace."""
        if self._secrets and secrets.may_be_in(doc):
            return False
        if not self._rules:
            return True
        text, _ = folded(doc.decode("utf-8", "ignore"))
        return _ESCAPE not in text and not any(_may_hold(rule, text) for rule in self._rules)

    def rewrite(
        self, document: dict[str, Any], call_type: object = None
    ) -> tuple[dict[str, Any], Mapping[str, int]]:
        """Return a document of plain values as it may be stored, and counts of what was replaced.

        Args:
            document: By field, its values as `sanitise` returns them.
            call_type: The call's, if that is known.
        """
        rules = [rule for rule in self._rules if _is_for(rule, call_type)]
        counts: dict[str, int] = {}
        clean = {}
        for name, value in document.items():
            walk = Walk(
                [rule for rule in rules if rule.fields is None or name in rule.fields],
                secrets.find if self._secrets else None,
                self._key,
            )
            clean[name] = walk.value(value)
            for rule, count in walk.counts.items():
                counts[rule] = counts.get(rule, 0) + count
        return clean, counts

    def lines(self, lines: Sequence[str]) -> Sequence[str]:
        """Return notes, which may name keys, as they may be stored."""
        walk = Walk(self._rules, secrets.find if self._secrets else None, self._key)
        return [walk.text(line) for line in lines]


def _is_for(rule: Rule, call_type: object) -> bool:
    return rule.call_types is None or call_type is None or str(call_type) in rule.call_types


def _may_hold(rule: Rule, text: str) -> bool:
    if rule.may_hold is not None:
        return rule.may_hold(text)
    lower = text.lower()
    return not rule.literals or any(folded(one.lower())[0] in lower for one in rule.literals)
