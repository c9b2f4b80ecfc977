"""The texts that come in the pieces of a stream, one after the other, before anybody reads them.

A text is made of the values of one name, so what follows a name is put together; and what follows
it in one place, as others of that name may stand between. Where several of one place may grow in
turns nobody can tell here which piece is of which.

Most of a stream is the same in each piece, so each of its parts is looked at once. They are cut at
quotes: no secret goes over one, though a quote may be what it ends with, or what stands before it.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from llm_audit.redaction.secrets import look

_NAMED, _SPACED = b'":"', b'": '
_LINE_END, _BACKSLASH = b"\n", b"\\"
_BEGIN = b'".\n'  # as the end of an empty value, and of a line, before the first
# What nobody writes between a name and its value: then they could not be told by a simple look.
_is_apart = look.looks_for(r"\x00(?:[ \t\r\n]+(?:data:)?[ \t]*:|:[\t\r\n])")
_IS_SPACED = re.compile(rb'(?:[^\\]|\\\\)": ')  # and no quote within a text
_INDEX = re.compile(rb'(\w*[iI]ndex)":(\d+)')
_VALUE = re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL)
_OF_TEXTS = (b"content", b"text")  # which some make one text of
_TYPE = b"type"
_NO_TEXTS = frozenset((_TYPE, b"id", b"object", b"role"))  # these come whole
_DIGITS = b"0123456789"
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
# What most streams have nothing of, so that their texts cannot grow in turns.
_may_take_turns = look.looks_for(
    r"thinking\x00:\[|(?:function_call|reasoning_details|thought)\x00:|ndex\x00:[^0]"
)

_Cut = Mapping[bytes, tuple[bytes, bytes, bytes]]  # of each part its value, a quote, what follows


def together(body: bytes) -> tuple[bytes, str] | None:
    """Return each different part of a stream, and the texts that it makes, between quotes.

    Args:
        body: SSE, or JSON.

    Returns:
        They, and the same as `look.plain` has it; None if it cannot be told which texts it makes.
    """
    parts, different = _parts_of(body)
    if _are_spaced(different):
        body = body.replace(_SPACED, b'":')
        parts, different = _parts_of(body)
        if _are_spaced(different):
            return None
    cut = {part: part.partition(b'"') for part in different}
    if ord("\\") in body:
        cut |= {part: _cut(part) for part, (value, _, _) in cut.items() if value.endswith(b"\\")}
    names = {rest: rest[rest.rfind(b'"') + 1 :] for rest in {rest for _, _, rest in cut.values()}}
    if any(_BACKSLASH in name for name in {*names.values()}):
        return None
    firsts = b'"'.join(value for value, _, _ in cut.values())
    if _LINE_END in firsts:  # a line is broken off within a text
        return None
    texts, kinds = _texts(parts, cut, names)
    seen = b'"'.join((b"", firsts, *texts, _NAMED.join(names), b":"))
    text = look.plain(seen)
    if _is_apart(text) or any(map(_come_again, kinds)):
        return None
    if _may_take_turns(text) and _may_be_mixed(body):
        return None
    return seen, text


def _texts(
    parts: list[bytes], cut: _Cut, names: Mapping[bytes, bytes]
) -> tuple[list[bytes], list[list[bytes]]]:
    """Return the texts that parts make, and the kinds that are named of what is in them.

    Args:
        parts: In their order.
        cut: Each as of `_cut`.
        names: By what follows a value.
    """
    places = {rest: _place(rest) for rest in names}
    found: dict[bytes, list[bytes]] = {place: [] for place in places.values()}
    steps = {part: (value, found[places[rest]].append) for part, (value, _, rest) in cut.items()}
    following = map(steps.__getitem__, parts)
    _, add = next(following)
    for value, named_last in following:
        add(value)
        add = named_last
    texts = [b"".join(each) for each in found.values() if len(each) > 1]
    places_of: dict[bytes, set[bytes]] = {name: set() for name in names.values()}
    for rest, name in names.items():
        places_of[name].add(places[rest])
    grown: dict[bytes, list[bytes]] = {
        name: []
        for name, where in places_of.items()
        if len(where) > 1 and name not in _NO_TEXTS and sum(any(found[one]) for one in where) > 1
    }
    if grown:
        for before, part in pairwise(parts):
            if (own := grown.get(names[cut[before][2]])) is not None:
                own.append(cut[part][0])
        texts += map(b"".join, grown.values())
    if all(name in places_of for name in _OF_TEXTS):
        pairs = pairwise(parts)
        texts.append(b"".join(cut[p][0] for b, p in pairs if names[cut[b][2]] in _OF_TEXTS))
    return texts, [found[place] for place in places_of.get(_TYPE, ())]


def _parts_of(body: bytes) -> tuple[list[bytes], Iterable[bytes]]:
    """Return the parts of a body, and each different one: most are the same in each piece."""
    parts = body.split(_NAMED)
    parts[0] = _BEGIN + parts[0]
    return parts, dict.fromkeys(parts)


def _are_spaced(parts: Iterable[bytes]) -> bool:
    """Tell whether a space stands before a value."""
    joined = _NAMED.join(parts)
    return joined.find(_SPACED) >= 0 and _IS_SPACED.search(joined) is not None


def _place(rest: bytes) -> bytes:
    """Return what stands before a value in its line, and its name, whatever the numbers in it."""
    return rest[rest.rfind(_LINE_END) + 1 :].translate(None, _DIGITS)


def _cut(part: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the value that a part begins with, its quote, and what follows."""
    cut = part.partition(b'"')
    if cut[0].endswith(b"\\"):
        found = _VALUE.match(part)
        end = found.end() if found else 0
        # else it ends in what looks like a name and its value
        return (part[:end], b'"', part[end + 1 :]) if end < len(part) else (part + b'":', b"", part)
    return cut


def _may_be_mixed(body: bytes) -> bool:
    """Tell whether pieces of one text may stand between those of another of the same name."""
    if any(all(mark in body for mark in marks) for marks in _ALIKE):
        return True
    if _THOUGHT in body:
        lines = body.split(b"\n")
        are_thoughts = [_THOUGHT in line for line in lines if b'"text":' in line]
        if body.startswith(b"[") or are_thoughts != sorted(are_thoughts, reverse=True):
            return True
    return _are_mixed(body)


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
    if body.count(b'ndex":') == body.count(b'ndex":0'):
        return False
    are_counted = any(mark in body for mark in _ALWAYS_COUNTED)
    last: dict[bytes, int] = {}
    for name, digits in _INDEX.findall(body):
        index = int(digits)
        if index < last.get(name, 0) or (index and not are_counted):
            return True
        last[name] = index
    return False
