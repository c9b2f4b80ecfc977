"""`export --format openai`: only what OpenAI's fine-tuning takes."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary
from waiting import Calls

from llm_audit.encoding.moved import reference_to

Shell = Callable[..., Any]

FUNCTION = {"name": "f", "parameters": {"type": "object"}}
CHAT: dict[str, Any] = {
    "status": "SUCCESS",
    "call_type": "CHAT",
    "messages": [{"role": "user", "content": "Hello"}],
    "response_message": {"role": "assistant", "content": "Hi"},
}

MOVED = reference_to("0" * 64, 5, "str", "begin")


def asking_for(arguments: object) -> dict[str, Any]:
    asked = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    return {"response_message": {"role": "assistant", "content": None, "tool_calls": asked}}


def test_what_only_looks_as_if_it_were_in_gridfs_is_in_the_file(shell: Shell, calls: Calls) -> None:
    """A model cannot keep a call out of it by what it asks for."""
    look_alike = json.dumps({"gridfs_id": "0" * 64, "length": 5, "kind": "str"})
    asked = asking_for(look_alike)["response_message"]
    result = {"role": "tool", "tool_call_id": "1", "content": look_alike}
    messages = [*CHAT["messages"], asked, result]
    calls.insert_one({"_id": "1", **CHAT, "messages": messages, "media": ["0" * 64]})

    (line,) = shell("export", "--format", "openai").lines
    assert json.loads(line)["messages"][2]["content"] == look_alike


@pytest.mark.parametrize(
    "call",
    [
        asking_for({"at": datetime(2026, 1, 1, tzinfo=UTC)}),
        asking_for({"bytes": b"1"}),
        asking_for({"id": Binary.from_uuid(uuid.UUID(int=1))}),
        asking_for({"number": float("nan")}),
        {"messages": [{"role": "user", "content": MOVED}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": MOVED}}],
                }
            ]
        },
        {"tools": [{"type": "web_search"}]},
    ],
    ids=["date", "bytes", "uuid", "nan", "media", "image", "search"],
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


def test_failed_calls_cannot_be_asked_for(shell: Shell, calls: Calls) -> None:
    """Only successful calls make examples; a filter that says so is none too many."""
    calls.insert_one({"_id": "1", **CHAT})

    ended = shell("export", "--format", "openai", "--status", "ERROR")
    said = shell("export", "--format", "openai", "--status", "success")

    assert (ended.code, ended.output) == (2, "")
    assert "takes successful calls only: leave out --status." in ended.errors
    assert (len(said.lines), said.errors) == (1, "")


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
ANTHROPIC: dict[str, Any] = {
    "system_prompt": [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    ],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}],
        },
    ],
    "response_message": {"role": "assistant", "content": [{"type": "text", "text": "Sunny."}]},
    "tools": [{"name": "weather", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}],
}
GEMINI: dict[str, Any] = {
    "system_prompt": {"role": "user", "parts": [{"text": "Be brief."}]},
    "messages": [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"text": "Let me look."},
                {"functionCall": {"name": "weather", "args": {"city": "Bern"}}},
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "weather", "response": {"result": "sunny"}}}],
        },
    ],
    "response_message": {"role": "model", "parts": [{"text": "Sunny."}]},
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "weather",
                    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
                }
            ]
        }
    ],
}
RESPONSES: dict[str, Any] = {
    "system_prompt": "Be brief.",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Weather?"}],
        },
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me look."}],
        },
        {
            "type": "function_call",
            "call_id": "t1",
            "name": "weather",
            "arguments": '{"city": "Bern"}',
        },
        {"type": "function_call_output", "call_id": "t1", "output": "sunny"},
    ],
    "response_message": {
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Sunny."}],
    },
    "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}],
}
BEDROCK: dict[str, Any] = {
    "system_prompt": [{"text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [{"text": "Weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"text": "Let me look."},
                {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Bern"}}},
            ],
        },
        {
            "role": "user",
            "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}]}}],
        },
    ],
    "response_message": {"role": "assistant", "content": [{"text": "Sunny."}]},
    "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}],
}
SHAPES = {"anthropic": ANTHROPIC, "gemini": GEMINI, "responses": RESPONSES, "bedrock": BEDROCK}


def test_a_chat_is_the_same_example_from_every_api(shell: Shell, calls: Calls) -> None:
    """What was said, asked of tools and given back is told as OpenAI's chat API would."""
    for name, chat in SHAPES.items():
        calls.replace_one({"_id": "1"}, {"status": "SUCCESS", **chat}, upsert=True)

        ended = shell("export", "--format", "openai")

        [example] = map(json.loads, ended.lines)
        asked = example["messages"][2]["tool_calls"]
        assert [json.loads(call["function"].pop("arguments")) for call in asked] == [
            {"city": "Bern"}
        ]
        call_id = asked[0]["id"]
        for message in example["messages"]:
            if isinstance(message["content"], list):
                [message["content"]] = [block["text"] for block in message["content"]]
        assert example["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [
                    {"id": call_id, "type": "function", "function": {"name": "weather"}}
                ],
            },
            {
                "role": "tool",
                "tool_call_id": call_id,
                "content": '{"result": "sunny"}' if name == "gemini" else "sunny",
            },
            {"role": "assistant", "content": "Sunny."},
        ], name
        [tool] = example["tools"]
        assert tool["function"].pop("strict", True) is True
        assert tool == {
            "type": "function",
            "function": {"name": "weather", "parameters": SCHEMA},
        }, name


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        {"type": "document", "source": {"type": "text", "data": "x"}},
        {"type": "tool_result", "tool_use_id": "t1", "content": "broken", "is_error": True},
    ],
    ids=lambda block: block["type"],
)
def test_what_openai_has_no_form_for_is_no_example(
    block: dict[str, Any], shell: Shell, calls: Calls
) -> None:
    """Nothing is left out of a chat: the whole of it is, and counted."""
    said = [*ANTHROPIC["messages"][:2], {"role": "user", "content": [block]}]
    calls.insert_one({"_id": "1", "status": "SUCCESS", **ANTHROPIC, "messages": said})

    ended = shell("export", "--format", "openai")

    assert (ended.code, ended.output) == (0, "")
    assert "1 of 1 calls are left out: 1 hold what OpenAI's chats have no form for" in ended.errors


def test_odd_tools_are_told_as_openai_has_them_or_left_out(shell: Shell, calls: Calls) -> None:
    """Arguments that are an object become text; calls without ids have no results to tell apart."""
    asked = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    answered = {"role": "tool", "content": "x"}
    asks = {"role": "assistant", "content": None, "tool_calls": [asked]}
    groq = {**CHAT["response_message"], "executed_tools": [{"name": "search", "arguments": "{}"}]}
    calls.insert_many(
        [
            {"_id": "1", **CHAT, "response_message": asks},
            {"_id": "2", **CHAT, "messages": [*CHAT["messages"], asks, answered]},
            {"_id": "3", **CHAT, "response_message": groq},
            {
                "_id": "4",
                **CHAT,
                "messages": [*CHAT["messages"], asks, {"role": "user", "content": "?"}],
            },
        ]
    )

    ended = shell("export", "--format", "openai")

    [example] = map(json.loads, ended.lines)
    [call] = example["messages"][-1]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert "3 of 4 calls are left out" in ended.errors
