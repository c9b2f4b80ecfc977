"""What tells who somebody is: ready-made rules, by the names under which `redact` takes them."""

import re
from collections.abc import Callable, Iterator

from llm_audit.redaction.folding import folded
from llm_audit.redaction.personal.accounts import SEPARATORS, cards, ibans
from llm_audit.redaction.personal.addresses import as_typed, emails, ips
from llm_audit.redaction.personal.phones import phones

Find = Callable[[str], Iterator[tuple[int, int]]]

_ESCAPED_ENDS = ("\\n", "\\r", "\\t")
_BRACKETS = re.compile(r"\(0\)|[()/]")


def _ready_made(find: Find) -> tuple[Find, Callable[[str], bool]]:
    def find_as_read(text: str) -> Iterator[tuple[int, int]]:
        plain, places = folded(text)
        found = find(_with_lines(plain))
        if places is None:
            return found
        return ((places[start], places[end - 1] + 1) for start, end in found)

    def may_hold(text: str) -> bool:
        return next(find(_with_lines(text)), None) is not None

    return find_as_read, may_hold


def _with_lines(text: str) -> str:
    r"""Return a text with its lines, where JSON or code has escaped their ends: \\n030 1234567."""
    if "\\" in text:
        for escaped in _ESCAPED_ENDS:
            text = text.replace(escaped, "\n\n")  # of the same length
    return text


# How each finds what it is about, and how it says quickly that there is nothing.
READY_MADE = {
    "email": _ready_made(emails),
    "phone": _ready_made(phones),
    "card": _ready_made(cards),
    "iban": _ready_made(ibans),
    "ip": _ready_made(ips),
}


def canonical(text: str) -> str:
    """Return the one form of what can be written in several: capitals, blanks, wide letters.

    Args:
        text: An address, a number, an id.
    """
    plain = folded(text)[0].strip()
    whole = [(0, len(plain))]
    if [*emails(plain)] == whole:
        return as_typed(plain).casefold()
    if [*ibans(plain)] == whole or [*cards(plain)] == whole:
        return plain.translate(SEPARATORS).upper()
    if [*phones(plain)] == whole:
        return re.sub(r"\A00", "+", _BRACKETS.sub("", plain).translate(SEPARATORS))
    return plain
