"""What messages hold, in whatever shape: the one walk through what was said.

`messages` makes parts of what is found, `tool_calls` names the tools that are asked for. Finding
never fails: what is not understood is found as it is, so nothing is left out. Every answer is
walked through while it is recorded, so this is written to be fast.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from llm_audit.providers.fields import LISTS, fields_of, first, rest, spelled
from llm_audit.providers.shapes import ANY

# What it is: TEXT, REASONING, CALL, RESPONSE, the provider's name for it, or OTHER; whose it is;
# the text, or the block as it was (of a tool's result what is in its wrapper).
Block: TypeAlias = tuple[str, str, Any]

TEXT, REASONING, CALL, RESPONSE = "text", "reasoning", "tool_call", "tool_call_response"
OTHER = "other"
SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"

ID_NAMES = ("call_id", "toolUseId", "tool_use_id", "tool_call_id", "id")
TYPE_NAMES = ("type", "toolType", "tool_type")
NAME_NAMES = ("name", "tool_name", "tool")
_KIND_NAMES = ("type", "part_kind", "kind")
CODE = "code_execution"  # Gemini's tool, which has no name in its calls and results

_ROLES = {
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(("user", "human"), USER),
    **dict.fromkeys(("assistant", "model", "ai", "chatbot"), ASSISTANT),
    **dict.fromkeys(("tool", "function"), TOOL),
}
# LangChain says in a message's type what others say in its role, and dumps it as it is, in one of
# these, or as what is given to a constructor.
_ROLE_BY_TYPE = {
    **_ROLES,
    **{f"{name}MessageChunk": _ROLES[name.lower()] for name in ("AI", "Human", "System", "Tool")},
    "FunctionMessageChunk": TOOL,
    # pydantic-ai says it in the kind of a message, or of a part
    "request": USER,
    "response": ASSISTANT,
    "user-prompt": USER,
    "system-prompt": SYSTEM,
    # Gemini's interactions do so in the type of a step
    "user_input": USER,
    "model_output": ASSISTANT,
}
_AROUND_A_MESSAGE = ("data", "kwargs")
_CONSTRUCTOR = "constructor"

_MESSAGE, _NAMED_BY_TYPE = "message", "message by type"
_CONTENT, _CALLS = "content", "calls"
_PLACES = {  # of a message, and what is there
    **dict.fromkeys(ANY.texts, TEXT),
    **dict.fromkeys(ANY.contents, _CONTENT),
    **dict.fromkeys(ANY.calls, _CALLS),
}
_ABOUT_A_MESSAGE = frozenset({"role", "type", "id", "status", *ANY.contents, *ANY.texts})
_IN_A_MESSAGE = frozenset({*ANY.contents, *ANY.calls} - {*ANY.call_keys})
_TEXT_NAMES = ("text", *ANY.texts, "content")  # of a block whose type says that it is one
_CALL_KEYS = frozenset(ANY.call_keys)
_RESULT_KEYS = frozenset(ANY.result_keys)
_OURS = frozenset({TEXT, REASONING, CALL, RESPONSE})
_ASSISTANTS = frozenset({CALL, REASONING})
_ARGUMENTS_NAMES = ("arguments", "input", "args", "parameters", "action")
# Types that say that it is a call, not of what.
_ANY_TOOL = frozenset(
    {
        *("function", "custom", "tool_call", "invalid_tool_call", "server_tool_call"),
        *("tool_use", "server_tool_use", "mcp_tool_use"),
    }
)
_DEEPEST = 8  # lists and messages in each other; what is deeper is no message


def blocks_of(said: object, role: str = USER) -> list[Block]:
    """Return everything that messages, a message, a block or a text holds, in order.

    Args:
        said: In any shape; objects of an SDK as well.
        role: Of what does not name its own.
    """
    found: list[Block] = []
    _look(said, role, found, 0)
    return found


class ToolCall:
    """A tool call, its arguments as they were sent.

    Args:
        call: In any shape.

    Attributes:
        fields: Those that say what is called.
        is_wrapped: Whether these are in a block around them.
    """

    __slots__ = ("_outer", "fields", "is_wrapped")

    def __init__(self, call: object) -> None:
        self._outer = self.fields = fields_of(call)
        self.is_wrapped = False
        if not _CALL_KEYS.isdisjoint(self._outer):
            wrapped = _wrapped(self._outer, ANY.call_keys)
            if wrapped is not None:
                self.fields, self.is_wrapped = wrapped, True

    @property
    def id(self) -> str | None:
        """What the tool's result refers to."""
        return text_of(first(self._outer, ID_NAMES) or first(self.fields, ID_NAMES))

    @property
    def name(self) -> str | None:
        """The tool's; of one that the provider runs itself perhaps the type of the call."""
        name = first(self.fields, NAME_NAMES)
        if isinstance(name, str) and name:
            return name
        kind = self._type
        if kind and kind not in _ANY_TOOL:
            return kind
        return CODE if "code" in self.fields else None

    @property
    def arguments(self) -> Any:
        """None if there are none."""
        return first(self.fields, _ARGUMENTS_NAMES)

    @property
    def takes_text(self) -> bool:
        """Whether the tool takes any text, not an object."""
        return self._type.startswith("custom") or "custom" in self._outer

    @property
    def _type(self) -> str:
        kind = first(self.fields, TYPE_NAMES) or first(self._outer, TYPE_NAMES)
        return spelled(kind) or ""


def message_in(choice: object) -> object:
    """Return the message of one of several choices, else the choice itself."""
    return first(fields_of(choice), ("message", "content")) or choice


def role_of(message: object, role: str) -> str:
    """Return whose a message is.

    Args:
        message: In any shape.
        role: Of what does not name its own.
    """
    fields = fields_of(message)
    if named := text_of(fields.get("role")):
        return _ROLES.get(named.lower().removeprefix("role_"), named)  # xAI says ROLE_USER
    return _ROLE_BY_TYPE.get(text_of(first(fields, _KIND_NAMES)) or "", role)


def text_of(value: object) -> str | None:
    """Return a text; of anything else nothing. BSON's Code is one that has no hash."""
    return str(value) if isinstance(value, str) else None


def _look(value: object, role: str, found: list[Block], level: int) -> None:
    if level > _DEEPEST:
        found.append((OTHER, role, value))
    elif type(value) is dict:
        if value:
            _look_into(value, role, found, level)
    elif isinstance(value, str):
        if value:
            found.append((TEXT, role, value))
    elif isinstance(value, LISTS):
        _look_through(value, role, found, level)
    elif fields := fields_of(value):
        _look_into(fields, role, found, level)
    elif value is not None and not isinstance(value, Mapping):
        found.append((OTHER, role, value))


def _look_through(items: Sequence[object], role: str, found: list[Block], level: int) -> None:
    if items and isinstance(items[0], int | float):  # tokens, for an embedding
        found.append((OTHER, role, items))
        return
    for item in items:
        _look(item, role, found, level + 1)


def _look_into(fields: dict[str, Any], role: str, found: list[Block], level: int) -> None:
    """Find what a mapping is: a message, or a block of one."""
    kind = fields.get("type") or fields.get("part_kind")
    if "role" in fields:
        _look_into_message(fields, role_of(fields, role), found, level)
    elif isinstance(kind, str) and kind:
        _look_into_typed(fields, str(kind), role, found, level)
    elif not _IN_A_MESSAGE.isdisjoint(fields):
        _look_into_message(fields, role_of(fields, role), found, level)
    elif block := _block_by_keys(fields):
        found.append(block)
    elif isinstance(text := first(fields, ANY.texts), str):
        if text:
            found.append((TEXT, role, text))
    else:
        found.append(_unclear(str(next(iter(fields))) if level else OTHER, role, fields))


def _look_into_typed(
    fields: dict[str, Any], kind: str, role: str, found: list[Block], level: int
) -> None:
    what = _by_type(kind)
    if what == TEXT and isinstance(text := first(fields, _TEXT_NAMES), str):
        if text:
            found.append((TEXT, role, text))
    elif what in _ASSISTANTS:
        found.append((what, ASSISTANT, fields))
    elif what == RESPONSE and (kind == RESPONSE or first(fields, ID_NAMES)):
        found.append((RESPONSE, TOOL, fields))
    elif what == _MESSAGE:
        _look_into_message(fields, role, found, level)
    elif what == _NAMED_BY_TYPE and "content" in fields:
        _look_into_message(fields, role_of(fields, role), found, level)
    elif what == _NAMED_BY_TYPE and (inner := _wrapped(fields, _AROUND_A_MESSAGE)):
        _look(inner, role, found, level + 1)
    else:
        found.append(_block_by_keys(fields) or _unclear(kind, role, fields))


@lru_cache(maxsize=256)
def _by_type(kind: str) -> str:
    """Return what a block's type makes it; OTHER if that says nothing."""
    if kind in ANY.text_types:
        return TEXT
    if kind in ANY.thought_types:
        return REASONING
    if kind in _ROLE_BY_TYPE or kind == _CONSTRUCTOR:
        return _NAMED_BY_TYPE
    if kind.endswith(ANY.call_types):
        return CALL
    if kind.endswith(ANY.result_types):
        return RESPONSE
    return _MESSAGE if kind == _MESSAGE else OTHER


def _block_by_keys(fields: dict[str, Any]) -> Block | None:
    """Return what a block's keys make it; None if they say nothing."""
    if not _RESULT_KEYS.isdisjoint(fields):
        result = _wrapped(fields, ANY.result_keys)
        if result is not None:
            return RESPONSE, TOOL, result
    if not _CALL_KEYS.isdisjoint(fields) and _wrapped(fields, ANY.call_keys) is not None:
        return CALL, ASSISTANT, fields
    if fields.get("thought") is True or "reasoningContent" in fields:
        return REASONING, ASSISTANT, fields
    return None


def _unclear(kind: str, role: str, fields: dict[str, Any]) -> Block:
    """Return a block of the provider's own kind, such as an image."""
    return OTHER if kind in _OURS or "gridfs_id" in fields else kind, role, fields


def _look_into_message(fields: dict[str, Any], role: str, found: list[Block], level: int) -> None:
    if role == TOOL and not _holds_results(fields, level):
        found.append((RESPONSE, TOOL, fields))
        return
    before = len(found)
    thought = first(fields, ANY.thoughts)
    if isinstance(thought, str) and thought:
        found.append((REASONING, ASSISTANT, thought))
    apart = []
    for name, value in fields.items():
        place = None if value is None else _PLACES.get(name)
        if place == _CONTENT:
            _look(value, role, found, level + 1)
        elif place == _CALLS:
            apart.append(value)
        elif place == TEXT:
            texts = value if isinstance(value, LISTS) else (value,)
            found += [(TEXT, role, text) for text in texts if isinstance(text, str) and text]
    for calls in apart:
        _add_calls(calls, found, before)
    if audio := _audio(fields):
        found.append(("audio", role, audio))
    if len(found) == before and (others := rest(fields, _ABOUT_A_MESSAGE)):
        found.append((OTHER, role, others))


def _add_calls(calls: object, found: list[Block], before: int) -> None:
    """Add the calls that a message lists apart; LangChain lists those of its content again."""
    listed = calls if isinstance(calls, LISTS) else [calls]
    told = {ToolCall(value).id for what, _, value in found[before:] if what == CALL} - {None}
    if told:
        listed = [call for call in listed if ToolCall(call).id not in told]
    found += [(CALL, ASSISTANT, call) for call in listed if call is not None]


def _audio(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a message says aloud; Snowflake spells out that it says nothing."""
    audio = fields.get("audio")
    return audio if isinstance(audio, Mapping) and any(audio.values()) else None


def _holds_results(message: Mapping[str, Any], level: int) -> bool:
    """Tell whether a tool's message wraps its results in blocks, one for each call."""
    if isinstance(message.get("parts"), list):
        return True
    content = message.get("content")
    found: list[Block] = []
    if isinstance(content, LISTS):
        _look(content, TOOL, found, level + 1)
    return any(what == RESPONSE for what, _, _ in found)


def _wrapped(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the first of these fields that has fields itself."""
    for name in names:
        inner = fields.get(name)
        if inner is not None and (found := fields_of(inner)):
            return found
    return None
