"""The short path that usual calls take records what the careful one does, field by field."""

import uuid
from enum import StrEnum
from pathlib import Path
from typing import Any

import bson
import pytest

from llm_audit import LLMCallTypeEnum, LLMLogger, audit_context
from llm_audit.journal.records import OWN, START
from llm_audit.journal.segments.found import find_segments
from llm_audit.recorder import journaling
from llm_audit.settings import get_settings
from llm_audit.testing import RecordedCalls

USER = uuid.UUID("0190f7a2-0000-7000-8000-000000000002")
MESSAGES = [{"role": "user", "content": "What do customers say? é"}]
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
CALLS = [{"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
ANSWER = {"role": "assistant", "content": None, "tool_calls": CALLS}
USAGE = {"prompt_tokens": 812, "completion_tokens": 73, "total_tokens": 885}
OF_THE_MOMENT = {"trace_id", "latency_ms", "completed_at", "outcome_key"}


class Name(StrEnum):
    """Names as a user's own enums give them."""

    PROVIDER = "openai"
    MODEL = "gpt-4o"
    TAG = "rag"
    STOP = "stop"


USUAL: tuple[dict[str, Any], dict[str, Any]] = (
    {
        "call_type": "CHAT",
        "provider": "openai",
        "model": "gpt-4o",
        "messages": MESSAGES,
        "tools": TOOLS,
        "system_prompt": "Be brief.",
        "user_id": str(USER),
        "tags": ["rag", "bench"],
        "metadata": {"plan": "paid"},
        "temperature": 0.5,
        "max_tokens": 500,
        "seed": 42,
    },
    {"response_message": ANSWER, "tokens": USAGE, "finish_reason": "stop"},
)
# the same, said in ways that take care
UNUSUAL: tuple[dict[str, Any], dict[str, Any]] = (
    USUAL[0]
    | {
        "call_type": LLMCallTypeEnum.CHAT,
        "provider": Name.PROVIDER,
        "model": Name.MODEL,
        "messages": tuple(MESSAGES),
        "tools": tuple(TOOLS),
        "user_id": USER,
        "tags": (Name.TAG, "bench", "rag"),
        "max_tokens": 500.0,
        "company_id": "",
    },
    {
        "response": {"choices": [{"message": ANSWER, "finish_reason": "stop"}], "usage": USAGE},
    },
)


def pair(given: tuple[dict[str, Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """Record one call and return the two records of its journal, without what changes each time."""
    call_id = LLMLogger.start(**given[0])
    LLMLogger.complete(call_id, **given[1])
    found = [
        record
        for folder in Path(get_settings().spool_dir).glob("*/*-*")
        for segment in find_segments(folder)
        for record in segment.read_on(2**20)
        if record.id == call_id
    ]
    assert [record.op for record in found] == [START, OWN]
    assert [list(record.notes) + list(record.blobs) for record in found] == [[], []]
    fields = [bson.decode(record.doc) for record in found]
    assert fields[1]["outcome_key"] == found[1].key
    return [
        {name: value for name, value in half.items() if name not in OF_THE_MOMENT}
        for half in fields
    ]


@pytest.mark.usefixtures("llm_audit_records")
def test_both_paths_record_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is said and whichever way it is encoded, a call is stored alike."""
    with audit_context(session_id="s", tags=["outer"], metadata={"plan": "free", "x": 1}):
        short = pair(USUAL)
        said_otherwise = pair(UNUSUAL)
        del said_otherwise[1]["api"], said_otherwise[1]["response_extra"]  # a response was given
        monkeypatch.setattr(journaling, "encode_plain", lambda *_: None)
        encoded_otherwise = pair(USUAL)

    for half, name in enumerate(("start", "outcome")):
        for other in (said_otherwise, encoded_otherwise):
            assert other[half].keys() == short[half].keys(), name
            for field, value in short[half].items():
                assert other[half][field] == value, (name, field)
                assert type(other[half][field]) is type(value), (name, field)


def test_the_short_path_records_everything(llm_audit_records: RecordedCalls) -> None:
    """Nothing that was given is missing, and what is known of a call is added."""
    LLMLogger.complete(LLMLogger.start(**USUAL[0]), **USUAL[1])
    (call,) = llm_audit_records

    assert (call.call_type, call.provider, call.model) == ("CHAT", "openai", "gpt-4o")
    assert (call.messages, call.tools, call.response_message) == (MESSAGES, TOOLS, ANSWER)
    assert (call.request_params, call.tags) == ({"seed": 42}, ["rag", "bench"])
    assert (call.tools_called, call.finish_reason) == (["search"], "stop")
    assert (call.prompt_tokens, call.total_tokens) == (812, 885)
    assert call.estimated_cost
    assert (call.trace_id, call.status) == (call.id, "SUCCESS")
    assert call.completed_at is not None
    assert call.created_at is not None
    assert call.completed_at >= call.created_at
