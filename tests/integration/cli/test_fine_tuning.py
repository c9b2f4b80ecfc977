"""`export --format openai`: only what OpenAI's fine-tuning takes."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary
from waiting import Calls

Shell = Callable[..., Any]

FUNCTION = {"name": "f", "parameters": {"type": "object"}}
CHAT: dict[str, Any] = {
    "status": "SUCCESS",
    "call_type": "CHAT",
    "messages": [{"role": "user", "content": "Hello"}],
    "response_message": {"role": "assistant", "content": "Hi"},
}


def asking_for(arguments: object) -> dict[str, Any]:
    asked = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    return {"response_message": {"role": "assistant", "content": None, "tool_calls": asked}}


@pytest.mark.parametrize(
    "call",
    [
        asking_for({"at": datetime(2026, 1, 1, tzinfo=UTC)}),
        asking_for({"bytes": b"1"}),
        asking_for({"id": Binary.from_uuid(uuid.UUID(int=1))}),
        asking_for({"number": float("nan")}),
        {"messages": [{"role": "user", "content": {"gridfs_id": "0", "length": 1}}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": {"gridfs_id": "0"}}}],
                }
            ]
        },
        {"tools": [{"name": "f", "input_schema": {}}]},
        {"tools": [{"functionDeclarations": [FUNCTION]}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "function", "function": FUNCTION}, FUNCTION]},
    ],
    ids=["date", "bytes", "uuid", "nan", "media", "image", "claude", "gemini", "search", "mixed"],
)
def test_what_openai_could_not_have_had_is_left_out(
    call: dict[str, Any], shell: Shell, calls: Calls
) -> None:
    """It is counted, and the others are in the file."""
    calls.insert_many([{"_id": "1", **CHAT, **call}, {"_id": "2", **CHAT}])

    ended = shell("export", "--format", "openai")

    assert ended.code == 0
    assert [json.loads(line)["messages"][0]["content"] for line in ended.lines] == ["Hello"]
    assert "1 of 2 calls are left out" in ended.errors


@pytest.mark.parametrize(
    ("tools", "name"),
    [([{"type": "function", "function": FUNCTION}], "tools"), ([FUNCTION], "functions")],
    ids=["tools", "functions"],
)
def test_tools_are_under_their_name_in_the_api(
    tools: list[Any], name: str, shell: Shell, calls: Calls
) -> None:
    """Those of today's API and of the older one are told apart by their form."""
    calls.insert_one({"_id": "1", **CHAT, "tools": tools})

    [example] = map(json.loads, shell("export", "--format", "openai").lines)

    assert example.keys() == {"messages", name}
    assert example[name] == tools


@pytest.mark.parametrize("words", [("--status", "ERROR"), ("--type", "EMBEDDING")], ids="-".join)
def test_other_calls_cannot_be_asked_for(words: tuple[str, str], shell: Shell) -> None:
    """Only successful chats make examples, and a filter that means others is a mistake."""
    ended = shell("export", "--format", "openai", *words)

    assert (ended.code, ended.output) == (2, "")
    assert f"takes successful chats only: leave out {words[0]}." in ended.errors


def test_successful_chats_may_be_said_too(shell: Shell, calls: Calls) -> None:
    """A filter that means the same is none too many, in whatever letters."""
    calls.insert_one({"_id": "1", **CHAT})

    ended = shell("export", "--format", "openai", "--status", "success", "--type", "CHAT")

    assert (len(ended.lines), ended.errors) == (1, "")
