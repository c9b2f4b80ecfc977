"""A value of every kind that recording takes: MongoDB's types, Python's, and users' own."""

import array
import dataclasses
import decimal
import enum
import fractions
import ipaddress
import json
import re
import uuid
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import bson
import pymongo
import pytest
import uuid_utils
from bson.datetime_ms import DatetimeMS
from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic_core import to_jsonable_python

from llm_audit import LLMLogger


class Colour(enum.Enum):
    """An enum whose value no JSON has."""

    RED = decimal.Decimal("0.5")


class Point(NamedTuple):
    """A tuple with names."""

    x: complex
    y: bytes


@dataclasses.dataclass
class Data:
    """A user's dataclass."""

    at: datetime
    amount: decimal.Decimal


class Model(BaseModel):
    """A user's pydantic object."""

    secret: SecretStr
    ids: set[uuid.UUID]
    raw: bytes


_NOW = datetime(2026, 5, 1, 12, 30, 0, 123_456, tzinfo=UTC)
_ID = uuid.UUID(int=7)
IDS = {"trace_id": "t", "session_id": "s", "task_id": "task"}

# PyMongo before 4.20 does not read what has the subtype of a UUID, and another length.
NO_UUID = 4 if pymongo.version_tuple >= (4, 20) else 128
VALUES: dict[str, Any] = {
    # MongoDB's
    "binary": bson.Binary(b"\xff\x00"),
    "binary of an uuid": bson.Binary.from_uuid(_ID),
    "binary of an old uuid": bson.Binary(_ID.bytes, 3),
    "binary of users": bson.Binary(b"\xff", 128),
    "binary that is no uuid": bson.Binary(b"\xff", NO_UUID),
    "vector": bson.Binary.from_vector([1.5, 2.5], bson.binary.BinaryVectorDtype.FLOAT32),
    "code": bson.Code("function () {}"),
    "code with scope": bson.Code("function () {}", {"a": bson.ObjectId()}),
    "dbref": bson.DBRef("calls", bson.ObjectId(), "database", more=b"\xff"),
    "decimal128": bson.Decimal128("0.5"),
    "decimal128 nan": bson.Decimal128("NaN"),
    "decimal128 infinity": bson.Decimal128("-Infinity"),
    "decimal128 large": bson.Decimal128("9.999999999999999999999999999999999E+6144"),
    "int64": bson.Int64(2**62),
    "max key": bson.MaxKey(),
    "min key": bson.MinKey(),
    "object id": bson.ObjectId(),
    "regex": bson.Regex("(unclosed", "ix"),
    "son": bson.SON([("a", bson.ObjectId())]),
    "raw": bson.raw_bson.RawBSONDocument(bson.encode({"a": DatetimeMS(2**62)})),
    "timestamp": bson.Timestamp(4_000_000_000, 1),
    "date far ahead": DatetimeMS(10**16),
    "date far back": DatetimeMS(-(2**63)),
    # Python's
    "none": None,
    "true": True,
    "large int": 10**40,
    "largest int64": 2**63 - 1,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "complex": 1 + 2j,
    "decimal": decimal.Decimal("9.99"),
    "decimal nan": decimal.Decimal("sNaN"),
    "decimal long": decimal.Decimal("1." + "9" * 50),
    "fraction": fractions.Fraction(1, 3),
    "bytes": b"\xff",
    "bytearray": bytearray(b"\xff"),
    "memoryview": memoryview(b"\xff"),
    "array": array.array("d", [1.5]),
    "text": "\ud800 \x00 \x1b[31m \u202e é",
    "user string": UserString("text"),
    "datetime": _NOW,
    "datetime without a zone": _NOW.replace(tzinfo=None),
    "datetime in the first hour": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    "datetime in the last hour": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))),
    "date": _NOW.date(),
    "last date": date.max,
    "time": time(12, 30, tzinfo=UTC),
    "timedelta": timedelta.max,
    "uuid": _ID,
    "fast uuid": uuid_utils.UUID(int=7),
    "path": Path("/tmp"),
    "pattern": re.compile("x", re.IGNORECASE),
    "bytes pattern": re.compile(b"\xff"),
    "address": ipaddress.ip_address("::1"),
    "enum": Colour.RED,
    "named tuple": Point(1j, b"\xff"),
    "set": {1, b"\xff"},
    "frozenset": frozenset({decimal.Decimal(1)}),
    "deque": deque([bson.ObjectId()]),
    "range": range(3),
    "dict": {1: b"\xff", None: 1, (1, 2): 2, b"\xff": 3, "a.b": {"$set": 4, "": 5}, "\ud800": 6},
    "ordered": OrderedDict(a=b"\xff"),
    "counter": Counter("aab"),
    "chain": ChainMap({"a": b"\xff"}, {"b": 1}),
    "proxy": MappingProxyType({"a": b"\xff"}),
    "user dict": UserDict({"a": b"\xff"}),
    "user list": UserList([b"\xff"]),
    "dbref in plain": {"$ref": "calls", "$id": bson.ObjectId()},
    "extended json": {"$numberDecimal": "x", "$date": "never"},
    "reference": {"gridfs_id": "0" * 64, "length": 9},
    "dataclass": Data(_NOW, decimal.Decimal("9.99")),
    "pydantic": Model(secret=SecretStr("x"), ids={_ID}, raw=b"\xff"),
    "namespace": SimpleNamespace(a=b"\xff"),
    "exception": ValueError(b"\xff"),
    "class": Model,
    "function": len,
    "generator": (number for number in [1]),
    "object": object(),
    "nested": [{"a": [{"b": (bson.ObjectId(), b"\xff", [DatetimeMS(10**16)])}]}],
}


def record(name: str, value: Any) -> None:
    """Record a call, and a failed one, that hold a value wherever it may be."""
    message = {"role": "user", "content": value, "more": value}
    call_id = LLMLogger.start(
        model=name,
        messages=[message, value, {"role": "user", "content": [{"type": "text", "text": value}]}],
        system_prompt=value,
        tools=[value, {"type": "function", "function": {"name": "f", "parameters": value}}],
        tool_choice=value,
        input=value,
        metadata={"v": value, "list": [value]},
        odd_parameter=value,
        **IDS,
    )
    tool_call = {"id": "1", "function": {"name": "f", "arguments": value}, "more": value}
    answer = {"role": "assistant", "content": value, "tool_calls": [tool_call], "more": value}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "more": value}
    response = {"choices": [{"message": answer, "more": value}], "usage": usage, "more": value}
    LLMLogger.complete(call_id, response=response)
    LLMLogger.annotate(call_id, metadata={"later": value})
    error = RuntimeError("boom")
    vars(error).update(body={"error": {"message": value}, "more": value}, code=value)
    failed = LLMLogger.start(model=name, messages=[message], **IDS)
    LLMLogger.fail(failed, error, response_message=answer, tokens=usage)


def no_json(text: str) -> NoReturn:
    pytest.fail(f"{text} is no JSON")


def assert_json(result: Any) -> None:
    """Assert that a result becomes JSON in every way in which a web framework makes it."""
    texts = [TypeAdapter(type(result)).dump_json(result), json.dumps(to_jsonable_python(result))]
    if isinstance(result, BaseModel):
        assert result.model_dump()
        texts += [result.model_dump_json(), json.dumps(result.model_dump(mode="json"))]
    for text in texts:
        json.loads(text, parse_constant=no_json)
