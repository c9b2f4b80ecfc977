"""What the ready-made rules find, what they leave, and that no text makes them slow."""

import random
from itertools import product
from pathlib import Path

import bson
import pytest

from llm_audit import LLMLogger, configure
from llm_audit.errors import ConfigurationError
from llm_audit.redaction import pseudonym
from llm_audit.redaction.apply import Redaction
from llm_audit.redaction.folding import folded
from llm_audit.redaction.operators import pseudonym_of, replacement
from llm_audit.redaction.personal import READY_MADE
from llm_audit.redaction.rule import Rule
from llm_audit.settings import Settings

planted_people = pytest.importorskip(
    "benchmarks.planted_people", reason="only a checkout has the benchmarks"
)
RULES = {name: Rule(name) for name in READY_MADE}
HOSTILE = (
    *("@", "a@", "a.", "a@b.", "a@a-", "a@b[dot]", "%40", "(at)", " (at) ", "1", "1 ", "01 ", "+1"),
    *("(", "+(", "1.", "1.2.3.4.", ":", "a:", "fe80:", "DE89", "DE89 ", "A1", "4111 ", "4111-"),
    *("\u200b", "4\u200b", "1\u00a0", "phone 1234567 ", "06 12 34 56 78 ", "1-. ", "[at", "DE89 1"),
)


def found_in(name: str, text: str) -> list[str]:
    return [text[start:end] for start, end in RULES[name].find(text)]


def test_personal_data_are_found_in_every_form_and_surrounding() -> None:
    """The whole of it and nothing around it, in any script, with blanks that nobody sees."""
    missed = [
        (kind, text, found)
        for kind, _, secret, text in planted_people.planted_personal()
        # what only its name makes a number is found without the name
        if (found := found_in(kind, text)) != [secret.split('"')[-1].removeprefix("Tel. ")]
    ]

    assert missed == []


def test_numbers_that_are_nobodys_are_left() -> None:
    """An order number, a timestamp, a part of a UUID and a version tell nothing of anybody."""
    texts = [
        around.format(number)
        for number, around in product(
            planted_people.NOTHING_PERSONAL, planted_people.AROUND_PERSONAL
        )
    ]

    assert [(name, text) for text in texts for name in RULES if found_in(name, text)] == []


def test_a_document_with_a_match_is_not_taken_for_clean() -> None:
    """The quick look at the whole document misses nothing that the rule finds in a text of it."""
    missed = [
        (kind, text)
        for kind, _, _, text in planted_people.planted_personal()
        if (fields := {"pid": 33, "metadata": {"a": text}, "latency_ms": 12.5})
        and Redaction(Settings(redact=kind, redact_secrets=False)).is_clean(
            bson.encode(fields), fields
        )
    ]

    assert missed == []


@pytest.mark.timeout(60)
def test_no_text_makes_a_rule_slow() -> None:
    """What a rule does grows with the text: a quadratic one would be at it for hours."""
    for piece in HOSTILE:
        text = piece * (50_000 // len(piece))
        for name in RULES:
            found_in(name, text)


def test_one_person_has_one_pseudonym_however_it_is_written() -> None:
    """Capitals, blanks, brackets and wide letters make no other person; another key makes all."""
    same = (
        ("ada@example.com", "Ada@Example.COM", "ada (at) example (dot) com", "ada%40example.com"),
        ("+49 (0)30 123456", "0049 30 123456", "+4930123456", "+49-30-12 34 56"),
        ("4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"),
        ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
    )
    names = [{pseudonym_of(text, b"k" * 16) for text in texts} for texts in same]

    assert [len(each) for each in names] == [1] * len(same)
    assert len(set.union(*names, {pseudonym_of("ada@example.com", b"another key")})) == 5
    assert {pseudonym_of(name, b"k" * 16) for each in names for name in each} == set.union(*names)
    assert pseudonym_of("Ab12", b"k" * 16) != pseudonym_of("aB12", b"k" * 16)


def test_pseudonyms_want_a_key_that_nobody_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, whoever configures is told which setting is missing; no message repeats it."""
    for given in (
        {"redact": "email:pseudonym"},
        {"redact": ["card", Rule("email", operator="pseudonym")]},
        {"redact": "email:pseudonym", "redaction_key": "hunter2"},
        {"redaction_key": "hunter2"},
    ):
        with pytest.raises(ConfigurationError, match="redaction_key") as raised:
            configure(**given)
        assert "hunter2" not in str(raised.value), given
    with pytest.raises(ConfigurationError, match="redaction_key"):
        pseudonym("ada@example.com")
    monkeypatch.setenv("LLM_AUDIT_REDACTION_KEY", "a long and secret sentence")
    configure(redact="email:pseudonym")

    assert pseudonym(" Ada@example.com") == pseudonym("ada@example.com")
    assert pseudonym("ada@example.com") == "pseudonym-a524c38e6a6fedb6"


def test_a_mask_shows_what_tells_nobody() -> None:
    """The domain, the network, the last of a number; of a short text, nothing."""
    shown = {
        ("email", "ada@example.com"): "***@example.com",
        ("phone", "+49 30 123456"): "***56",
        ("card", "4111 1111 1111 1111"): "***1111",
        ("iban", "DE89 3704 0044 0532 0130 00"): "***3000",
        ("ip", "203.0.113.7"): "203.0.***",
        ("ip", "2001:db8::1"): "2001:db8:***",
        ("own", "short"): "***",
        ("own", "long enough to be told apart"): "***part",
    }

    assert {given: replacement("mask", *given, None) for given in shown} == shown


def test_what_is_read_as_people_do_keeps_its_place() -> None:
    """Whatever is wide, circled or not seen at all, each character left is that of its place."""
    drawn = random.Random(7)
    for _ in range(2_000):
        text = "".join(
            drawn.choices("a1 \u200b\u00a0\uff11\u0661-\u2013é😀\U0001d7ce\ufeff\u2460", k=9)
        )
        plain, places = folded(text)
        where = range(len(text)) if places is None else places
        assert len(plain) == len(where), ascii(text)
        for character, at in zip(plain, where, strict=True):
            assert character == text[at] or not text[at].isascii(), ascii(text)


def test_the_same_rules_may_be_given_again(tmp_path: Path) -> None:
    """An app factory that runs twice makes each rule anew; another rule is a mistake."""

    def given() -> list[object]:
        return [
            "email:mask",
            Rule("card"),
            Rule("own", lambda text: [(0, len(text))]),
            Rule("x", "x"),
        ]

    configure(redact=given(), spool_dir=tmp_path, exit_timeout_seconds=0)
    LLMLogger.start(model="m")
    configure(redact=given())
    for other in ("email", [*given(), "ip"], None):
        with pytest.raises(ConfigurationError, match="redact"):
            configure(redact=other)


def test_what_names_no_rule_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which names there are, and where rules of the user's own go; from the environment, too."""
    monkeypatch.setenv("LLM_AUDIT_REDACT", "emial")
    told = r"are email, phone, .* own go to .*\(redact=\.\.\.\)\. Did you mean email\? Fix the "
    for given in ({"redact": "emial"}, {"redact": ["card", "emial"]}, {"strict": True}):
        with pytest.raises(ConfigurationError, match=told):
            configure(**given)
    with pytest.raises(ConfigurationError, match=r"at least 16 characters. Fix"):
        configure(redaction_key="short")


def test_a_rule_that_could_never_match_is_a_mistake() -> None:
    """A misspelt field or name, a pattern that is none: told where the rule is made."""
    mistakes = {
        "Did you mean messages": {"name": "own", "pattern": "x", "fields": ["mesages"]},
        "Did you mean email": {"name": "emial"},
        "no regular expression": {"name": "own", "pattern": "("},
        "like order_number": {"name": "Own rule", "pattern": "x"},
        "operator": {"name": "email", "operator": "hash"},
        "a tuple": {"name": "email", "fields": "messages"},
    }
    for told, given in mistakes.items():
        with pytest.raises(ValueError, match=told):
            Rule(**given)
