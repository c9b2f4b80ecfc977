"""Content that no API would send: none of it raises, and none of it costs the rest of the call."""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import bson
import gridfs
import pytest
from file_size_limit import file_size_limit
from pydantic import BaseModel
from waiting import Call, Calls, arrived

from llm_audit import LLMLogger
from llm_audit.call import CallFields
from llm_audit.encoding.moved import restore

USER = {"role": "user", "content": "the rest of the call"}

pytestmark = pytest.mark.usefixtures("recording")


class Model(BaseModel):
    """A user's pydantic object."""

    name: str
    parts: list[bytes]


@dataclasses.dataclass
class Data:
    """A user's dataclass."""

    name: str
    tags: set[str]


class Hostile:
    """An object that cannot be read at all."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class HostileMapping(Mapping[str, Any]):
    """A mapping that cannot be read at all."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


def cyclic() -> list[Any]:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    return cycle


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


NOON = datetime(2026, 1, 2, 12, 0, 0, 123_000, tzinfo=UTC)

# What BSON holds as it is: it comes back equal, and no note is made.
EQUAL: dict[str, Any] = {
    "NUL": "a\0b",
    "dotted key": {"a.b": 1},
    "dollar key": {"$set": {"$gt": 1}, "$ref": "#/$defs/A"},
    "empty key": {"": {"": 1}},
    "largest int": 2**63 - 1,
    "infinity": float("inf"),
    "datetime": NOON,
    "datetime elsewhere": NOON.astimezone(timezone(timedelta(hours=2))),
    "bytes": b"\0\xff",
    "tuple": [1, 2],
    "emoji": "\U0001f600",
    "empty": [None, {}, [], ""],
}

# What it does not hold: this is stored in its place, and a note names where.
CHANGED: dict[str, tuple[Any, Any]] = {
    "lone surrogate": ("a\ud800b", "a\\ud800b"),
    "lone surrogate in a key": ({"\udfff": 1}, {"\\udfff": 1}),
    "NUL in a key": ({"a\0b": 1}, {"a\\u0000b": 1}),
    "int key": ({1: "a", None: "b"}, None),
    "2**70": (2**70, str(2**70)),
    "Decimal": (Decimal("1.50"), bson.Decimal128("1.50")),
    "long Decimal": (Decimal("1." + "3" * 50), "1." + "3" * 50),
    "date": (date(2026, 1, 2), "2026-01-02"),
    "set": ({3, 1, 2}, [1, 2, 3]),
    "exception": (ValueError("x"), "ValueError: x"),
    "object": (Hostile(), "<Hostile: RuntimeError>"),
    "mapping": (HostileMapping(), "<HostileMapping: RuntimeError>"),
    "cycle": (cyclic(), [1, "<list: cyclic reference>"]),
    "200 levels": (nested(200), None),
    "10,000 levels": (nested(10_000), None),
    "DBRef": ({"$ref": "a", "$id": 1}, None),
    "path": (Path("a"), "a"),
    "class": (Hostile, None),
}


def record(value: Any) -> str:
    """Record a call with a value in every place that takes content."""
    call_id = LLMLogger.start(
        provider="openai",
        model="m",
        messages=[USER, {"role": "user", "content": value}],
        input=value,
        system_prompt=value,
        tools=[{"default": value}],
        tool_choice={"choice": value},
        metadata={"value": value},
        extra_body=value,
    )
    LLMLogger.complete(
        call_id,
        response_message={"role": "assistant", "content": "whole", "value": value},
        finish_reason="stop",
        tokens={"total_tokens": 7},
    )
    return call_id


def assert_whole(call: Call) -> None:
    """Assert that nothing but the strange value itself was touched."""
    assert (call["provider"], call["model"], call["finish_reason"]) == ("openai", "m", "stop")
    assert call["messages"][0] == USER
    assert call["messages"][1]["role"] == "user"
    assert call["response_message"]["content"] == "whole"
    assert (call["status"], call["total_tokens"]) == ("SUCCESS", 7)
    CallFields.model_validate(call)


def values_in(call: Call) -> list[Any]:
    """Return the strange value from every place in which it was recorded."""
    return [
        call["messages"][1]["content"],
        call["input"],
        call["system_prompt"],
        call["tools"][0]["default"],
        call["tool_choice"]["choice"],
        call["metadata"]["value"],
        call["request_params"]["extra_body"],
        call["response_message"]["value"],
    ]


PATHS = (
    *("messages.1.content", "input", "system_prompt", "tools.0.default", "tool_choice.choice"),
    *("metadata.value", "request_params.extra_body", "response_message.value"),
)


@pytest.mark.parametrize("name", EQUAL)
def test_what_bson_holds_comes_back_equal(calls: Calls, name: str) -> None:
    """Strange but storable content is stored as it is, everywhere, without a note."""
    value = EQUAL[name]
    call = arrived(calls, record(value))
    assert_whole(call)
    assert all(stored == value for stored in values_in(call))
    assert "encoding_notes" not in call


@pytest.mark.parametrize("name", CHANGED)
def test_what_bson_does_not_hold_is_changed_and_noted(calls: Calls, name: str) -> None:
    """Content that cannot be stored is converted, everywhere, and each place is noted."""
    value, expected = CHANGED[name]
    call = arrived(calls, record(value))
    assert_whole(call)
    if expected is not None:
        assert all(stored == expected for stored in values_in(call))
    for path in PATHS:
        assert any(note.startswith(path) for note in call["encoding_notes"]), path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Model(name="a", parts=[b"b"]), {"name": "a", "parts": [b"b"]}),
        (Data("a", set()), {"name": "a", "tags": []}),
    ],
    ids=["pydantic", "dataclass"],
)
def test_objects_become_documents(calls: Calls, value: Any, expected: Any) -> None:
    """Pydantic objects and dataclasses are stored by their fields."""
    call = arrived(calls, record(value))
    assert_whole(call)
    assert all(stored == expected for stored in values_in(call))


def test_a_naive_datetime_is_taken_for_utc(calls: Calls) -> None:
    """A datetime without a zone is stored as if it were in UTC."""
    call = arrived(calls, record(NOON.replace(tzinfo=None)))
    assert all(stored == NOON for stored in values_in(call))


@pytest.mark.parametrize("argument", ["provider", "model", "user_id", "trace_id", "task_id"])
def test_a_name_that_cannot_be_read_costs_only_itself(
    recording: Any, calls: Calls, argument: str
) -> None:
    """An unreadable object for a name or an id is replaced by a marker."""
    recording(strict=False)
    names: dict[str, Any] = {"provider": "openai", "model": "m", argument: Hostile()}
    call = arrived(calls, LLMLogger.start(messages=[USER], tags=[Hostile()], **names))
    assert call[argument] == "<Hostile: RuntimeError>"
    assert call["tags"] == ["<Hostile: RuntimeError>"]
    assert call["messages"] == [USER]
    CallFields.model_validate(call)


def test_large_media_moves_to_gridfs_and_can_be_put_back(calls: Calls) -> None:
    """40 MB of base64 in the request and as much in the response are in GridFS, whole."""
    image = "data:image/png;base64," + "QUJD" * (10 * 2**20)
    audio = "SUQz" * (10 * 2**20)
    call_id = LLMLogger.start(model="m", messages=[USER, {"role": "user", "image": image}])
    message = {"role": "assistant", "content": "whole", "audio": {"data": audio}}
    LLMLogger.complete(call_id, response_message=message)
    call = arrived(calls, call_id)

    assert call["messages"][0] == USER
    assert call["messages"][1]["image"]["preview"] == image[:100]
    assert len(call["encoding_notes"]) == 2
    bucket = gridfs.GridFSBucket(calls.database)
    whole = restore(call, lambda sha256: bucket.open_download_stream(sha256).read())
    assert whole["messages"][1]["image"] == image
    assert whole["response_message"] == message
    CallFields.model_validate(call)


def test_the_same_media_is_stored_once(calls: Calls) -> None:
    """An image that is sent again in each turn of a conversation is in GridFS once."""
    image = {"image": "QUJD" * 100_000}
    for turns in range(1, 4):
        arrived(calls, LLMLogger.start(model="m", messages=[image] * turns))
    assert calls.database["fs.files"].count_documents({}) == 1


def test_a_text_too_large_for_a_document_can_be_put_back(calls: Calls) -> None:
    """20 MB of prose in the request and 10 MB in the answer leave a document that MongoDB takes."""
    text = "no base64, but prose. " * 2**20
    call_id = LLMLogger.start(model="m", messages=[USER, {"role": "user", "content": text}])
    answer = {"role": "assistant", "content": text[: 10 * 2**20]}
    LLMLogger.complete(call_id, response_message=answer)
    call = arrived(calls, call_id)

    bucket = gridfs.GridFSBucket(calls.database)
    whole = restore(call, lambda sha256: bucket.open_download_stream(sha256).read())
    assert whole["messages"][1]["content"] == text
    assert whole["response_message"] == answer
    CallFields.model_validate(call)


def test_media_of_a_call_with_a_strange_id(calls: Calls) -> None:
    """An id from elsewhere, whatever is in it, is no path into the spool or out of it."""
    message = {"role": "assistant", "image": "QUJD" * 100_000}
    call_id = LLMLogger.complete("../../a/b\0" + "c" * 300, response_message=message)
    call = arrived(calls, call_id)

    bucket = gridfs.GridFSBucket(calls.database)
    whole = restore(call, lambda sha256: bucket.open_download_stream(sha256).read())
    assert whole["response_message"] == message


def test_media_that_the_disk_refuses_is_noted(calls: Calls) -> None:
    """Where there is no room for the media, the call says that it is lost, and nothing else is."""
    image = "QUJD" * 100_000
    messages = [USER, {"role": "user", "image": image}]
    with file_size_limit(50_000):
        call_id = LLMLogger.start(model="m", messages=messages)
    LLMLogger.complete(call_id, response_message={"role": "assistant", "image": image})
    call = arrived(calls, call_id)

    assert call["messages"][0] == USER
    assert any("lost" in note for note in call["encoding_notes"])
    bucket = gridfs.GridFSBucket(calls.database)
    sha256 = call["response_message"]["image"]["gridfs_id"].hex()
    assert bucket.open_download_stream(sha256).read() == image.encode()
