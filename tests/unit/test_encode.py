"""Whatever a user hands over is recorded, and the document says what was changed."""

import base64
import collections
import dataclasses
import hashlib
import json
import math
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from llm_audit.recorder.encode import Encoded, encode, restore

MAX_BYTES = 10 * 2**20
MEDIA_LIMIT_BYTES = 256 * 2**10
MAX_LEVELS = 100


def encode_value(value: Any, max_bytes: int = MAX_BYTES) -> Encoded:
    """Encode a value with neighbours, and check what holds for every encoded document."""
    encoded = encode(
        {"before": "kept", "value": value, "after": [1]}, max_bytes, MEDIA_LIMIT_BYTES
    )
    document = bson.decode(encoded.raw)
    levels, types = survey(document)
    assert levels <= MAX_LEVELS
    assert bson.DBRef not in types
    assert bson.decode(bson.encode({"notes": encoded.notes})) == {"notes": list(encoded.notes)}
    assert (document["before"], document["after"]) == ("kept", [1])
    return encoded


def stored(encoded: Encoded) -> Any:
    return bson.decode(encoded.raw)["value"]


def fetch_from(encoded: Encoded) -> Callable[[str], bytes]:
    return dict(encoded.blobs).__getitem__


def survey(document: dict[str, Any]) -> tuple[int, set[type]]:
    """Count the levels below a document and collect the types in it."""
    levels, types = 0, set()
    level: list[Any] = [document]
    while True:
        values = [v for c in level for v in (c.values() if isinstance(c, dict) else c)]
        types |= {type(value) for value in values}
        level = [value for value in values if isinstance(value, (dict, list))]
        if not level:
            return levels, types
        levels += 1


def nested(levels: int, wrap: Callable[[Any], Any] = lambda value: {"a": value}) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = wrap(value)
    return value


class Colour(Enum):
    RED = "red"


class Role(StrEnum):
    USER = "user"


class Level(IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Part:
    kind: str
    items: list[Any]


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: Role
    parts: list[Part] = []
    reply: "Message | None" = None


class ReprRaises:
    def __repr__(self) -> str:
        raise ValueError("no repr")


class DumpRaises:
    def __init__(self) -> None:
        self.kept = 1

    def model_dump(self, **_: Any) -> dict[str, Any]:
        raise RuntimeError("no dump")


class DumpsItself:
    def model_dump(self, **_: Any) -> Any:
        return self


class DumpsAnother:
    def model_dump(self, **_: Any) -> Any:
        return DumpsAnother()


class PropertyRaises:
    @property
    def __class__(self) -> Any:
        raise ValueError("no class")


class LyingDict(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("no items")

    def __iter__(self) -> Any:
        raise ValueError("no keys")

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)


class BrokenMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


class BrokenIterator(list[Any]):
    def __iter__(self) -> Any:
        raise ValueError("no elements")


class Scalar:
    """Like a NumPy scalar."""

    def tolist(self) -> float:
        return 1.5


class Array:
    """Like a NumPy array."""

    def tolist(self) -> list[Any]:
        return [1, [2, 3]]


CALL = {
    "call_type": Role.USER,
    "messages": [
        {"role": "user", "content": "Zażółć gęślą jaźń 👍"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a": 1.5}'}}],
        },
    ],
    "temperature": 0.7,
    "tags": ["a", "b"],
    "metadata": {"deep": {"list": [[], {}, [{}]]}},
}


def test_an_ordinary_call_comes_back_equal() -> None:
    """A call in the API's own shape needs no note and no blob."""
    encoded = encode(CALL, MAX_BYTES, MEDIA_LIMIT_BYTES)

    assert bson.decode(encoded.raw) == CALL
    assert encoded[1:] == ((), ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("NUL \0 in a value", "NUL \0 in a value"),
        ({"a.b": 1, "$set": 2, "": 3, "$ref": "#/$defs/x"}, ...),
        ({"$id": "https://example.org/schema", "$defs": {"x": {"$ref": "#/x"}}}, ...),
        ({"$ref": {"not": "a string"}, "$id": 1}, ...),
        ({"$ref": "a", "$id": 1, "$db": 5}, ...),
        (b"\x00\xff", ...),
        ([math.inf, -math.inf, -0.0, True, False, None], ...),
        ([2**63 - 1, -(2**63)], ...),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        ([Colour.RED, Role.USER, Level.HIGH], ["red", "user", 3]),
        ({Role.USER: 1}, {"user": 1}),
        (Part("text", [Part("x", [])]), {"kind": "text", "items": [{"kind": "x", "items": []}]}),
        (
            Message(role=Role.USER, parts=[Part("t", [])], unknown=[1]),
            {"role": "user", "parts": [{"kind": "t", "items": []}], "reply": None, "unknown": [1]},
        ),
        (collections.UserDict({"a": 1}), {"a": 1}),
        (collections.defaultdict(list, {"a": [1]}), {"a": [1]}),
        (bson.ObjectId("0" * 24), ...),
        (bson.Decimal128("1.10"), ...),
    ],
    ids=repr,
)
def test_what_loses_nothing_has_no_note(value: Any, expected: Any) -> None:
    """Values that BSON or JSON can say come back as such, silently."""
    encoded = encode_value(value)
    beside_a_noted_one = encode_value([value, {1}])

    assert stored(encoded) == (value if expected is ... else expected)
    assert encoded.notes == ()
    assert stored(beside_a_noted_one) == [stored(encoded), [1]]
    assert beside_a_noted_one.notes == ("value.1: set stored as list, sorted by repr",)


@pytest.mark.parametrize(
    ("value", "expected", "what"),
    [
        ("a\ud800é", "a\\ud800é", "lone surrogates escaped"),
        (2**70, str(2**70), "int beyond 64 bits stored as str"),
        (-(2**70), str(-(2**70)), "int beyond 64 bits stored as str"),
        (10**5000, hex(10**5000), "int beyond 64 bits stored as str"),
        (Decimal("1.10"), bson.Decimal128("1.10"), "Decimal stored as Decimal128"),
        (Decimal("1" * 35), "1" * 35, "Decimal stored as str"),
        (Decimal("1E+9999"), "1E+9999", "Decimal stored as str"),
        (date(2024, 2, 29), "2024-02-29", "date stored as ISO 8601 text"),
        (time(1, 2, 3), "01:02:03", "time stored as ISO 8601 text"),
        (timedelta(minutes=1, microseconds=1), 60.000001, "timedelta stored as seconds"),
        ({"b", "a", 3}, ["a", "b", 3], "set stored as list, sorted by repr"),
        (frozenset({(1, 2)}), [[1, 2]], "frozenset stored as list, sorted by repr"),
        (bytearray(b"x"), b"x", "bytearray stored as bytes"),
        (memoryview(b"x"), b"x", "memoryview stored as bytes"),
        (collections.deque([1, {}]), [1, {}], "deque stored as list"),
        (range(10**15), "range(0, 1000000000000000)", "range stored as its repr"),
        (collections.UserString("abc"), "'abc'", "UserString stored as its repr"),
        (1j, "1j", "complex stored as its repr"),
        (ValueError("boo\ud800"), "ValueError: boo\\ud800", "ValueError stored as text"),
        (PurePosixPath("/a/b"), "/a/b", "PurePosixPath stored as str"),
        (Message, "<class 'test_encode.Message'>", "ModelMetaclass stored as its repr"),
        (Scalar(), 1.5, "Scalar stored as float"),
        (Array(), [1, [2, 3]], "Array stored as list"),
        (DatetimeMS(2**62), f"DatetimeMS({2**62})", "DatetimeMS stored as its repr"),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_what_changes_has_a_note(value: Any, expected: Any, what: str) -> None:
    """A value that BSON cannot hold is converted, and the note says where and how."""
    if isinstance(value, (type, DatetimeMS)):
        value = [value, {1}]
        encoded = encode_value(value)
        assert str(stored(encoded)[0]).endswith(str(expected).rpartition(".")[2])
        assert encoded.notes[0] == f"value.0: {what}"
        return
    encoded = encode_value({"in": [value]})

    assert stored(encoded) == {"in": [expected]}
    assert encoded.notes == (f"value.in.0: {what}",)
