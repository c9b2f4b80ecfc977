"""Messages and tools of any provider as those of OpenAI's chat API, where they can be just that."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from llm_audit.providers.blocks import (
    ASSISTANT,
    CALL,
    REASONING,
    RESPONSE,
    SYSTEM,
    TEXT,
    TOOL,
    USER,
)
from llm_audit.providers.messages import Part, read_messages

_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call")
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_CONTENT_FIELDS = {
    "text": {"type", "text"},
    "refusal": {"type", "refusal"},
    "image_url": {"type", "image_url"},
    "input_audio": {"type", "input_audio"},
    "file": {"type", "file"},
}
_LEFT_OUT = frozenset({REASONING, "cachePoint"})
_CALL_FIELDS = ("name", "arguments")
_FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})
_GEMINI_DECLARED = ("functionDeclarations", "function_declarations")
_SCHEMAS = (
    *("parameters", "input_schema", "inputSchema"),
    *("parametersJsonSchema", "parameters_json_schema"),
)
_GEMINI_TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"})


class NoExampleError(Exception):
    """A call cannot be an example; the text says of such calls why."""


NO_CHAT = "have no messages or no answer"
OTHER_CONTENT = "hold what OpenAI's chats have no form for"
OTHER_TOOLS = "have tools that are no functions"


class OpenAIChat:
    """A chat that grows message by message.

    Attributes:
        messages: Those of OpenAI's API are as they were. Those of another one are made of what they
            say; what the model thought is left out, and marks for its cache.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._waiting: dict[str | None, list[str]] = defaultdict(list)  # ids of calls, by tool
        self._calls = 0

    def add(self, messages: object, role: str = USER) -> None:
        """Add messages.

        Args:
            messages: A list of them, one of them, or a text, in any provider's shape.
            role: Of what does not name its own.

        Raises:
            NoExampleError: They hold what OpenAI's have no form for.
        """
        begin = len(self.messages)
        for message in messages if isinstance(messages, list) else [messages]:
            if isinstance(message, Mapping) and _is_openai(message):
                self.messages.append(_kept(message))
                continue
            has_role = isinstance(message, Mapping) and "role" in message
            may_go_on = len(self.messages) > begin and not has_role
            for part in read_messages(message, role=role):
                said_by = SYSTEM if role == SYSTEM else part.role
                may_go_on = self._add_part(part, said_by, may_go_on=may_go_on)

    def _add_part(self, part: Part, role: str, *, may_go_on: bool) -> bool:
        """Add what one part says, to the last message if it may go on; return whether that may."""
        if part.type in _LEFT_OUT:
            return may_go_on
        last = self.messages[-1] if self.messages and may_go_on else {}
        if part.type == TEXT and role == ASSISTANT == last.get("role"):
            if last.get("tool_calls"):  # which are said after the text
                raise NoExampleError(OTHER_CONTENT)
            last["content"] += part.content
        elif part.type == TEXT and role in {SYSTEM, USER, ASSISTANT}:
            self.messages.append({"role": role, "content": part.content})
        elif part.type == CALL:
            if last.get("role") != ASSISTANT:
                last = {"role": ASSISTANT}
                self.messages.append(last)
            last.setdefault("tool_calls", []).append(self._call(part))
        elif part.type == RESPONSE and not part.is_error:
            asked = {"role": TOOL, "tool_call_id": self._id_of_call(part)}
            self.messages.append({**asked, "content": _result(part.response)})
        else:
            raise NoExampleError(OTHER_CONTENT)
        return True

    def _call(self, part: Part) -> dict[str, Any]:
        arguments = {} if part.arguments is None else part.arguments
        if not part.name or not isinstance(arguments, dict):
            raise NoExampleError(OTHER_CONTENT)
        self._calls += 1
        call_id = part.id or f"call_{self._calls}"
        if not part.id:  # Gemini has none: it tells results apart by name and order
            self._waiting[part.name].append(call_id)
        function = {"name": part.name, "arguments": _json(arguments)}
        return {"id": call_id, "type": "function", "function": function}

    def _id_of_call(self, part: Part) -> str:
        if part.id:
            return part.id
        if not self._waiting[part.name]:
            raise NoExampleError(OTHER_CONTENT)
        return self._waiting[part.name].pop(0)


def openai_tools(tools: object) -> dict[str, Any]:
    """Return the tools of a request under their name in OpenAI's API; nothing if there are none.

    Raises:
        NoExampleError: One of them is no function.
    """
    if not tools:
        return {}
    if not isinstance(tools, list):
        raise NoExampleError(OTHER_TOOLS)
    if all(map(_is_function, tools)):
        return {"functions": tools}
    return {"tools": [made for tool in tools for made in _tools(tool)]}


def _is_one_of(value: object, texts: Collection[str]) -> bool:
    """Tell whether a value, which may be a list of types, say, is one of some texts."""
    return type(value) is str and value in texts


def _is_openai(message: Mapping[str, Any]) -> bool:
    if not _is_one_of(message.get("role"), _ROLES):
        return False
    if message["role"] == TOOL and not isinstance(message.get("tool_call_id"), str):
        return False
    content = message.get("content")
    if isinstance(content, list) and not all(map(_is_openai_block, content)):
        return False
    asked = message.get("tool_calls") or []
    if not isinstance(asked, list) or not all(map(_is_openai_call, asked)):
        return False
    asks = asked or message.get("function_call")
    return isinstance(content, str | list) or (content is None and bool(asks))


def _kept(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message of OpenAI's without what examples do not have, if that says nothing."""
    kept = {name: message[name] for name in _MESSAGE_FIELDS if message.get(name) is not None}
    if len(kept) < len(message) and _said(kept) != _said(message):  # tools that Groq runs, say
        raise NoExampleError(OTHER_CONTENT)
    return kept


def _said(message: Mapping[str, Any]) -> list[str]:
    return [part.type for part in read_messages(message) if part.type not in _LEFT_OUT]


def _is_openai_call(call: object) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(function, Mapping):
        return False
    return all(isinstance(text, str) for text in (call.get("id"), *map(function.get, _CALL_FIELDS)))


def _is_openai_block(block: object) -> bool:
    if not isinstance(block, Mapping):
        return False
    return block.keys() <= _CONTENT_FIELDS.get(str(block.get("type")), set())


def _result(response: object) -> str:
    if isinstance(response, str):
        return response
    items = response if isinstance(response, list) else []
    if any(isinstance(item, Mapping) and "type" in item for item in items):  # an image, say
        raise NoExampleError(OTHER_CONTENT)
    return _json(response)


def _tools(tool: object) -> Iterable[dict[str, Any]]:
    if not isinstance(tool, Mapping):
        raise NoExampleError(OTHER_TOOLS)
    if tool.get("type", "function") == "function" and isinstance(tool.get("function"), Mapping):
        return [{"type": "function", "function": tool["function"]}]
    for name in _GEMINI_DECLARED:
        if tool.keys() == {name}:
            return [_tool(declared) for declared in tool[name] or ()]
    is_function = _is_one_of(tool.get("type", "custom"), {"function", "custom"})
    wrapped = tool.get("toolSpec")
    if not wrapped and not is_function:
        raise NoExampleError(OTHER_TOOLS)
    return [_tool(wrapped or tool)]


def _tool(declared: Any) -> dict[str, Any]:
    """Return a function of another API as a tool."""
    fields = declared if isinstance(declared, Mapping) else {}
    schema = next(
        (fields[name] for name in _SCHEMAS if isinstance(fields.get(name), Mapping)), None
    )
    if not isinstance(fields.get("name"), str) or (schema is None and "type" in fields):
        raise NoExampleError(OTHER_TOOLS)
    function = {name: fields[name] for name in _FUNCTION_FIELDS & fields.keys()}
    if schema is not None:
        inner = schema.get("json")  # Bedrock's
        function["parameters"] = _json_schema(inner if isinstance(inner, Mapping) else schema)
    return {"type": "function", "function": function}


def _json_schema(schema: Any) -> Any:
    """Return Gemini's schema as JSON's, which has its types in lower case."""
    if isinstance(schema, list):
        return list(map(_json_schema, schema))
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: value.lower()
        if name == "type" and _is_one_of(value, _GEMINI_TYPES)
        else _json_schema(value)
        for name, value in schema.items()
    }


def _is_function(tool: object) -> bool:
    return (
        isinstance(tool, Mapping)
        and isinstance(tool.get("name"), str)
        and isinstance(tool.get("parameters"), Mapping)
        and tool.keys() <= _FUNCTION_FIELDS
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
