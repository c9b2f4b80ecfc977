"""What was said, read alike from every provider's shape.

Messages are stored as the API spoke them. Here they become parts, named as OpenTelemetry's GenAI
conventions name them: text, reasoning, tool_call, tool_call_response, and whatever else a provider
has (images, files ...) under its own type. Reading never fails: what is not understood is a part
of its own, untouched, so nothing is left out.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field

from llm_audit.encoding.json_text import meaning_of
from llm_audit.errors import let_through
from llm_audit.providers.blocks import (
    ASSISTANT,
    CALL,
    CODE,
    ID_NAMES,
    NAME_NAMES,
    REASONING,
    RESPONSE,
    SYSTEM,
    TEXT,
    TOOL,
    TYPE_NAMES,
    USER,
    Block,
    ToolCall,
    blocks_of,
    message_in,
    text_of,
)
from llm_audit.providers.fields import first, rest

_NOT_COMPARED = frozenset({REASONING, "cachePoint"})
_ABOUT_A_TOOL = frozenset({*ID_NAMES, *TYPE_NAMES, *NAME_NAMES, "role", "status", "index"})
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
    others = (message_in(choice) for choice in _items(call.get("other_choices")))
    said = (call.get("response_message"), *others)
    return [read_messages(message, role=ASSISTANT) for message in said]


def read_messages(messages: object, *, role: str = USER) -> list[Part]:
    """Return everything that messages say, in order.

    Args:
        messages: A list of messages, one message, or a text, in any provider's shape.
        role: Of what does not name its own.
    """
    return [part for message in _items(messages) for part in _parts(blocks_of(message, role))]


def _parts(blocks: Iterable[Block]) -> list[Part]:
    """Return the parts of a message with neighbouring texts made one, as some APIs split them."""
    parts: list[Part] = []
    texts: dict[int, list[str]] = {}  # of which a part is made, by its place
    for what, role, value in blocks:
        if what == TEXT and parts and parts[-1].type == TEXT:
            texts.setdefault(len(parts) - 1, [parts[-1].content]).append(value)
        elif what == CALL:
            parts.extend(_call(value))
        elif what == RESPONSE:
            parts.append(_response(value))
        else:
            content = _reasoning(value) if what == REASONING else value
            parts.append(Part(role=role, type=what, content=content))
    for place, pieces in texts.items():
        parts[place].content = "".join(pieces)
    return parts


def _call(value: object) -> Iterator[Part]:
    """Read a tool call, with its result where the provider ran the tool itself."""
    call = ToolCall(value)
    arguments = _parsed(call.arguments if call.fields else value)
    if arguments is None:  # a provider's own tool, or Gemini's code
        arguments = rest(call.fields, (*_ABOUT_A_TOOL, *_OWN_RESULT_NAMES))
    if call.id or call.name or arguments:  # Snowflake spells out calls that are none
        yield Part(role=ASSISTANT, type=CALL, id=call.id, name=call.name, arguments=arguments)
    result = None if call.is_wrapped else first(call.fields, _OWN_RESULT_NAMES)
    if result is not None:
        yield Part(
            role=TOOL,
            type=RESPONSE,
            id=call.id,
            name=call.name,
            response=_result(result),
            is_error=bool(call.fields.get("error")),
        )


def _response(result: Mapping[str, Any]) -> Part:
    content = first(result, _RESULT_NAMES)
    name = first(result, NAME_NAMES) or (CODE if "outcome" in result else None)
    return Part(
        role=TOOL,
        type=RESPONSE,
        id=text_of(first(result, ID_NAMES)),
        name=text_of(name),
        response=_result(content if content is not None else rest(result, _ABOUT_A_TOOL)),
        is_error=any(result.get(name) == mark for name, mark in _FAILURE_MARKS.items()),
    )


def _result(content: object) -> Any:
    """Return what a tool gave back: texts as one, JSON as what it means."""
    blocks = content if isinstance(content, list | tuple) else []
    if blocks and all(isinstance(block, Mapping) and "json" in block for block in blocks):
        return [block["json"] for block in blocks] if len(blocks) > 1 else blocks[0]["json"]
    found = [inner for block in blocks for inner in blocks_of(block, TOOL)]
    if found and all(what == TEXT for what, _, _ in found):
        content = "\n".join(text for _, _, text in found)
    return _parsed(content)


def _reasoning(thought: object) -> str:
    """Return what a model thought; empty if the provider does not tell."""
    if isinstance(thought, Mapping) and isinstance(
        bedrock := thought.get("reasoningContent"), Mapping
    ):
        thought = bedrock.get("reasoningText")
    names = ("thinking", "text", "reasoning", "summary", "content")
    told = [thought.get(name) for name in names] if isinstance(thought, Mapping) else [thought]
    texts = [text for value in told for _, _, text in blocks_of(value, ASSISTANT)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _parsed(value: object) -> Any:
    """Return the object or list that a JSON text means; "1.10" stays as it was sent.

    So does what can be read in two ways: one of them may hide the other.
    """
    if not isinstance(value, str):
        return value
    try:
        meant = meaning_of(value)
    except (ValueError, RecursionError) as error:
        let_through(error)
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
