"""The quick look for secrets at a body as it goes over the wire, before anybody reads it.

It may be stored unread only where nothing in it would be replaced once it is read. In doubt that is
not so: then it is read before it is stored, which only takes longer.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from llm_audit.redaction import look

_ONE, _PIECES = (b"{", b"["), (b"data:", b"event:", b"id:", b"retry:", b":", b"{", b"[")
_is_escaped = look.looks_for(r"\x02[u/]")
# What nobody writes between a name and its value: then they could not be told by a simple look.
_is_apart = look.looks_for(r"\x00(?:[ \t\r\n]+(?:data:)?[ \t]*:|:[\t\r\n]| ?: [ \t\r\n])")
_INDEX = re.compile(rb'(\w*[iI]ndex)": ?(\d+)')
_VALUE = re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL)
_OF_TEXTS = (b"content", b"text")  # which some make one text of
_JSON = "application/json"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def is_clean(beside: bytes, body: bytes, told: Mapping[str, Any] = _NOTHING) -> bool:
    """Tell quickly whether nothing that was seen holds a secret or what has a secret's name.

    Args:
        beside: What is known of it, as BSON.
        body: As it was seen.
        told: What its headers say: `content_type`, `content_encoding` and `streamed`.
    """
    kind = told.get("content_type") or _JSON
    if "urlencoded" in kind or told.get("content_encoding"):
        return not body and not look.may_be_in(beside)
    in_pieces = bool(told.get("streamed")) or _JSON not in kind or _may_be_lines(body)
    if body and (not body.startswith(_PIECES if in_pieces else _ONE) or b"\0" in body):
        return False  # no JSON, or of 16 bits
    text = look.plain(body)
    if look.may_be_in(beside) or _may_hold(body, text):
        return False
    return not in_pieces or _are_clean_together(body, text)


def _may_be_lines(body: bytes) -> bool:
    """Tell whether a body may be several JSON texts, each on a line of its own."""
    return (b"\n" in body and b"\n{" in body) or (b"\r" in body and b"\r{" in body)


def _may_hold(body: bytes, text: str) -> bool:
    """Tell whether JSON may hold a secret or its name, as it is or once it is read."""
    if not _is_escaped(text):
        return look.may_be_in_plain(text, body)
    unescaped = _unescaped(body)
    return unescaped is None or look.may_be_in(unescaped)


def _unescaped(body: bytes) -> bytes | None:
    """Return JSON with the characters that its escapes stand for; None if it may be none."""
    if b"\\u" in body:
        try:
            text = body.decode("ascii").encode().decode("raw_unicode_escape")
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        except UnicodeDecodeError:
            return None
        body = whole.encode()
    return body.replace(b"\\/", b"/").replace(b"\\\\", b"\\")


def _are_clean_together(body: bytes, text: str) -> bool:
    """Tell whether the texts that the pieces of a stream make are clean, too.

    Each is made of values of the same name, one after the other, unless several grow in turns.
    """
    if _is_apart(text) or _grow_in_turns(body):
        return False
    if b'": "' in body:
        body = body.replace(b'": "', b'":"')
    parts = body.split(b'":"')
    different = {*parts}  # most are the same in each piece
    if b"\\" in body:
        values = {part: _value_of(part) for part in different}
    else:
        values = {part: part[: part.find(b'"')] for part in different}
    names = {part: part[part.rfind(b'"') + 1 :] for part in different}
    found: dict[bytes, list[bytes]] = {name: [] for name in names.values()}
    for before, part in pairwise(parts):
        found[names[before]].append(values[part])
    texts = [b"".join(each) for each in found.values() if len(each) > 1]
    if all(name in found for name in _OF_TEXTS):
        pairs = pairwise(parts)
        texts.append(b"".join(values[part] for before, part in pairs if names[before] in _OF_TEXTS))
    together = b'"\n"'.join(texts)
    return not _may_hold(together, look.plain(together))


def _value_of(part: bytes) -> bytes:
    """Return what a text has up to the quote that ends it."""
    found = _VALUE.match(part)
    end = found.end() if found else 0
    # else it ends in what looks like a name and its value
    return part[:end] if end < len(part) else part + b'":'


def _grow_in_turns(body: bytes) -> bool:
    """Tell whether pieces of one thing may stand between those of another."""
    if body.count(b'ndex":') == body.count(b'ndex":0'):
        return False
    last: dict[bytes, int] = {}
    for name, digits in _INDEX.findall(body):
        index = int(digits)
        if index < last.get(name, 0):
            return True
        last[name] = index
    return False
