"""A call as an example that OpenAI's fine-tuning takes: a chat whose last message is the answer."""

import json
from collections.abc import Mapping
from typing import Any

from llm_audit.cli.connection import Call
from llm_audit.cli.drawing.json_lines import escaped

_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call")
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_CONTENT_TYPES = frozenset({"text", "image_url", "refusal", "input_audio", "file"})
_FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})


def fine_tuning_example(call: Call) -> str | None:
    """Return the example; None if the call is no chat as OpenAI's API has it, or not all here."""
    system = call.get("system_prompt")
    messages: list[Any] = [{"role": "system", "content": system}] if system else []
    messages += [*(call.get("messages") or ()), call.get("response_message")]
    if len(messages) < 2 or not all(map(_is_openai, messages)):  # noqa: PLR2004
        return None
    if messages[-1].get("role") != "assistant":
        return None
    tools = _tools(call.get("tools") or [])
    if tools is None:
        return None
    kept = [
        {name: message[name] for name in _MESSAGE_FIELDS if message.get(name) is not None}
        for message in messages
    ]
    example = {"messages": kept, **tools}
    if _is_partly_in_gridfs(example):
        return None
    try:
        return escaped(json.dumps(example, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError):  # dates, bytes, UUIDs, NaN: never were in JSON
        return None


def _is_openai(message: Any) -> bool:
    if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(b, Mapping) and b.get("type") in _CONTENT_TYPES for b in content)
    asks = message.get("tool_calls") or message.get("function_call")
    return isinstance(content, str) or (content is None and bool(asks))


def _tools(tools: Any) -> dict[str, Any] | None:
    """Return the tools of a request under their name in the API; None for those of another API."""
    if not tools:
        return {}
    if not isinstance(tools, list):
        return None
    if all(map(_is_tool, tools)):
        return {"tools": tools}
    return {"functions": tools} if all(map(_is_function, tools)) else None


def _is_tool(tool: Any) -> bool:
    return (
        isinstance(tool, Mapping)
        and tool.get("type") == "function"
        and isinstance(tool.get("function"), Mapping)
        and isinstance(tool["function"].get("name"), str)
    )


def _is_function(tool: Any) -> bool:
    return (
        isinstance(tool, Mapping)
        and isinstance(tool.get("name"), str)
        and isinstance(tool.get("parameters"), Mapping)
        and tool.keys() <= _FUNCTION_FIELDS
    )


def _is_partly_in_gridfs(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "gridfs_id" in value or any(map(_is_partly_in_gridfs, value.values()))
    return isinstance(value, list) and any(map(_is_partly_in_gridfs, value))
