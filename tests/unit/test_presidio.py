"""What Presidio finds, as rules of ours; only where Presidio is installed."""

import pytest

from llm_audit.redaction.presidio import presidio

spacy = pytest.importorskip("spacy", reason="the extra presidio is not installed")
engines = pytest.importorskip("presidio_analyzer", reason="the extra presidio is not installed")


class WithoutModel(engines.nlp_engine.SpacyNlpEngine):  # type: ignore[misc]
    """Presidio's patterns only: a model would have to be downloaded."""

    def __init__(self) -> None:
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}


@pytest.mark.filterwarnings("default")
def test_what_presidio_finds_is_replaced_under_its_name() -> None:
    """Each kind of entity is a rule; what Presidio is not sure of is left."""
    analyzer = engines.AnalyzerEngine(nlp_engine=WithoutModel(), supported_languages=["en"])
    rules = presidio(analyzer, entities=["CREDIT_CARD", "US_DRIVER_LICENSE"])
    text = "Card 4111 1111 1111 1111, order A1234567, card 378282246310005"

    assert [(rule.name, [text[a:b] for a, b in rule.find(text)]) for rule in rules] == [
        ("credit_card", ["4111 1111 1111 1111", "378282246310005"]),
        ("us_driver_license", []),
    ]
