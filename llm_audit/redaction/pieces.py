"""The texts that come in the pieces of a stream, one after the other, before anybody reads them.

A text is made of the values of one name, so what follows a name is put together. Where several of
one name may grow in turns nobody can tell here which piece is of which.
"""

import re
from collections.abc import Mapping
from itertools import pairwise

from llm_audit.redaction import look

# What nobody writes between a name and its value: then they could not be told by a simple look.
_is_apart = look.looks_for(r"\x00(?:[ \t\r\n]+(?:data:)?[ \t]*:|:[\t\r\n]| ?: [ \t\r\n])")
_INDEX = re.compile(rb'(\w*[iI]ndex)":(\d+)')
_VALUE = re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL)
_OF_TEXTS = (b"content", b"text")  # which some make one text of
# Where there are both, pieces of one may have the same name as those of the other.
_ALIKE = (
    (b'"thinking":[',),
    (b'"function_call":', b'"tool_calls":'),
    (b'"reasoning_details":', b'"content":['),
)
# Streams of these say in each piece where it belongs, also where that is the first place.
_ALWAYS_COUNTED = (b'"content_block_delta"', b'"output_index"')
_BLOCK = b"content_block_delta"  # which of them it is says the type in it
_THOUGHT = b'"thought":'


def together(body: bytes, text: str) -> bytes | None:
    """Return the texts that a stream makes, between quotes; None if that cannot be told.

    Args:
        body: SSE, or JSON.
        text: The same as `look.plain` has it.
    """
    if _is_apart(text):
        return None
    if b'": ' in body:
        body = body.replace(b'": ', b'":')
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
    if _grow_in_turns(body, found):
        return None
    texts = [b"".join(each) for each in found.values() if len(each) > 1]
    if all(name in found for name in _OF_TEXTS):
        pairs = pairwise(parts)
        texts.append(b"".join(values[part] for before, part in pairs if names[before] in _OF_TEXTS))
    return b'"\n"'.join(texts)


def _value_of(part: bytes) -> bytes:
    """Return what a text has up to the quote that ends it."""
    found = _VALUE.match(part)
    end = found.end() if found else 0
    # else it ends in what looks like a name and its value
    return part[:end] if end < len(part) else part + b'":'


def _grow_in_turns(body: bytes, found: Mapping[bytes, list[bytes]]) -> bool:
    """Tell whether pieces of one text may stand between those of another of the same name."""
    if any(all(mark in body for mark in marks) for marks in _ALIKE):
        return True
    if _THOUGHT in body:
        lines = body.split(b"\n")
        are_thoughts = [_THOUGHT in line for line in lines if b'"text":' in line]
        if body.startswith(b"[") or are_thoughts != sorted(are_thoughts, reverse=True):
            return True
    return _come_again(found.get(b"type", [])) or _are_mixed(body)


def _come_again(kinds: list[bytes]) -> bool:
    """Tell whether pieces of one kind come again after those of another."""
    seen: set[bytes] = set()
    last = b""
    for kind in kinds:
        if kind != last and kind.endswith(b"delta") and kind != _BLOCK:
            if kind in seen:
                return True
            seen.add(kind)
            last = kind
    return False


def _are_mixed(body: bytes) -> bool:
    """Tell whether pieces of different places may follow each other in any order."""
    if body.count(b'ndex":') == body.count(b'ndex":0') + body.count(b'ndex": 0'):
        return False
    are_counted = any(mark in body for mark in _ALWAYS_COUNTED)
    last: dict[bytes, int] = {}
    for name, digits in _INDEX.findall(body):
        index = int(digits)
        if index < last.get(name, 0) or (index and not are_counted):
            return True
        last[name] = index
    return False
