"""What was said, read alike from every provider's shape.

Messages are stored as the API spoke them. Here they become parts, named as OpenTelemetry's GenAI
conventions name them: text, reasoning, tool_call, tool_call_response, and whatever else a provider
has (images, files ...) under its own type. Reading never fails: what is not understood is a part
of its own, untouched, so nothing is left out.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field

TEXT, REASONING, CALL, RESPONSE = "text", "reasoning", "tool_call", "tool_call_response"
OTHER = "other"
SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"

_KNOWN = frozenset({TEXT, REASONING, CALL, RESPONSE})
_NOT_COMPARED = frozenset({REASONING, "cachePoint"})
_ROLES = {
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(("user", "human"), USER),
    **dict.fromkeys(("assistant", "model", "ai", "chatbot"), ASSISTANT),
    **dict.fromkeys(("tool", "function"), TOOL),
}
_TEXT_NAMES = ("text", "refusal", "message", "completion", "generation", "outputText")
_TEXT_TYPES = frozenset(
    {"text", "input_text", "output_text", "summary_text", "reasoning_text", "refusal"}
)
_CONTENT_NAMES = ("content", "parts", "output", *_TEXT_NAMES)
_ABOUT_A_MESSAGE = frozenset({"role", "type", "id", "status"})
_REASONING_TYPES = frozenset({"thinking", "redacted_thinking", "reasoning"})
_CALL_WRAPPERS = (
    *("toolUse", "functionCall", "function_call", "function", "custom", "toolCall", "tool_call"),
    *("executableCode", "executable_code"),
)
_RESPONSE_WRAPPERS = (
    *("toolResult", "functionResponse", "function_response", "toolResponse", "tool_response"),
    *("codeExecutionResult", "code_execution_result"),
)
_CODE = "code_execution"  # Gemini's tool, which has no name in its calls and results
_ID_NAMES = ("call_id", "toolUseId", "tool_use_id", "tool_call_id", "id")
_TYPE_NAMES = ("type", "toolType", "tool_type")
_TOOL_NAMES = ("name", "tool_name")
_ABOUT_A_TOOL = frozenset({*_ID_NAMES, *_TYPE_NAMES, *_TOOL_NAMES, "role", "status", "index"})
_ARGUMENTS_NAMES = ("arguments", "input", "args", "parameters", "action")
_OWN_RESULT_NAMES = ("output", "outputs", "results", "result", "error")
_RESULT_NAMES = ("content", "output", "response", "result", "outputs", "outcome")
_FAILURE_MARKS = {"is_error": True, "isError": True, "status": "error"}
_DEEPEST = (
    100  # about what MongoDB bears; in a text a model may write anything, and readers recurse
)


class Part(BaseModel):
    """One thing that was said, in a message of one role."""

    role: str = Field(description="system, user, assistant or tool, whatever the provider says")
    type: str = Field(description="text, reasoning, tool_call, tool_call_response or another")
    content: Any = Field(None, description="the text, or what is of another type, as it was")
    id: str | None = Field(None, description="joins a tool's response to its call")
    name: str | None = Field(None, description="the tool's")
    arguments: Any = Field(
        None, description="a tool call's: an object or list also where sent as JSON, else as sent"
    )
    response: Any = Field(
        None, description="a tool's: an object or list also where sent as JSON, else as sent"
    )
    is_error: bool = Field(default=False, description="whether a response says the tool failed")

    def key(self) -> str:
        """Return what parts have in common that say the same; empty for what is not compared.

        Reasoning is left out of later requests or not, cache marks move, ids may be made anew.
        """
        if self.type in _NOT_COMPARED or (self.type == TEXT and not self.content.strip()):
            return ""
        said = self.content.strip() if self.type == TEXT else self.content
        compared = [self.role, self.type, said, self.name if self.type == CALL else None]
        return json.dumps([*compared, self.arguments, self.response], default=str, sort_keys=True)


def read_request(call: Mapping[str, Any]) -> list[Part]:
    """Return everything that a call's request says, in order.

    Args:
        call: A document as read from MongoDB.
    """
    instructions = read_messages(call.get("system_prompt"), role=SYSTEM)
    return [
        # Gemini's may be spelled as a message of the user
        *(part.model_copy(update={"role": SYSTEM}) for part in instructions),
        *read_messages(call.get("messages")),
        *read_messages(call.get("input")),
    ]


def read_answers(call: Mapping[str, Any]) -> list[list[Part]]:
    """Return what a call's response says, then what each of its other choices does.

    Args:
        call: A document as read from MongoDB.
    """
    answers = [read_messages(call.get("response_message"), role=ASSISTANT)]
    for choice in _items(call.get("other_choices")):
        message = _first(choice, ("message", "content")) if isinstance(choice, Mapping) else None
        answers.append(read_messages(message or choice, role=ASSISTANT))
    return answers


def read_messages(messages: object, *, role: str = USER) -> list[Part]:
    """Return everything that messages say, in order.

    Args:
        messages: A list of messages, one message, or a text, in any provider's shape.
        role: Of what does not name its own.
    """
    return [part for message in _items(messages) for part in _joined(_message(message, role))]


def _message(message: object, role: str) -> Iterator[Part]:
    """Read a message, or an item that stands for one."""
    if not isinstance(message, Mapping) or ("role" not in message and _is_block(message)):
        yield from _content(message, role)
        return
    if isinstance(named := message.get("role"), str):
        role = _ROLES.get(named.lower(), named)
    if role == TOOL and not _holds_responses(message):
        yield _response(message)
        return
    parts = list(_message_parts(message, role))
    rest = _rest(message, (*_ABOUT_A_MESSAGE, *_CONTENT_NAMES))
    yield from parts or ([Part(role=role, type=OTHER, content=rest)] if rest else [])


def _message_parts(message: Mapping[str, Any], role: str) -> Iterator[Part]:
    thoughts = (message.get(name) for name in ("reasoning_content", "reasoning"))
    if thought := next((text for text in thoughts if text and isinstance(text, str)), None):
        yield Part(role=ASSISTANT, type=REASONING, content=thought)
    for name in _CONTENT_NAMES:
        yield from _content(message.get(name), role)
    for call in _items(message.get("tool_calls")):
        yield from _call(call)
    if _means_something(legacy := message.get("function_call")):
        yield from _call(legacy)
    for call in _items(message.get("executed_tools")):
        yield from _call(call)
    if _means_something(audio := message.get("audio")):
        yield Part(role=role, type="audio", content=audio)


def _content(content: object, role: str) -> Iterator[Part]:
    if isinstance(content, Mapping):
        yield from _block(content, role)
        return
    for item in _items(content):
        if isinstance(item, Mapping | list | tuple) and item is not content:
            yield from _content(item, role)
        elif isinstance(item, str):
            if item:
                yield Part(role=role, type=TEXT, content=item)
        elif item is not None:
            yield Part(role=role, type=OTHER, content=item)


def _block(block: Mapping[str, Any], role: str) -> Iterator[Part]:
    """Read one block of a message's content."""
    kind = _kind(block)
    if (result := _wrapped(block, _RESPONSE_WRAPPERS)) is not None:
        yield _response(result)
    elif kind.endswith(("tool_result", "_output")) and _first(block, _ID_NAMES):
        yield _response(block)
    elif _wrapped(block, _CALL_WRAPPERS) is not None or kind.endswith(("tool_use", "_call")):
        yield from _call(block)
    elif kind in _REASONING_TYPES or block.get("thought") is True or "reasoningContent" in block:
        yield Part(role=ASSISTANT, type=REASONING, content=_reasoning(block))
    elif kind == "message" or "role" in block or isinstance(block.get("parts"), list):
        yield from _message({"role": role, **block}, role)
    elif (not kind or kind in _TEXT_TYPES) and isinstance(text := _first(block, _TEXT_NAMES), str):
        if text:
            yield Part(role=role, type=TEXT, content=text)
    elif block:
        kind = kind or str(next(iter(block)))
        unclear = kind in _KNOWN or "gridfs_id" in block
        yield Part(role=role, type=OTHER if unclear else kind, content=block)


def _call(call: object) -> Iterator[Part]:
    """Read a tool call, with its result where the provider ran the tool itself."""
    if not isinstance(call, Mapping):
        yield Part(role=ASSISTANT, type=CALL, arguments=call)
        return
    wrapped = _wrapped(call, _CALL_WRAPPERS)
    inner = call if wrapped is None else wrapped
    identifier = _text(_first(call, _ID_NAMES) or _first(inner, _ID_NAMES))
    kind = _first(inner, _TYPE_NAMES) or _first(call, _TYPE_NAMES)
    name = _text(inner.get("name") or kind or (_CODE if "code" in inner else None))
    arguments = _parsed(_first(inner, _ARGUMENTS_NAMES))
    if arguments is None:  # a provider's own tool, or Gemini's code
        arguments = _rest(inner, (*_ABOUT_A_TOOL, *_OWN_RESULT_NAMES))
    yield Part(role=ASSISTANT, type=CALL, id=identifier, name=name, arguments=arguments)
    if wrapped is None and (result := _first(call, _OWN_RESULT_NAMES)) is not None:
        yield Part(
            role=TOOL,
            type=RESPONSE,
            id=identifier,
            name=name,
            response=_result(result),
            is_error=bool(call.get("error")),
        )


def _response(result: Mapping[str, Any]) -> Part:
    content = _first(result, _RESULT_NAMES)
    return Part(
        role=TOOL,
        type=RESPONSE,
        id=_text(_first(result, _ID_NAMES)),
        name=_text(_first(result, _TOOL_NAMES) or (_CODE if "outcome" in result else None)),
        response=_result(content if content is not None else _rest(result, _ABOUT_A_TOOL)),
        is_error=any(result.get(name) == mark for name, mark in _FAILURE_MARKS.items()),
    )


def _result(content: object) -> Any:
    """Return what a tool gave back: texts as one, JSON as what it means."""
    blocks = content if isinstance(content, list | tuple) else []
    if blocks and all(isinstance(block, Mapping) and "json" in block for block in blocks):
        return [block["json"] for block in blocks] if len(blocks) > 1 else blocks[0]["json"]
    parts = [part for block in blocks for part in _content(block, TOOL)]
    if parts and all(part.type == TEXT for part in parts):
        content = "\n".join(part.content for part in parts)
    return _parsed(content)


def _reasoning(block: Mapping[str, Any]) -> str:
    """Return what a model thought; empty if the provider does not tell."""
    bedrock = block.get("reasoningContent")
    told = bedrock.get("reasoningText") if isinstance(bedrock, Mapping) else block
    names = ("thinking", "text", "reasoning", "summary", "content")
    values = [told.get(name) for name in names] if isinstance(told, Mapping) else [told]
    texts = (part.content for value in values for part in _content(value, ASSISTANT))
    return "\n".join(text for text in texts if isinstance(text, str))


def _is_block(item: Mapping[str, Any]) -> bool:
    """Tell whether an item without a role is a block, not a message that holds blocks."""
    if _kind(item) not in {"", "message"} or item.get("thought") is True:
        return True
    wrappers = (*_CALL_WRAPPERS, *_RESPONSE_WRAPPERS)
    return _wrapped(item, wrappers) is not None and item.keys().isdisjoint(_CONTENT_NAMES)


def _holds_responses(message: Mapping[str, Any]) -> bool:
    """Tell whether a tool's message wraps its results in blocks, one for each call."""
    if isinstance(message.get("parts"), list):
        return True
    blocks = message.get("content")
    parts = _content(blocks, TOOL) if isinstance(blocks, list | tuple) else ()
    return any(part.type == RESPONSE for part in parts)


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Return the parts of a message with neighbouring texts made one, as some APIs split them."""
    joined: list[Part] = []
    for part in parts:
        if part.type == TEXT and joined and joined[-1].type == TEXT:
            text = joined[-1].content + part.content
            joined[-1] = joined[-1].model_copy(update={"content": text})
        else:
            joined.append(part)
    return joined


def _parsed(value: object) -> Any:
    """Return the object or list that a JSON text means; "1.10" stays as it was sent."""
    if not isinstance(value, str):
        return value
    try:
        meant = json.loads(value)
    except (ValueError, RecursionError):
        return value
    readable = isinstance(meant, dict | list) and not _is_deeper(meant, _DEEPEST)
    return meant if readable else value


def _is_deeper(value: object, levels: int) -> bool:
    """Tell whether lists and objects are in each other deeper than so."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def _items(value: object) -> list[Any]:
    """Return what a list holds; anything else, such as a list of numbers, is one item."""
    if not isinstance(value, list | tuple):
        return [] if value is None else [value]
    holds_more = any(isinstance(item, str | Mapping | list | tuple) for item in value)
    return list(value) if holds_more or not value else [value]


def _wrapped(block: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any] | None:
    return next((block[name] for name in names if isinstance(block.get(name), Mapping)), None)


def _means_something(value: object) -> bool:
    """Tell a value from one that is spelled out but empty, as Snowflake sends them."""
    return any(value.values()) if isinstance(value, Mapping) else bool(value)


def _rest(fields: Mapping[str, Any], known: Collection[str]) -> dict[str, Any] | None:
    """Return what else there is; None if that is nothing."""
    return {name: value for name, value in fields.items() if value and name not in known} or None


def _kind(block: Mapping[str, Any]) -> str:
    return _text(block.get("type")) or ""


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
