"""What secrets look like: keys of providers, tokens, passwords in URLs."""

import re
from collections.abc import Iterator

_VALUES = re.compile(
    r"(?P<api_key>\bsk-[\w-]{8,})|(?<=://)[^\s/@:]*:(?P<url_password>[^\s/@]+)(?=@)"
)


def may_be_in(raw: bytes) -> bool:
    """Tell quickly whether a document, as BSON, may hold a secret."""
    return raw.rfind(b"sk-") >= 0 or (b"@" in raw and raw.rfind(b"://") >= 0)


def find(text: str) -> Iterator[tuple[int, int, str]]:
    """Give the spans of secrets in a text, with the name of the rule that found each."""
    for match in _VALUES.finditer(text):
        name = str(match.lastgroup)
        yield *match.span(name), name
