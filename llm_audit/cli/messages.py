"""A call's messages, of whatever provider, as turns of parts: what was said, asked of tools, got.

OpenAI's chat completions and Responses, Anthropic, Gemini, Bedrock and those who speak like them.
What is none of these is kept as it is, so nothing is left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

_TEXT_NAMES = ("text", "refusal", "message", "completion", "generation", "outputText")
_CONTENT_NAMES = ("content", "parts", "output", *_TEXT_NAMES)
_TOOL_USES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_CALL_WRAPPERS = (
    *("toolUse", "functionCall", "function_call", "toolCall", "tool_call"),
    *("executableCode", "executable_code"),
)
_RESULT_WRAPPERS = (
    *("toolResult", "functionResponse", "function_response", "toolResponse", "tool_response"),
    *("codeExecutionResult", "code_execution_result"),
)
_TYPES = ("type", "toolType", "tool_type")
_CODE = "code_execution"  # Gemini's tool, which has no name in its calls and results
_CALL_IDS = ("call_id", "id", "toolUseId")
_RESULT_IDS = ("tool_use_id", "tool_call_id", "call_id", "toolUseId", "id")
_ARGUMENTS = ("arguments", "input", "args", "action", "queries", "code")
_RESULTS = ("content", "output", "response", "result", "outputs", "outcome")


@dataclass
class Said:
    """Words, or what a model thought before it said them."""

    text: str
    thinking: bool = False


@dataclass
class ToolResult:
    """What a tool gave back."""

    id: str | None
    name: str | None
    content: Any


@dataclass
class ToolCall:
    """What was asked of a tool, with what it gave back if a later message says so."""

    id: str | None
    name: str | None
    arguments: Any
    results: list[ToolResult] = field(default_factory=list)


@dataclass
class Other:
    """Anything else: an image, a document, a shape that is not known."""

    kind: str
    value: Any


Part = Said | ToolCall | ToolResult | Other


@dataclass
class Turn:
    """One message."""

    role: str
    parts: list[Part]


def read_turns(call: Mapping[str, Any]) -> list[Turn]:
    """Return a call's messages, its answer last, with each tool's result beside what was asked.

    Args:
        call: A document as read from MongoDB.
    """
    turns = [Turn("system", list(_parts(call.get("system_prompt"))))]
    turns += [_turn(message) for message in _listed(call.get("messages"))]
    turns += [_turn(item) for item in _listed(call.get("input"))]
    turns.append(_turn(call.get("response_message"), role="assistant"))
    for number, choice in enumerate(_listed(call.get("other_choices")), start=2):
        message = choice.get("message") or choice.get("content") if _is_dict(choice) else None
        turns.append(Turn(f"assistant, choice {number}", _turn(message or choice).parts))
    _pair(turns)
    return [turn for turn in turns if turn.parts]


def _turn(message: Any, *, role: str = "user") -> Turn:
    if not _is_dict(message):
        return Turn(role, list(_parts(message)))
    kind = str(message.get("type") or "")
    if "role" not in message and kind and kind != "message":
        parts = list(_parts(message))
        got_back = any(isinstance(part, ToolResult) for part in parts)
        return Turn("tool" if got_back else "assistant", parts)
    return Turn(str(message.get("role") or role), list(_message_parts(message)))


def _message_parts(message: Mapping[str, Any]) -> Iterator[Part]:
    if message.get("role") in {"tool", "function"}:
        yield ToolResult(_first(message, _RESULT_IDS), message.get("name"), message.get("content"))
        return
    thoughts = (message.get(name) for name in ("reasoning_content", "reasoning"))
    if thought := next((text for text in thoughts if text and isinstance(text, str)), None):
        yield Said(thought, thinking=True)
    parts = [part for name in _CONTENT_NAMES for part in _parts(message.get(name))]
    parts += map(_tool_call, _listed(message.get("tool_calls")))
    if _means_something(legacy := message.get("function_call")):
        parts.append(_tool_call(legacy))
    parts += map(_tool_call, _listed(message.get("executed_tools")))
    if _means_something(message.get("audio")):
        parts.append(Other("audio", message["audio"]))
    rest = {name: value for name, value in message.items() if name != "role" and value}
    yield from parts or ([Other("", rest)] if rest else [])


def _parts(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Said(content)
    elif isinstance(content, list):
        for block in content:
            yield from _parts(block)
    elif _is_dict(content):
        yield from _block_parts(content)
    elif content is not None:
        yield Other("", content)


def _block_parts(block: Mapping[str, Any]) -> Iterator[Part]:
    kind = str(block.get("type") or "")
    asked = next((block[name] for name in _CALL_WRAPPERS if _is_dict(block.get(name))), None)
    got = next((block[name] for name in _RESULT_WRAPPERS if _is_dict(block.get(name))), None)
    thought = _thought(block)
    if asked is not None:
        yield _tool_call(asked)
    elif got is not None:
        yield _tool_result(got)
    elif thought is not None:
        yield Said(thought, thinking=True)
    elif kind == "message" or isinstance(block.get("parts"), list):
        yield from _message_parts(block)
    elif kind in _TOOL_USES or kind.endswith("_call"):
        yield _tool_call(block)
    elif kind.endswith(("tool_result", "_output")) and _first(block, _RESULT_IDS):
        yield _tool_result(block)
    elif isinstance(text := _first(block, _TEXT_NAMES), str):
        yield Said(text)
    else:
        value = {name: value for name, value in block.items() if name != "type"}
        yield Other("" if "gridfs_id" in block else kind or ", ".join(block), value)


def _thought(block: Mapping[str, Any]) -> str | None:
    """Return what a model thought, if that is what a block holds."""
    if block.get("thought") is True and isinstance(block.get("text"), str):
        return str(block["text"])
    if isinstance(thinking := block.get("thinking"), str):
        return thinking
    if _is_dict(wrapped := block.get("reasoningContent")):
        text = wrapped.get("reasoningText")
        return str(text.get("text")) if _is_dict(text) else None
    if block.get("type") == "reasoning":
        pieces = [*_listed(block.get("summary")), *_listed(block.get("content"))]
        texts = [str(piece["text"]) for piece in pieces if _is_dict(piece) and piece.get("text")]
        return "\n".join(texts) or None
    return None


def _tool_call(asked: Any) -> ToolCall:
    if not _is_dict(asked):
        return ToolCall(None, None, asked)
    inner = next((asked[n] for n in ("function", "custom") if _is_dict(asked.get(n))), asked)
    name = inner.get("name") or _first(asked, _TYPES) or (_CODE if "code" in asked else None)
    return ToolCall(_first(asked, _CALL_IDS), name, _first(inner, _ARGUMENTS))


def _tool_result(got: Mapping[str, Any]) -> ToolResult:
    name = got.get("name") or (_CODE if "outcome" in got else None)
    return ToolResult(_first(got, _RESULT_IDS), name, _first(got, _RESULTS))


def _pair(turns: list[Turn]) -> None:
    """Move each result to the call that asked for it: by its id, without one by the tool's name."""
    waiting: list[ToolCall] = []
    for turn in turns:
        left: list[Part] = []
        for part in turn.parts:
            asked = _asked_for(part, waiting) if isinstance(part, ToolResult) else None
            if asked is not None and isinstance(part, ToolResult):
                asked.results.append(part)
                continue
            if isinstance(part, ToolCall):
                waiting.append(part)
            left.append(part)
        turn.parts = left


def _asked_for(result: ToolResult, waiting: list[ToolCall]) -> ToolCall | None:
    if result.id is not None:
        # an id may be given again in a later turn
        return next((asked for asked in reversed(waiting) if asked.id == result.id), None)
    unanswered = (asked for asked in waiting if not asked.results)
    return next((asked for asked in unanswered if asked.name == result.name), None)


def _means_something(value: Any) -> bool:
    """Tell a value from one that is spelled out but empty, as Snowflake sends them."""
    return any(value.values()) if _is_dict(value) else bool(value)


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_dict(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
