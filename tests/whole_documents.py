"""A document of each kind as it should be, with everything in it that such a document may have."""

import hashlib
from datetime import UTC, datetime

from made_up_calls import Call
from made_up_records import numbered
from odd_values import USUAL

from llm_audit.encoding.moved import reference_to

SHA = hashlib.sha256(b"Hello").hexdigest()
OPENAI: Call = {
    **USUAL,
    "_id": "01a00000-0000-7000-8000-000000000001",
    "parent_call_id": USUAL["_id"],
    "schema_version": 2,
    "system_prompt": reference_to(SHA, 5, "str", "Hello"),
    "media": [SHA],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": '{"x": 1}'},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "response_message": {
        "role": "assistant",
        "content": "Good bye",
        "tool_calls": [{"id": "b", "function": {"name": "g", "arguments": '{"y": [1]}'}}],
    },
    "other_choices": [{"role": "assistant", "content": "or not"}],
    "usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 1}},
    "cost_details": {"input": 0.2, "output": 0.05},
    "captured_by": "httpx2",
    "endpoint": "https://api.openai.com/v1/chat/completions",
    "streamed": True,
    "content": "sampled",
    "content_left_out": {"messages": 2},
    "span": {"name": "chat gpt-4o", "span_id": "00f067aa0ba902b7", "attributes": {"tier": "gold"}},
    "attempts": [
        {"status": 429, "duration_ms": 12.5, "body": {"error": {"code": "rate_limit_exceeded"}}},
        {"error": "ReadTimeout", "duration_ms": 600.0, "a_later_version": {"knows": "more"}},
    ],
    "scores": [{"name": "good", "value": True, "source": "me", "key": 1}],
    "annotations": [{"name": "seen", "key": 2}],
    "metadata": {"seen": 1, "deep": {"er": [1, 2]}},
    "request_params": {"top_p": 1, "extra_headers": {"a": "b"}},
    "encoding_notes": ["messages.0: cut"],
    "redacted": {"email": 2},
}
ANTHROPIC: Call = {
    **USUAL,
    "_id": "01a00000-0000-7000-8000-000000000002",
    "parent_call_id": OPENAI["_id"],
    "status": "ERROR",
    "system_prompt": [{"type": "text", "text": "Be long."}],
    "messages": [
        {"role": "user", "content": "Hello"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]},
    ],
    "input": {"gridfs_id": SHA, "length": 5, "kind": "str", "preview": "Hello"},
    "media": [SHA],
    "error_type": "E",
    "error_message": "no",
    "error_traceback": "Traceback",
    "error_details": {"code": "x", "body": {"a": 1}},
    "ended_by": "exception",
    "completed_at": datetime(2026, 5, 1, 1, tzinfo=UTC),
    "created_at": datetime(2026, 5, 1, tzinfo=UTC),
    "tags": ["a", "b"],
    "malformed_tool_calls": ["read"],
    "host": "h",
    "pid": 1,
    "process_nonce": "p",
}
DEAD: Call = {
    "_id": "p",
    "collection": "llm_calls",
    "host": "h",
    "pid": 1,
    "boot_id": "b",
    "state": "alive",
    "started_at": datetime(2026, 5, 1, tzinfo=UTC),
    "beat": 5,
    "beat_at": datetime(2026, 5, 1, tzinfo=UTC),
    "clock_ahead_seconds": 0.0,
    "heartbeat_seconds": 10.0,
    "lease_seconds": 60.0,
    "recorded": 42,
    "acked_through": 40,
    "backlog_bytes": 10,
    "backlog_age_seconds": 1.0,
    "not_journaled": 1,
    "ended_twice": 1,
    "superseded": 1,
    "of_no_call": 1,
    "closed_for_the_dead": 1,
    "retried": 1,
    "rejected": [
        {
            "what": "record",
            "reason": "code 121",
            "count": 2,
            "first_seq": 3,
            "last_seq": 5,
            "first_at": datetime(2026, 5, 1, tzinfo=UTC),
            "last_at": datetime(2026, 5, 1, tzinfo=UTC),
            "call_ids": ["a", "b"],
        }
    ],
    "dropped": [],
    "done_without": [{"what": "index", "why": "no", "instead": "slow"}],
    "recovery": {"last_read_seq": 5, "missing": 1, "damaged": ["00000001.bson"], "unreadable": []},
}
REFUSED: Call = {
    "_id": "p-1-x",
    "call_id": OPENAI["_id"],
    "process_nonce": "p",
    "collection": "llm_calls",
    "reason": "code 121",
    "detail": "no",
    "rejected_at": datetime(2026, 5, 1, tzinfo=UTC),
    "media": [SHA],
    "record": numbered(1),
}
MEDIUM: Call = {"_id": SHA, "length": 5, "chunkSize": 255, "uploadDate": DEAD["started_at"]}
CHUNK: Call = {"files_id": SHA, "n": 0, "data": b"Hello"}
