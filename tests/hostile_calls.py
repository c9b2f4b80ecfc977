"""Calls of a stranger: whatever a text can hold, whatever type a field can have."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from made_up_calls import Call, call_id
from odd_values import FIELDS, ODD

_LOT = random.Random(7)
NOW = datetime.now(UTC).replace(microsecond=0)
HIDDEN = "\u202e\u2066\u200b\u200f\ufeff\u2028\x1b[31m\x00\U000e0068\U000e0069"
DEEP = "[" * 10_000 + "]" * 10_000
TEXTS = (
    "<script>alert(1)</script><zz-tag zz-a=1 onload=alert(1)>",
    "\"'><img src=x onerror=alert(1) zz><style>*{}</style>",
    "</title></textarea></script><svg onload=alert(1)><zz>",
    "javascript:alert(1)//%0aalert(1)",
    "JaVaScRiPt\t:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.test/x",
    "/\\evil.test",
    "https://evil.test/?q=<zz>",
    "[x](javascript:alert(1)) ![y](//evil.test/p) <https://evil.test> [z]: data:text/html,zz",
    "a\nb\r\nset-cookie: zz=1\r\n\r\n<zz>",
    f"bidi{HIDDEN}end",
    "{{ 7*7 }} {% raw %} ${7*7} <%= 7*7 %> #{7*7}",
    "..",
    ".",
    "/",
    "../../etc/passwd",
    "a/b?c=d&e=f#g",
    "%00%0a%2e%2e",
    "&lt;zz&gt;&#60;zz&#62;",
    '"',
    "'",
    " ",
    "\\",
    "$ne",
    '{"$gt": ""}',
    "\ud7ff\ufffd",
    "🏳️‍🌈" * 9,
    "ﷺ" * 99,
    "hx-get=/x hx-on:click=alert(1)",
    "-1",
    "1e999",
    "9" * 5_000,
    "null",
    "NaN",
    "__proto__",
    '{"a": "\\ud800"}',
    "\\ud800",
    '["\\u202e", 1e400, -0, 9' + "9" * 5_000 + "]",
)
_TOOL = {"id": "c", "type": "function"}


def call_of_text(number: int, text: str) -> Call:
    """Return a call in which everything that may be a text is this one."""
    who = (
        "provider",
        "model",
        "trace_id",
        "session_id",
        "user_id",
        "company_id",
        "review_id",
        "task_id",
        "environment",
        "service",
        "captured_by",
        "process_nonce",
        "ended_by",
        "error_type",
        "error_message",
        "error_traceback",
        "finish_reason",
        "endpoint",
        "system_prompt",
        "call_type",
        "response_model",
        "response_id",
        "parent_call_id",
        "host",
        "cost_source",
        "cost_unknown",
    )
    tool = {**_TOOL, "function": {"name": text, "arguments": text}}
    odd = {
        "role": "assistant",
        "content": text,
        "reasoning_content": text,
        "refusal": text,
        "tool_calls": [tool],
        "annotations": [
            {"type": "url_citation", "url_citation": {"url": text, "title": text}},
            {"url": text, "title": text, "cited_text": text},
        ],
    }
    said = {
        "role": "user",
        "content": [
            {"type": "text", "text": text},
            {"type": text, text.replace("\x00", "") or "x": text},
            {"type": "image_url", "image_url": {"url": text}},
            {"type": "file", "file": {"file_data": text, "filename": text}},
        ],
    }
    return {
        **dict.fromkeys(who, text),
        "_id": call_id(NOW - timedelta(minutes=number), _LOT),
        "created_at": NOW - timedelta(minutes=number),
        "completed_at": NOW,
        "status": text if number % 4 == 0 else ("ERROR", "SUCCESS", "TIMEOUT")[number % 3],
        "task": dict.fromkeys(
            (
                "name",
                "root_id",
                "parent_id",
                "outer_task_id",
                "group_id",
                "queue",
                "worker",
                "attempt_id",
                "host",
            ),
            text,
        )
        | {"retries": 1},
        "messages": [
            {"role": text, "content": text},
            said,
            odd,
            {"role": "tool", "tool_call_id": "c", "content": text},
        ],
        "input": text,
        "response_message": odd,
        "other_choices": [odd],
        "response_extra": {
            text.replace("\x00", "") or "x": text,
            "citations": [text, {"url": text}],
        },
        "tools": [{"type": "function", "function": {"name": text, "description": text}}, text],
        "tools_called": [text],
        "malformed_tool_calls": [text],
        "tags": [text],
        "metadata": {text.replace("\x00", "") or "x": text},
        "request_params": {text.replace("\x00", "") or "x": text},
        "usage": {text.replace("\x00", "") or "x": text},
        "cost_details": {text.replace("\x00", "") or "x": 1.0},
        "error_details": {text.replace("\x00", "") or "x": text},
        "scores": [{"name": text, "value": text, "source": text, "comment": text, "key": text}],
        "annotations": [{"name": text, "key": text}],
        "attempts": [{"status": text, "error": text, "body": text, "duration_ms": text}],
        "encoding_notes": [text],
        "media": [text],
        "redacted": {text.replace("\x00", "") or "x": 1},
        "span": {
            "name": text,
            "span_id": text,
            "attributes": {text.replace("\x00", "") or "x": text},
        },
        "estimated_cost": 0.5,
        "latency_ms": 5.0,
        "total_tokens": 7,
    }


HOSTILE: list[Call] = [call_of_text(number, text) for number, text in enumerate(TEXTS)]
KEYS = {"trace_id": "t", "session_id": "s", "user_id": "u", "company_id": "c", "task_id": "task"}
"""By which those of odd types are found."""


def odd_calls() -> list[Call]:
    """Return calls with each odd value in each field, and in all fields at once."""
    names = [field for field in FIELDS if "." not in field and field not in KEYS]
    parts = [field.partition(".")[2] for field in FIELDS if "." in field]
    made: list[dict[str, Any]] = []
    for number in range(len(ODD)):
        mixed = {name: ODD[(number + at) % len(ODD)] for at, name in enumerate(names)}
        in_task = {name: ODD[(number + at) % len(ODD)] for at, name in enumerate(parts)}
        made.append(mixed | {"task": in_task})
        made.append(
            {
                **mixed,
                "status": "ERROR",
                "created_at": NOW,
                "task": dict.fromkeys(parts, ODD[number]) | {"name": "n"},
            }
        )
        made.append(dict.fromkeys(names, ODD[number]))
        made.append(dict.fromkeys([*names, *KEYS], ODD[number]))
    made.append({name: [value] for name, value in KEYS.items()})
    made.append({name: [value, "other", 5, None] for name, value in KEYS.items()})
    made.append({name: bson.Code(value) for name, value in KEYS.items()})
    return [
        {**KEYS, **call, "_id": call_id(NOW - timedelta(seconds=number), _LOT)}
        for number, call in enumerate(made)
    ]
