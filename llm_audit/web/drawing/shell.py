"""Words of commands as a shell takes them, whatever is in them; what is copied is what is seen."""

import shlex
from collections.abc import Iterable

from llm_audit.display.hidden import visible


def joined(words: Iterable[str]) -> str:
    """Return a command; a word with a character that would not be seen has an escape for it."""
    return " ".join(shlex.quote(word) if visible(word) == word else escaped(word) for word in words)


def escaped(word: str) -> str:
    """Return a word in ASCII and in one line, as bash, zsh and ksh read it."""
    # shells that do not know $'...' see quotes without any quote between them, so one word
    signs = "".join(map(_sign, word.encode(errors="replace")))
    return f"$'{signs}'"


def _sign(byte: int) -> str:
    sign = chr(byte)
    is_plain = sign.isascii() and sign.isprintable() and sign not in "'\\!"
    return sign if is_plain else f"\\x{byte:02x}"
