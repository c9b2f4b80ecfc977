"""Microsoft Presidio's findings as rules: names and places, which no pattern finds.

It takes a model, and far longer than the call may wait: so these are rules for `redact_in_shipper`.
"""

from collections.abc import Sequence
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from llm_audit.call import CONTENT
from llm_audit.redaction.rule import Rule

MODEL = "en_core_web_lg"  # what AnalyzerEngine() loads; it would ask the internet for a missing one
ENTITIES = (
    *("PERSON", "LOCATION", "NRP", "EMAIL_ADDRESS", "PHONE_NUMBER"),
    *("CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "UK_NHS", "MEDICAL_LICENSE"),
)
MIN_SCORE = 0.5  # below it stands what only looks like it: any nine digits may be a licence


def presidio(
    analyzer: Any = None,
    *,
    language: str = "en",
    entities: Sequence[str] = ENTITIES,
    min_score: float = MIN_SCORE,
) -> tuple[Rule, ...]:
    """Return a rule for each kind of entity that Presidio finds, named like it in lower case.

    Args:
        analyzer: An `AnalyzerEngine`; by default one with Presidio's own English model is made when
            the first text comes.
        language: Of the texts.
        entities: What to look for.
        min_score: From 0 to 1: how sure Presidio has to be.

    Raises:
        ValueError: Presidio or its model is not installed.
    """
    if analyzer is None:
        _check_installed()
    findings = _Findings(analyzer, language, list(entities), min_score)
    return tuple(
        Rule(entity.lower(), partial(findings.of, entity), fields=tuple(sorted(CONTENT)))
        for entity in entities
    )


@cache
def with_its_own_model() -> tuple[Rule, ...]:
    """Return the rules for "presidio", the same ones each time that it is named."""
    return presidio()


class _Findings:
    """What Presidio finds in a text, asked once for all the rules."""

    def __init__(self, analyzer: Any, language: str, entities: list[str], min_score: float) -> None:
        self._analyzer = analyzer
        self._asks = {"language": language, "entities": entities, "score_threshold": min_score}
        self._last: tuple[str, list[Any]] = "", []

    def of(self, entity: str, text: str) -> list[tuple[int, int]]:
        seen, results = self._last
        if seen != text:
            results = self._analyze(text)
            self._last = text, results
        return [(one.start, one.end) for one in results if one.entity_type == entity]

    def _analyze(self, text: str) -> list[Any]:
        if not any(map(str.isalnum, text)):
            return []
        if self._analyzer is None:
            from presidio_analyzer import AnalyzerEngine

            self._analyzer = AnalyzerEngine()
        found: list[Any] = self._analyzer.analyze(text, **self._asks)
        return found


def _check_installed() -> None:
    if find_spec("presidio_analyzer") is None:
        raise ValueError("presidio is not installed: pip install 'llm-audit[presidio]'")
    if find_spec(MODEL) is None:
        raise ValueError(
            f"Presidio's model is not installed: python -m spacy download {MODEL}; or give the "
            "rules of llm_audit.redaction.presidio.presidio(analyzer) with one of your own"
        )
