"""Whatever a user hands over is recorded, and the document says what was changed."""

import collections
import dataclasses
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from itertools import product
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import bson
import pytest
import uuid_utils
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pydantic import BaseModel, ConfigDict

from llm_audit.encoding.encode import Encoded, encode
from llm_audit.encoding.moved import restore


def encode_value(value: Any) -> Encoded:
    return encode({"before": "kept", "value": value}, 2**24, 2**18)


def stored(encoded: Encoded) -> Any:
    return bson.decode(encoded.raw)["value"]


def fetch_from(encoded: Encoded) -> Callable[[str], bytes]:
    return dict(encoded.blobs).__getitem__


class _Colour(Enum):
    RED = "red"


class _Role(StrEnum):
    USER = "user"


class _Level(IntEnum):
    HIGH = 3


class _Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class _Part:
    kind: str
    items: list[Any]


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: _Role
    parts: list[_Part] = []
    reply: "_Message | None" = None


class _Scalar:
    """Like a NumPy scalar."""

    def tolist(self) -> float:
        return 1.5


class _Array:
    """Like a NumPy array."""

    def tolist(self) -> list[Any]:
        return [1, [2, 3]]


CALL = {
    "call_type": _Role.USER,
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
    encoded = encode(CALL, 2**24, 2**18)

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
        (_Point(1, 2), [1, 2]),
        ([_Colour.RED, _Role.USER, _Level.HIGH], ["red", "user", 3]),
        ({_Role.USER: 1}, {"user": 1}),
        (_Part("text", [_Part("x", [])]), {"kind": "text", "items": [{"kind": "x", "items": []}]}),
        (
            _Message(role=_Role.USER, parts=[_Part("t", [])], unknown=[1]),
            {"role": "user", "parts": [{"kind": "t", "items": []}], "unknown": [1]},
        ),
        (collections.UserDict({"a": 1}), {"a": 1}),
        (collections.defaultdict(list, {"a": [1]}), {"a": [1]}),
        (bson.ObjectId("0" * 24), ...),
        (bson.Decimal128("1.10"), ...),
    ],
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
        (int, "<class 'int'>", "type stored as its repr"),
        (_Scalar(), 1.5, "_Scalar stored as float"),
        (_Array(), [1, [2, 3]], "_Array stored as list"),
    ],
)
def test_what_changes_has_a_note(value: Any, expected: Any, what: str) -> None:
    """A value that BSON cannot hold is converted, and the note says where and how."""
    encoded = encode_value({"in": [value]})

    assert stored(encoded) == {"in": [expected]}
    assert encoded.notes == (f"value.in.0: {what}",)


def test_an_int_of_thousands_of_digits_is_hexadecimal() -> None:
    """An int that Python refuses to write in decimals keeps its value."""
    encoded = encode_value(10**5_000)

    assert int(stored(encoded), 16) == 10**5_000
    assert encoded.notes == ("value: int beyond 64 bits stored as str",)


def test_datetimes_are_utc_milliseconds() -> None:
    """With or without a zone, a datetime comes back as BSON has it: in UTC, cut to milliseconds."""
    zone = timezone(timedelta(hours=2))
    encoded = encode_value(
        [datetime(2024, 1, 1, 12, 0, 0, 123999, zone), datetime(2024, 1, 1, 12, 0, 0, 123999)]  # noqa: DTZ001
    )

    assert bson.decode(encoded.raw, codec_options=bson.CodecOptions(tz_aware=True))["value"] == [
        datetime(2024, 1, 1, 10, 0, 0, 123000, UTC),
        datetime(2024, 1, 1, 12, 0, 0, 123000, UTC),
    ]
    assert encoded.notes == ()


def test_a_datetime_out_of_range_is_text() -> None:
    """A datetime that has no UTC form keeps its ISO 8601 text."""
    encoded = encode_value(datetime.min.replace(tzinfo=timezone(timedelta(hours=5))))

    assert stored(encoded) == "0001-01-01T00:00:00+05:00"
    assert encoded.notes == ("value: datetime stored as ISO 8601 text",)


def test_uuids_are_binary_of_the_standard_subtype() -> None:
    """A UUID comes back as one to a reader who asks for the standard representation."""
    value = uuid.uuid4()
    for given in (value, uuid_utils.UUID(bytes=value.bytes)):
        encoded = encode_value(given)

        assert stored(encoded) == bson.Binary.from_uuid(value)
        assert encoded.notes == ()


def test_what_only_says_that_it_is_a_uuid_is_bytes() -> None:
    """Else nothing of its call could be read, nor of the calls around it, by who reads UUIDs."""
    uuids = CodecOptions[dict[str, Any]](uuid_representation=UuidRepresentation.STANDARD)
    beside = bson.Binary.from_uuid(uuid.uuid4())
    for subtype, size in product((3, 4), (0, 1, 15, 17, 300, 70_000)):
        bad = bson.Binary(b"\xff" * size, subtype)
        for place in (
            lambda value: value,
            lambda value: {"a": [1, {"b": value}]},
            lambda value: [(value,)],
            lambda value: {"a": beside, "b": RawBSONDocument(bson.encode({"raw": value}))},
            lambda value: bson.SON(a=value),
            lambda value: bson.Code("x", {"a": value}),
            lambda value: type("Mine", (bson.Binary,), {})(value, value.subtype),
        ):
            raw = encode_value(place(bad)).raw
            assert repr(bad) not in repr(bson.decode(raw)), (subtype, size)
            assert bson.decode(raw, uuids)["before"] == "kept"
        assert (stored(encode_value({"a": bad})), encode_value(bad).notes) == (
            {"a": bytes(bad)},
            (f"value: {size} bytes of subtype {subtype}, no UUID, stored as bytes",),
        )
    for good in (bson.Binary(bytes(16), 3), bson.Binary(bytes(16), 4), bson.Binary(b"x", 5)):
        for value in (good, RawBSONDocument(bson.encode({"raw": good}))):
            assert encode_value(value).notes == ()


@pytest.mark.parametrize(
    ("value", "expected", "notes"),
    [
        (
            {1: "a", "1": "b"},
            {"1#2": "a", "1": "b"},
            ["1#2: key of type int stored as str, beside its namesake 1"],
        ),
        (
            {"1": "b", 1: "a", "1#2": "c"},
            {"1": "b", "1#3": "a", "1#2": "c"},
            ["1#3: key of type int stored as str, beside its namesake 1"],
        ),
        (
            {None: 1, True: 2, 1.5: 3},
            {"null": 1, "true": 2, "1.5": 3},
            [
                "null: key of type NoneType stored as str",
                "true: key of type bool stored as str",
                "1.5: key of type float stored as str",
            ],
        ),
        (
            {(1, "a"): 1, b"x": 2},
            {"(1, 'a')": 1, "b'x'": 2},
            [
                "(1, 'a'): key of type tuple stored as str",
                "b'x': key of type bytes stored as str",
            ],
        ),
        ({_Colour.RED: 1}, {"red": 1}, []),
        (
            {"a\0b": 1, "\ud800": 2},
            {"a\\u0000b": 1, "\\ud800": 2},
            [
                "a\\u0000b: NUL or lone surrogates in the key escaped",
                "\\ud800: NUL or lone surrogates in the key escaped",
            ],
        ),
        (
            {"a\0": 1, "a\\u0000": 2},
            {"a\\u0000#2": 1, "a\\u0000": 2},
            ["a\\u0000#2: NUL or lone surrogates in the key escaped, beside its namesake a\\u0000"],
        ),
    ],
)
def test_keys_that_bson_refuses_become_text_and_lose_no_value(
    value: dict[Any, Any], expected: dict[str, Any], notes: list[str]
) -> None:
    """A key is made a string without NUL; one that is taken already gets a number."""
    encoded = encode_value(value)

    assert stored(encoded) == expected
    assert list(stored(encoded)) == list(expected)
    assert list(encoded.notes) == [f"value.{note}" for note in notes]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"$ref": "users", "$id": 7, "x": 1}, {"$ref": "users", "\uff04id": 7, "x": 1}),
        ({"$id": 7, "$ref": "users", "$db": None}, {"\uff04id": 7, "$ref": "users", "$db": None}),
        (bson.DBRef("users", 7, "shop"), {"$ref": "users", "\uff04id": 7, "$db": "shop"}),
    ],
)
def test_a_dbref_stays_a_document(value: Any, expected: dict[str, Any]) -> None:
    """What drivers read as a DBRef is stored with its `$id` renamed; `restore` undoes it."""
    encoded = encode_value([{"deep": value}])

    assert stored(encoded) == [{"deep": expected}]
    assert encoded.notes == ("value.0.deep.$id: key stored as \uff04id, not to make a DBRef",)
    original = value if isinstance(value, dict) else dict(value.as_doc())
    assert restore(stored(encoded), fetch_from(encoded)) == [{"deep": original}]


def test_a_dbref_is_found_behind_any_number_of_dollars() -> None:
    """However many dollar signs stand before or behind a DBRef, its `$id` is renamed."""
    dbref, renamed = {"$ref": "users", "$id": 7}, {"$ref": "users", "\uff04id": 7}
    for dollars in range(20):
        price = "$" * dollars
        for value in ([price, dbref], [dbref, price], [{price: price}, "$ref", dbref]):
            kept = [renamed if one is dbref else one for one in value]
            assert stored(encode_value(value)) == kept, (dollars, value)
