"""How much is recorded of what is given: nothing, however large, holds the calling thread long.

A list may be in another one many times: small as it is in memory, written out it has no end.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from gc import get_referents, is_tracked
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from llm_audit.runtime import clock

MAX_LEVELS = 100
"""Containers below the document itself: the server takes 180 (100 are documented), of which an
update statement needs a few."""
MAX_VALUES = 1_000_000
"""In one record that is written as it is, with no step in Python: an embedding's tokens, say."""
MAX_NODES = 200_000
"""In one record that has to be copied value by value; what is beyond is left out, and counted."""
MAX_READ = 200_000
"""In how a call ended: more is kept as it was given, and not taken apart."""
MAX_BYTES = 64 * 2**20
"""Of text and bytes in a record that is copied, in characters or bytes."""
FIELD_NODES, FIELD_BYTES = 1_000, 64 * 2**10
"""What each field may have of these in any case, so that none costs another."""
MAX_SECONDS = 2.0
"""For the code of the user's own objects in a record that is copied; later ones are not asked."""

_CONTAINERS = (dict, list, tuple)
_USUAL = frozenset(_CONTAINERS)
# how the driver marks it, a Binary, Code and DBRef
_RAW, _BINARY, _WITH_DOCUMENTS = 101, 5, frozenset({13, 100})
_UUIDS, _UUID_BYTES = frozenset({3, 4}), 16  # subtypes
_MAY_BE_NO_UUID = re.compile(rb"\x05[^\0]*\0(?!\x10\0\0\0)....[\3\4]", re.DOTALL)
_bases_of, _names_in = (vars(type)[name].__get__ for name in ("__mro__", "__dict__"))
_UNTRACKED = frozenset({dict, tuple})  # at times, where they hold no container
_HOLDERS = (*_CONTAINERS, set, frozenset, MappingProxyType, BaseModel, BaseException)
_NUMBERS = frozenset({int, float})
_DEEPEST = 1_000  # as deep as Python writes anything out
_BROAD = 1_000
_LONG, _AGAIN = 10_000, 8  # characters; how much less a look at what is known costs
_TEXT_A_VALUE = 10_000  # characters that take no longer to write out than another value
_WIDE = 2  # how much more a character beyond ASCII does


class TooMuchError(Exception):
    """There is more in it than is looked at."""


def are_within(values: Mapping[str, Any], most: int = MAX_VALUES) -> bool:
    """Tell quickly whether there are so few values, each counted as often as it is there.

    And no more than `MAX_LEVELS` containers in each other, and nothing that is to be looked at
    one by one: what may hold more than it seems to, or `is_no_uuid`.

    Args:
        values: Dicts, lists and tuples; anything else in them counts as one.
        most: How many there may be.
    """
    # a dict without containers in it is untracked: as often as not that of a message
    inside: Collection[Any] = values.values()
    for level in range(MAX_LEVELS):
        found = []
        for one in filter(is_tracked, inside):
            kind = type(one)
            if kind in _USUAL or issubclass(kind, _CONTAINERS):
                found.append(one)
                most -= len(one)
            elif _wants_a_look(one, MAX_LEVELS - level):
                return False
        if not found or most < 0:
            return most >= 0
        inside = get_referents(*found)
        if len(inside) > _BROAD:
            most -= _untracked(inside)
    return False


def is_no_uuid(value: Any) -> bool:
    """Tell whether bytes of BSON's say that they are a UUID, but are not as long as one.

    Whoever reads a document as the driver's "standard" cannot read any of it then, nor can any
    reader with a driver of before 4.20.

    Args:
        value: Anything.
    """
    return (
        _mark_of(type(value)) == _BINARY and value.subtype in _UUIDS and len(value) != _UUID_BYTES
    )


def _wants_a_look(one: Any, levels: int) -> bool:
    """Tell whether what is no container of Python's may hold more than it seems to, when written.

    Or may keep its document from being read.

    Args:
        one: Anything.
        levels: How many containers in each other it may be.
    """
    mark = _mark_of(type(one))
    if mark is None:
        return issubclass(type(one), Mapping)  # which may make up its items, without end
    if mark == _RAW:  # it is as long as it is
        deep = one.raw.count(b"\3") + one.raw.count(b"\4") >= levels
        return deep or _MAY_BE_NO_UUID.search(one.raw) is not None
    return mark in _WITH_DOCUMENTS or (mark == _BINARY and is_no_uuid(one))


def _mark_of(kind: type) -> int | None:
    """Return how the driver marks a type; not as an attribute, which a class may make up."""
    for base in _bases_of(kind):
        mark = _names_in(base).get("_type_marker")
        if type(mark) is int:
            return mark
    return None


def _untracked(inside: Collection[Any]) -> int:
    """Return how many values are in dicts and tuples that hold no container."""
    return sum(len(one) for one in inside if type(one) in _UNTRACKED and not is_tracked(one))


def are_readable(values: Mapping[str, Any], most: int = MAX_READ) -> bool:
    """Tell whether there are few enough values to be taken apart; a list of numbers is one.

    What is in itself is read to where it comes again, so it is counted as often.

    Args:
        values: As above.
        most: How many there may be.
    """
    if are_within(values, most):
        return True
    walk: list[Iterator[Any]] = [iter((values,))]
    above = [id(None)]  # what each level of the walk is in
    while walk and most >= 0:
        inner = next(walk[-1], None)
        if inner is None:
            walk.pop()
            above.pop()
        elif issubclass(type(inner), _CONTAINERS) and id(inner) not in above[-MAX_LEVELS:]:
            items = inner.values() if issubclass(type(inner), dict) else inner
            if type(inner) is list and _NUMBERS.issuperset(map(type, inner)):
                items = ()
            most -= 1 + len(items)
            walk.append(one for one in items if issubclass(type(one), _CONTAINERS))
            above.append(id(inner))
    return most >= 0


def is_within(value: Any, most: int, *, written_out: bool = False) -> bool:
    """Tell the same of anything, looking also into what dumps or writes itself out with all in it.

    Args:
        value: A container, an object of pydantic's, a dataclass or an exception; all else is one.
        most: As above.
        written_out: Whether a long text in it counts as several, as it is copied.
    """
    inside = [value]
    for _ in range(_DEEPEST):
        found = [
            one
            for one in inside
            if (is_tracked(one) or (written_out and type(one) in _CONTAINERS)) and _holds(one)
        ]
        if not found or most < 0:
            return most >= 0
        most -= sum(len(one) if issubclass(type(one), _CONTAINERS) else 1 for one in found)
        if most < 0:
            return False
        inside = get_referents(*found)
        if written_out:
            texts = (one for one in inside if type(one) is str or type(one) is bytes)
            most -= sum(len(text) // _TEXT_A_VALUE for text in texts)
        elif len(inside) > _BROAD:
            most -= _untracked(inside)
    return True  # it holds itself, or is so deep, which whoever writes it out notices


def _holds(value: object) -> bool:
    kind = type(value)
    return issubclass(kind, _HOLDERS) or is_dataclass(kind) or _mark_of(kind) in _WITH_DOCUMENTS


class Room:
    """What a record that is copied may still take.

    Args:
        nodes: How many values, `MAX_NODES` by default.

    Attributes:
        nodes: How many values.
        of_bytes: How many characters or bytes.
    """

    def __init__(self, nodes: int | None = None) -> None:
        self.nodes = MAX_NODES if nodes is None else nodes
        self.of_bytes = MAX_BYTES
        self._until: float | None = None
        self._seen: set[int] = set()

    def for_a_field(self) -> None:
        """Let a field have something in any case."""
        self.nodes = max(self.nodes, FIELD_NODES)
        self.of_bytes = max(self.of_bytes, FIELD_BYTES)

    def take(self, nodes: int = 1, of_bytes: int = 0) -> bool:
        """Take so much, or return false if there is not as much."""
        if nodes > self.nodes or of_bytes > self.of_bytes:
            return False
        self.nodes -= nodes
        self.of_bytes -= of_bytes
        return True

    def for_content(self, content: str | bytes) -> int:
        """Take room for a text or bytes, and return how much of them there is room for.

        What is there several times is stored once: only to look at it costs something again.
        """
        length = len(content)
        if isinstance(content, str) and not content.isascii():
            return self._for_length(length * _WIDE, id(content)) // _WIDE
        return self._for_length(length, id(content))

    def _for_length(self, length: int, identity: int) -> int:
        if length > _LONG and identity in self._seen:
            self.of_bytes -= (again := min(length // _AGAIN, self.of_bytes))
            return length if again == length // _AGAIN else 0
        if length > _LONG:
            self._seen.add(identity)
        self.of_bytes -= (first := min(length, self.of_bytes))
        return first

    def time_is_over(self) -> bool:
        """Tell whether the code of the user's objects has had its time, which begins with this."""
        now = clock.monotonic()
        if self._until is None:
            self._until = now + MAX_SECONDS
        return now > self._until
