"""Values that no recorder writes, for fields of calls that others wrote or a header brought in."""

import copy
from datetime import UTC, datetime
from typing import Any

import bson
from bson.datetime_ms import DatetimeMS
from made_up_calls import CALLS, Call

from llm_audit import LLMCall
from llm_audit.call import Kind, columns

ODD: list[Any] = [
    *(5, -5, 2.5, float("nan"), float("inf"), "5", "x" * 100, "", True, None, b"\xff"),
    *([], [5], {}, {"gridfs_id": "0" * 64, "length": 9}, {"a": {"b": [None]}}),
    *(datetime(2026, 5, 1, tzinfo=UTC), DatetimeMS(10**16), DatetimeMS(-(2**63)), bson.ObjectId()),
    *(bson.Decimal128("0.5"), bson.Decimal128("NaN"), bson.Int64(2**62), bson.Regex("x")),
    *(bson.MinKey(), bson.MaxKey(), bson.Timestamp(1, 1)),
    *([["a"], [["b"]]], ["a", {"name": "n", "value": 1}, None], [{"name": {"a": 1}, "key": "x"}]),
    *({"$ne": 1, "a.b": {"": 2}}, "a\0b\n\x1b[31m", "é" * 5_000, 2**63 - 1, -(2**63), 1e15),
    *(bson.Code("x", {"a": 1}), bson.Binary(b"short", 4), bson.Binary(b"\xff" * 32, 0xF6)),
    *(bson.Decimal128("9E+6144"), bson.Regex("(", "x")),
]

USUAL: Call = {
    **next(call for call in CALLS if call["status"] == "SUCCESS" and call.get("tools_called")),
    "_id": "01a00000-0000-7000-8000-000000000000",
    "trace_id": "t",
    "session_id": "s",
    "company_id": "c",
    "task_id": "task",
    "task": {"name": "tasks.ask", "retries": 1, "root_id": "t"},
    "estimated_cost": 0.25,
    "total_tokens": 15,
    "latency_ms": 100.0,
    "response_message": {"role": "assistant", "content": "What now?"},
}
FIELDS = [
    *(field for field in LLMCall.model_fields if field not in {"id", "revision_id", "unreadable"}),
    *(path for path in columns(Kind.WHO) if path.startswith("task.")),
]
IDS = [f"01a00000-00{number:02}-7000-8000-000000000000" for number in range(1, 1 + len(ODD))]


def with_odd(field: str) -> list[Call]:
    """Return calls like the usual one, each with another odd value in a field."""
    calls = []
    for call_id, value in zip(IDS, ODD, strict=True):
        call = copy.deepcopy(USUAL) | {"_id": call_id}
        parent, dot, child = field.partition(".")
        if dot:
            call[parent][child] = value
        else:
            call[field] = value
        calls.append(call)
    return calls
