"""A call as an example that OpenAI's fine-tuning takes: a chat whose last message is the answer."""

import json
from typing import Any

from llm_audit.display.hidden import escaped
from llm_audit.exports.openai_messages import NO_CHAT, NoExampleError, OpenAIChat, openai_tools
from llm_audit.providers.blocks import ASSISTANT, SYSTEM, TOOL
from llm_audit.queries.steps import Document

IN_GRIDFS = "are partly in GridFS"
NO_JSON = "hold what JSON does not know"
NO_PAIR = "have a tool's call without its result, or the other way round"

_USED = ("messages", "input", "tools", "system_prompt", "response_message")
_SAID = ("content", "tool_calls", "function_call")


def fine_tuning_example(call: Document) -> str:
    """Return the example.

    Args:
        call: A successful one, of whatever type and provider.

    Raises:
        NoExampleError: It is no chat, or cannot be told as one of OpenAI's API.
    """
    from llm_audit.encoding.moved import holds_reference, media_before

    if any(holds_reference(call.get(name), media_before(call)) for name in _USED):
        raise NoExampleError(IN_GRIDFS)
    asked = call.get("messages") or call.get("input")
    if not asked or not call.get("response_message"):
        raise NoExampleError(NO_CHAT)
    chat = OpenAIChat()
    try:
        chat.add(call.get("system_prompt") or [], role=SYSTEM)
        chat.add(asked)
        before = len(chat.messages)
        chat.add(call["response_message"], role=ASSISTANT)
        _check(chat.messages, before)
        example = {"messages": chat.messages, **openai_tools(call.get("tools"))}
        return escaped(json.dumps(example, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError):  # dates, bytes, UUIDs, NaN: never were in JSON
        raise NoExampleError(NO_JSON) from None


def _check(messages: list[dict[str, Any]], before: int) -> None:
    """Look that there is one answer, to something, and that calls of tools have their results."""
    answer = messages[before:]
    is_answered = len(answer) == 1 and answer[0]["role"] == ASSISTANT
    if not before or not is_answered or not any(answer[0].get(name) for name in _SAID):
        raise NoExampleError(NO_CHAT)
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == TOOL:
            if message.get("tool_call_id") not in waiting:
                raise NoExampleError(NO_PAIR)
            waiting.discard(message["tool_call_id"])
        elif waiting:
            raise NoExampleError(NO_PAIR)
        else:
            waiting = {asked["id"] for asked in message.get("tool_calls") or ()}
