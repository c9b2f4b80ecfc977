"""Characters that nobody sees, or that a terminal obeys: the one list of them, for every output.

What is hidden from a reader is not hidden from a model: instructions are smuggled in as tag
characters, say. So they are made visible; JSON has an escape for each, which is read back equal.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

# Unicode's categories Cc, Cf, Zl, Zp, Co and Cs but for line breaks and tabs, what it calls
# default ignorable (fillers, variation selectors, tags, also those not assigned yet), and blanks
# that are no spaces.
_RANGES = (
    *("\0-\x08", "\x0b-\x1f", "\x7f-\x9f", "\u00ad", "\u034f", "\u0600-\u0605", "\u061c", "\u06dd"),
    *("\u070f", "\u0890-\u0891", "\u08e2", "\u115f-\u1160", "\u17b4-\u17b5", "\u180b-\u180f"),
    *("\u200b-\u200f", "\u2028-\u202e", "\u2060-\u206f", "\u2800", "\u3164", "\ud800-\uf8ff"),
    *("\ufe00-\ufe0f", "\ufeff", "\uffa0", "\ufff0-\ufffb", "\U000110bd", "\U000110cd"),
    *("\U00013430-\U0001343f", "\U00013441-\U00013442", "\U00016fe4", "\U0001bca0-\U0001bca3"),
    *("\U0001d159", "\U0001d173-\U0001d17a", "\U000e0000-\U000e0fff", "\U000f0000-\U0010ffff"),
)
# Scripts in which letters are joined or kept apart by U+200D and U+200C, from Hebrew to Georgian,
# and from Tagalog to Vedic, and what was added to them later.
_JOINING = (
    "\u0590-\u10ff\u1700-\u17b3\u17b6-\u180a\u1810-\u1cff"
    "\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc\U00010a00-\U000110bc\U000110be-\U00011fff"
)
# Two emoji may be one, after a skin colour or a variation selector too.
_PICTURES = "\u00a9\u00ae\u203c\u2049\u2122-\u27ff\u2900-\u2bff\u3030-\u303d\u3297-\u3299"
_PICTURES += "\U0001f000-\U0001faff"
_SHOWN_PLACES = (
    f"(?<=[{_JOINING}])[\u200c\u200d](?=[{_JOINING}])",
    f"(?<=[{_PICTURES}\ufe0f])\u200d(?=[{_PICTURES}])",
    f"(?<=[{_PICTURES}])[\ufe0e\ufe0f]",
    "(?<=[0-9#*])\ufe0f(?=\u20e3)",  # a key
    "\r(?=\n)",
)
_HIDDEN = re.compile(f"[{''.join(_RANGES)}]")
_WORKING = frozenset("\u200c\u200d\ufe0e\ufe0f\r")
_SHOWN = re.compile("|".join(_SHOWN_PLACES))

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_TAGS = range(0xE0000, 0xE0080)
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_LAST_OF_BMP = 0xFFFF
_SMUGGLED_MAX = 200  # characters


class Hidden(NamedTuple):
    """What nobody sees in something recorded.

    Attributes:
        kinds: How many characters there are of each kind.
        smuggled: Texts that they spell.
    """

    kinds: Counter[str]
    smuggled: tuple[str, ...]


def visible(text: str) -> str:
    """Return a text with `<U+200B>` in place of a character that nobody sees; as lines, still."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(_named, text)


def escaped(json_text: str) -> str:
    r"""Return JSON with `\u200b` in place of a character that nobody sees."""
    if json_text.isascii() and json_text.isprintable():
        return json_text
    return _HIDDEN.sub(_in_json, json_text)


def hidden_in(recorded: Any) -> Hidden:
    """Return what nobody sees in a document, its keys included."""
    found = "".join(chain.from_iterable(map(_hidden, _texts(recorded))))
    kinds: Counter[str] = Counter()
    for character, count in Counter(found).items():
        kinds[_kind(character)] += count
    spelled = (_spelled_by_tags(found), _spelled_by_selectors(found))
    smuggled = (text[:_SMUGGLED_MAX] for text in spelled if text.strip() and text.isprintable())
    return Hidden(kinds, tuple(smuggled))


def _hidden(text: str) -> Iterator[str]:
    if text.isascii() and text.isprintable():
        return
    yield from (found[0] for found in _HIDDEN.finditer(text) if not _is_shown(found))


def _is_shown(found: re.Match[str]) -> bool:
    """Tell whether a character does what it is for where it is, as one that joins two emoji."""
    return found[0] in _WORKING and _SHOWN.match(found.string, found.start()) is not None


def _named(found: re.Match[str]) -> str:
    if _is_shown(found):
        return "" if found[0] == "\r" else found[0]
    return _name(found[0])


def _in_json(found: re.Match[str]) -> str:
    return found[0] if _is_shown(found) else _escape(found[0])


@lru_cache
def _name(character: str) -> str:
    return f"<U+{ord(character):04X}>"


@lru_cache
def _escape(character: str) -> str:
    code = ord(character)
    if code <= _LAST_OF_BMP:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _kind(character: str) -> str:
    code = ord(character)
    if code in _TAGS:
        return "tag"
    if any(code in selectors for selectors in _SELECTORS):
        return "variation selector"
    if character in _DIRECTIONS:
        return "turning text around"
    category = unicodedata.category(character)
    return {"Cc": "control", "Co": "private use"}.get(category, "without width")


def _spelled_by_tags(characters: str) -> str:
    """Return the ASCII that tag characters mirror."""
    return "".join(chr(ord(one) - _TAGS[0]) for one in characters if 0xE0020 <= ord(one) < 0xE007F)  # noqa: PLR2004


def _spelled_by_selectors(characters: str) -> str:
    """Return the text whose bytes variation selectors can stand for, 256 of them as they are."""
    first, second = _SELECTORS
    values = (
        code - first[0] if code in first else code - second[0] + len(first)
        for code in map(ord, characters)
        if code in first or code in second
    )
    return bytes(values).decode(errors="replace").replace("\N{REPLACEMENT CHARACTER}", "")


def _texts(value: Any) -> Iterator[str]:
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            yield from (key for key in one if isinstance(key, str))
            rest.extend(one.values())
        elif isinstance(one, list | tuple):
            rest.extend(reversed(one))
