"""Text as people read it: one form for each digit, blank and dash, and nothing that is invisible.

Rules look at this, so a number in Arabic digits, an address in full-width letters and a card number
with a zero-width blank in it are what they look like. Letters of other alphabets that look like
Latin ones stay what they are.
"""

import re
import unicodedata
from collections.abc import Sequence

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff"
)
_BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_DASHES = "\u2010-\u2013\u2212\ufe58\ufe63\uff0d"
_DOTS = "\u3002\u2024\ufe52\uff0e\uff61"
# Each has an ASCII character as its compatibility form: full-width, circled, mathematical ...
_FANCY = "\u00b2\u00b3\u00b9\u2070-\u209c\u2460-\u24ea\ufe6b\uff01-\uff5e\U0001d400-\U0001d7ff"
_FIRST_DIGITS = (  # of the alphabets that have digits of their own in daily use
    *(0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6),
    *(0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1B50, 0x1BB0),
    *(0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA9D0, 0xAA50, 0xABF0, 0x11066, 0x1E950),
)
_DIGITS = "".join(f"{chr(first)}-{chr(first + 9)}" for first in _FIRST_DIGITS)

_REMOVED = re.compile(f"[{_INVISIBLE}]")
_UNUSUAL = re.compile(f"[{_INVISIBLE}{_BLANKS}{_DASHES}{_DOTS}{_FANCY}{_DIGITS}]")
_KNOWN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d", "-"),
    **dict.fromkeys("\u3002\u2024\ufe52\uff0e\uff61", "."),
    "\u1680": " ",
}


def folded(text: str) -> tuple[str, Sequence[int] | None]:
    """Return a text as people read it, and where each of its characters was.

    Args:
        text: Any.

    Returns:
        The text itself where nothing in it is unusual; and the place of each character in it,
        None where that is the same as before.
    """
    if text.isascii() or _UNUSUAL.search(text) is None:
        return text, None
    plain = _UNUSUAL.sub(_plain, text)
    if len(plain) == len(text):
        return plain, None
    places: list[int] = []
    at = 0
    for removed in _REMOVED.finditer(text):
        places += range(at, removed.start())
        at = removed.end()
    return plain, [*places, *range(at, len(text))]


def _plain(found: re.Match[str]) -> str:
    character = found[0]
    if _REMOVED.match(character):
        return ""
    if character in _KNOWN:
        return _KNOWN[character]
    if (digit := unicodedata.digit(character, None)) is not None:
        return str(digit)
    normal = unicodedata.normalize("NFKC", character)
    return normal if len(normal) == 1 else character
