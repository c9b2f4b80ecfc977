"""A row is read whatever its fields hold, and says which of them it could not read."""

import json
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from odd_values import ODD
from packaging.version import Version
from pydantic import VERSION

from llm_audit import LLMLogger
from llm_audit.documents import LLMCall
from llm_audit.queries.answers.conversation import Turn
from llm_audit.queries.answers.trace_tree import TraceCall
from llm_audit.tolerant import TolerantModel

USUAL = {"_id": "1", "id": "1", "status": "SUCCESS", "new": [], "answer": [], "continues": None}


def read(kind: type[TolerantModel], /, **fields: Any) -> Any:
    return kind.model_validate({**USUAL, **fields})


@pytest.mark.parametrize("kind", [LLMCall, TraceCall, Turn])
def test_any_value_in_any_field_is_read(kind: type[TolerantModel]) -> None:
    """No field of a row keeps the others from being read, nor the row from becoming JSON."""
    made = {"unreadable", "revision_id", "new", "answer", "other_answers", "continues"}
    for name, field in kind.model_fields.items():
        for value in ODD if name not in made else ():
            key = field.alias or name
            row = read(kind, **{key: value})
            held = row.model_dump()

            assert {left.partition(".")[0] for left in row.unreadable} <= {name}, (name, value)
            assert json.loads(row.model_dump_json()).keys() == held.keys(), (name, value)
            if row.unreadable:
                usual = read(kind).model_dump()
                assert {k for k in held if held[k] != usual[k]} <= {name, "unreadable"}


def test_what_is_unreadable_is_named() -> None:
    """A wrong field is as if it were missing; the rest of the row is there."""
    call = read(
        LLMCall,
        _id=7,
        status=None,
        call_type=3,
        model="gpt-4",
        prompt_tokens="12",
        total_tokens=15.0,
        latency_ms=float("nan"),
        created_at=1777777777,
        tags=["a", 5],
        trace_id={"gridfs_id": "0" * 64},
        task={"name": 5, "retries": 2, "a_later_version": "knows"},
    )

    assert set(call.unreadable) == {
        *("id", "status", "call_type", "prompt_tokens", "latency_ms", "created_at", "tags"),
        *("trace_id", "task.name"),
    }
    assert (call.id, call.status, call.model, call.total_tokens) == ("7", "UNKNOWN", "gpt-4", 15)
    assert (call.prompt_tokens, call.created_at, call.tags, call.trace_id) == (None, None, [], None)
    assert (call.task.retries, call.task.a_later_version) == (2, "knows")


def test_numbers_of_every_kind_are_numbers() -> None:
    """In mongosh they are doubles, elsewhere decimals: a call is not unreadable for that."""
    numbers = [15, 15.0, bson.Int64(15), bson.Decimal128("15")]
    calls = [read(LLMCall, total_tokens=number, estimated_cost=number) for number in numbers]

    assert {(call.total_tokens, call.estimated_cost) for call in calls} == {(15, 15.0)}
    assert not any(call.unreadable for call in calls)


def test_content_of_mongodbs_own_types_becomes_json() -> None:
    """In Python it is what was stored, in JSON it is text; what is left out stays left out."""
    content = {"at": DatetimeMS(10**16), "by": bson.ObjectId("0" * 24), "raw": b"\xff"}
    unknown = {"later": bson.ObjectId()} if Version(VERSION) >= Version("2.13") else {}
    call = read(LLMCall, metadata=content, messages=["secret"], task=unknown)

    assert call.metadata == content
    assert json.loads(call.model_dump_json())["metadata"]["by"] == "0" * 24
    assert "secret" not in call.model_dump_json(exclude={"messages"})
    assert "metadata" in LLMCall.model_json_schema(mode="serialization")["properties"]


@pytest.mark.usefixtures("llm_audit_records")
def test_a_call_that_was_dumped_is_read_as_it_was() -> None:
    """Its enums, and an id that is a reference, are texts as good as any."""
    call_id = LLMLogger.start(call_type="CHAT", trace_id="t")
    call = LLMCall.model_validate({"_id": call_id, "status": "SUCCESS", "call_type": "CHAT"})
    again = LLMCall.model_validate({**call.model_dump(), "trace_id": call_id})
    assert (again.status, again.call_type, again.trace_id) == ("SUCCESS", "CHAT", call_id)
    assert again.unreadable == []
