"""Characters that nobody sees are made visible: all of them, and no others."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("typer")

from llm_audit.display.hidden import escaped, hidden_in, visible
from llm_audit.display.json_lines import json_line
from llm_audit.exports.csv_lines import as_recorded, no_formula

HIDDEN_CATEGORIES = {"Cc", "Cf", "Zl", "Zp", "Co", "Cs"}
# What Unicode calls default ignorable besides, and blanks that are no spaces.
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u2800\u3164\ufe00\ufe0f\uffa0\U0001d159"
FILLERS += "\U00013441\U00013442"  # blank hieroglyphs, in Unicode since 15
FILLERS += "\u2065\ufff0\U00016fe4\U000e0000\U000e0100\U000e01ef\U000e0fff"
LEGITIMATE = (
    *("\U0001f469\u200d\U0001f4bb", "\U0001f3f3\ufe0f\u200d\U0001f308", "\u2764\ufe0f"),
    "\U0001f469\U0001f3fd\u200d\U0001f680",
    *("1\ufe0f\u20e3", "\u260e\ufe0e", "\u0645\u06cc\u200c\u062e", "\u0915\u094d\u200d\u0937"),
    *("a\tb\nc", "\u00e4\u00df\u4e2d\u0301", "\u00a0\u3000\u2003"),
)


def is_hidden(character: str) -> bool:
    """Say for a character by itself what its category says."""
    return unicodedata.category(character) in HIDDEN_CATEGORIES and character not in "\n\t"


def test_every_character_there_is() -> None:
    """Each that is hidden shows its number, in JSON an escape; all others stay as they are."""
    others = []
    for code in range(0x110000):
        character = chr(code)
        if is_hidden(character) or character in FILLERS:
            if unicodedata.category(character) in {"Co", "Cs"} and code % 97:
                continue  # 140,000 of them
            named, in_json = visible(f"a{character}b"), escaped(f'"a{character}b"')
            assert named == f"a<U+{code:04X}>b", hex(code)
            assert in_json.isascii(), hex(code)
            assert in_json.isprintable(), hex(code)
            assert json.loads(in_json) == f"a{character}b", hex(code)
        elif unicodedata.category(character) not in {"Cn", "Mn"}:
            others.append(character)
    text = "a".join(others)
    assert visible(text) == escaped(text) == text


def test_what_does_its_work_stays() -> None:
    """Joined emoji, keys, and letters of scripts that need it are as they were."""
    for text in LEGITIMATE:
        assert visible(text) == text
        assert not hidden_in(text).kinds, text


def test_what_joins_nothing_is_seen() -> None:
    """A joiner, or a variation selector, in a place where it has no work hides something."""
    for text in (
        *("a\u200db", "\u200d", "\U0001f469\u200d", "\U0001f469\u200d\u200d\U0001f4bb", "x\ufe0f"),
        *("\u0645\u200c\u200c\u062e", "\u4e2d\u200c\u4e2d", "1\ufe0f", "\u2764\ufe0f\ufe0f"),
    ):
        assert "<U+" in visible(text), ascii(text)
    assert visible("a\r\nb\rc") == "a\nb<U+000D>c"


def test_what_is_hidden_is_counted_and_read() -> None:
    """By its kind, in keys and values; and what tags or variation selectors spell."""
    tags = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all")
    low, high = 0xFE00, 0xE0100 - 16
    bytes_hidden = "".join(chr(code + (low if code < 16 else high)) for code in b"send it")

    hidden = hidden_in({"a\u202e": [{"b": f"x{tags}\u200b"}, f"y{bytes_hidden}"], "c": 5})

    assert hidden.kinds == {
        "tag": 10,
        "turning text around": 1,
        "without width": 1,
        "variation selector": 7,
    }
    assert hidden.smuggled == ("ignore all", "send it")
    assert hidden_in({"a": "\u0000\ue000"}).kinds == {"control": 1, "private use": 1}
    assert not hidden_in({"a": "plain\n", "b": 1.5}).kinds


ANY_TEXT = st.text(
    st.sampled_from([*"\t\n ;|\"'=+-@a\u200b\u200d\ufe0f\u2764\U0001f469\u0645\uff1d"])
    | st.characters()
)


@given(ANY_TEXT)
def test_any_text(text: str) -> None:
    """JSON means what it did, a cell of CSV can be told from the text, and nothing is hidden."""
    assert json.loads(json_line({text: [text]})) == {text: [text]}
    assert as_recorded(no_formula(text)) == text
    seen = visible(text)
    left = [c for c in seen if is_hidden(c) and c not in "\u200c\u200d"]
    assert left == []
    assert visible(seen) == seen
    assert hidden_in(seen).kinds == {}
