"""What was said, read alike from every provider's shape.

Messages are stored as the API spoke them. Here they become parts, named as OpenTelemetry's GenAI
conventions name them: text, reasoning, tool_call, tool_call_response, and whatever else a provider
has (images, files ...) under its own type. Reading never fails: what is not understood is a part
of its own, untouched.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, Field

TEXT, REASONING, CALL, RESPONSE = "text", "reasoning", "tool_call", "tool_call_response"
_KNOWN = frozenset({TEXT, REASONING, CALL, RESPONSE})
_NOT_COMPARED = frozenset({REASONING, "cachePoint"})
SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"

_ROLES = {
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(("user", "human"), USER),
    **dict.fromkeys(("assistant", "model", "ai", "chatbot"), ASSISTANT),
    **dict.fromkeys(("tool", "function"), TOOL),
}
_CONTENT_NAMES = ("content", "parts", "message", "text", "completion", "outputText", "refusal")
_TEXT_TYPES = frozenset({"text", "input_text", "output_text", "summary_text", "refusal"})
_REASONING_TYPES = frozenset({"thinking", "redacted_thinking", "reasoning"})
_CALL_WRAPPERS = ("toolUse", "functionCall", "function_call", "function", "custom")
_RESPONSE_WRAPPERS = ("toolResult", "functionResponse", "function_response")
_ID_NAMES = ("call_id", "toolUseId", "tool_use_id", "tool_call_id", "id")
_ARGUMENTS_NAMES = ("arguments", "input", "args", "parameters", "action")


class Part(BaseModel):
    """One thing that was said, in a message of one role."""

    role: str = Field(description="system, user, assistant or tool, whatever the provider says")
    type: str = Field(description="text, reasoning, tool_call, tool_call_response or another")
    content: Any = Field(None, description="the text, or what is of another type, as it was")
    id: str | None = Field(None, description="joins a tool's response to its call")
    name: str | None = Field(None, description="the tool's")
    arguments: Any = Field(None, description="a tool call's: parsed if they are JSON, else as sent")
    response: Any = Field(None, description="a tool's: parsed if it is JSON, else as sent")

    def key(self) -> str:
        """Return what parts have in common that say the same; empty for what is not compared.

        Reasoning is left out of later requests or not, cache marks move, ids may be made anew.
        """
        if self.type in _NOT_COMPARED or (self.type == TEXT and not self.content.strip()):
            return ""
        said = self.content.strip() if self.type == TEXT else self.content
        compared = [self.role, self.type, said, self.name if self.type == CALL else None]
        return json.dumps([*compared, self.arguments, self.response], default=str, sort_keys=True)


def read_messages(messages: object, *, role: str = USER) -> list[Part]:
    """Return everything that messages say, in order.

    Args:
        messages: A list of messages, one message, or a text, in any provider's shape.
        role: Of what does not name its own.
    """
    listed = messages if isinstance(messages, list | tuple) else [messages]
    return [part for message in listed if message is not None for part in _read(message, role)]


def parsed(text: object) -> Any:
    """Return what a JSON text means; anything else as it is."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read(message: object, role: str) -> list[Part]:
    if not isinstance(message, Mapping):
        return [_said(message, role)]
    named = message.get("role")
    if isinstance(named, str):
        role = _ROLES.get(named.lower(), named)
    if named is not None and isinstance(message.get("output"), list):  # OpenAI Responses
        return read_messages(message["output"], role=role)
    content = next((message[name] for name in _CONTENT_NAMES if message.get(name)), None)
    if role == TOOL and not isinstance(message.get("parts"), list) and not _has_results(content):
        return [_tool_response(message, content)]
    if named is None and _stands_alone(part := _block(message, role), message):
        return [part]
    blocks = content if isinstance(content, list | tuple) else [content]
    parts = [_block(block, role) for block in blocks if block is not None]
    calls = [call for call in _listed(message.get("tool_calls")) if isinstance(call, Mapping)]
    if isinstance(legacy := message.get("function_call"), Mapping):
        calls.append(legacy)
    return [*_joined(parts), *(_tool_call(call) for call in calls)]


def _block(block: object, role: str) -> Part:
    """Read one block of a message's content, or an item that stands for a message."""
    if not isinstance(block, Mapping):
        return _said(block, role)
    kind = _text(block.get("type")) or ""
    wrapper = next((n for n in _RESPONSE_WRAPPERS if isinstance(block.get(n), Mapping)), None)
    if wrapper or kind.endswith(("tool_result", "_call_output")):
        return _tool_response(block[wrapper] if wrapper else block)
    wrapper = next((n for n in _CALL_WRAPPERS if isinstance(block.get(n), Mapping)), None)
    if wrapper or kind.endswith(("tool_use", "_call")):
        return _tool_call(block)
    if kind in _REASONING_TYPES or block.get("thought") is True or "reasoningContent" in block:
        return Part(role=role, type=REASONING, content=_reasoning(block))
    if kind in _TEXT_TYPES or (not kind and isinstance(block.get("text"), str)):
        return _said(block.get("text") or block.get("refusal") or "", role)
    kind = kind or str(next(iter(block), "other"))
    return Part(role=role, type="other" if kind in _KNOWN else kind, content=block)


def _said(value: object, role: str) -> Part:
    if isinstance(value, str):
        return Part(role=role, type=TEXT, content=value)
    return Part(role=role, type="other", content=value)


def _tool_call(call: Mapping[str, Any]) -> Part:
    wrapped = next((call[n] for n in _CALL_WRAPPERS if isinstance(call.get(n), Mapping)), call)
    arguments = next((wrapped[name] for name in _ARGUMENTS_NAMES if name in wrapped), None)
    return Part(
        role=ASSISTANT,
        type=CALL,
        id=_text(_first(call, _ID_NAMES) or _first(wrapped, _ID_NAMES)),
        name=_text(wrapped.get("name") or call.get("type")),
        arguments=parsed(arguments),
    )


def _tool_response(result: Mapping[str, Any], content: object = None) -> Part:
    if content is None:
        content = _first(result, ("content", "output", "response"))
    blocks = _listed(content)
    if blocks and all(isinstance(block, Mapping) and "json" in block for block in blocks):
        content = [block["json"] for block in blocks] if len(blocks) > 1 else blocks[0]["json"]
    elif blocks and all(_block(block, TOOL).type == TEXT for block in blocks):
        content = "".join(_block(block, TOOL).content for block in blocks)
    return Part(
        role=TOOL,
        type=RESPONSE,
        id=_text(_first(result, _ID_NAMES)),
        name=_text(result.get("name")),
        response=parsed(content),
    )


def _stands_alone(part: Part, item: Mapping[str, Any]) -> bool:
    """Tell whether an item without a role is a block, not a message that holds blocks."""
    return part.type in _KNOWN or item.get("type", "message") != "message"


def _has_results(content: object) -> bool:
    """Tell whether a tool's message wraps its results in blocks, one for each call."""
    return any(_block(block, TOOL).type == RESPONSE for block in _listed(content))


def _reasoning(block: Mapping[str, Any]) -> str:
    bedrock = block.get("reasoningContent")
    if isinstance(bedrock, Mapping) and isinstance(bedrock.get("reasoningText"), Mapping):
        block = bedrock["reasoningText"]
    for name in ("thinking", "text", "reasoning"):
        if isinstance(block.get(name), str):
            return str(block[name])
    summaries = (part.get("text") for part in _listed(block.get("summary")) if part)
    return "\n".join(text for text in summaries if isinstance(text, str))


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Return the parts of a message with neighbouring texts made one, as some APIs split them."""
    joined: list[Part] = []
    for part in parts:
        if part.type == TEXT and joined and joined[-1].type == TEXT:
            joined[-1] = joined[-1].model_copy(
                update={"content": joined[-1].content + part.content}
            )
        else:
            joined.append(part)
    return joined


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
