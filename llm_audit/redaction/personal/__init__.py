"""What tells who somebody is: ready-made rules, by the names under which `redact` takes them."""

import re
from collections.abc import Callable, Iterator

from llm_audit.redaction.folding import folded
from llm_audit.redaction.personal.accounts import SEPARATORS, cards, ibans
from llm_audit.redaction.personal.addresses import as_typed, emails, ips
from llm_audit.redaction.personal.phones import phones

Find = Callable[[str], Iterator[tuple[int, int]]]

_BRACKETS = re.compile(r"\(0\)|[()/]")


def _ready_made(find: Find) -> tuple[Find, Callable[[str], bool]]:
    def find_as_read(text: str) -> Iterator[tuple[int, int]]:
        plain, places = folded(text)
        if places is None:
            return find(plain)
        return ((places[start], places[end - 1] + 1) for start, end in find(plain))

    def may_hold(text: str) -> bool:
        return next(find(text), None) is not None

    return find_as_read, may_hold


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
