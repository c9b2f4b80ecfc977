"""The tools that a response asks for, by name."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.errors import let_through
from llm_audit.providers.blocks import ASSISTANT, CALL, ToolCall, blocks_of, message_in
from llm_audit.providers.fields import fields_of
from llm_audit.providers.shapes import ANY

_WHERE_CALLS_ARE = frozenset({*ANY.calls, *ANY.contents, "data", "kwargs"} - {"content"})


def tools_asked_for(
    response_message: object, other_choices: Iterable[object] = ()
) -> tuple[list[str], list[str]]:
    """Return the names of the tools that a response asks for, and which with malformed arguments.

    Both are in order, repeats kept. A tool that the provider runs itself goes by its name where it
    has one, else by the type of its item: `web_search_call` (OpenAI), `FILE_SEARCH` or
    `code_execution` (Gemini).

    Most APIs give arguments as a text that has to be a JSON object, and a model may write
    anything; others give the object. A call without arguments, or of a tool that takes free text,
    is well-formed.

    Args:
        response_message: The message as a dict in any provider's shape, or as the SDK's object;
            a list is taken for the message's content. Anything else asks for no tools.
        other_choices: The choices after the first, each whole.
    """
    names: list[str] = []
    malformed: list[str] = []
    _find(response_message, names, malformed)
    for choice in other_choices:
        _find(message_in(choice), names, malformed)
    return names, malformed


def _find(response_message: object, names: list[str], malformed: list[str]) -> None:
    fields = fields_of(response_message)
    if _is_text_alone(fields):
        return
    for what, _, value in blocks_of(fields or response_message, ASSISTANT):
        if what == CALL and (name := (call := ToolCall(value)).name):
            names.append(name)
            if not _is_well_formed(call):
                malformed.append(name)


def _is_text_alone(fields: Mapping[str, Any]) -> bool:
    """Tell by a quick look what most answers are."""
    if type(fields.get("content")) is not str:
        return False
    if "type" in fields and "role" not in fields:  # perhaps one block, not a message
        return False
    for name, value in fields.items():
        if name in _WHERE_CALLS_ARE and value is not None:
            return False
    return True


def _is_well_formed(call: ToolCall) -> bool:
    arguments = call.arguments
    if isinstance(arguments, Mapping) or arguments is None:
        return True
    if not isinstance(arguments, str):
        return bool(fields_of(arguments))
    try:
        is_object = isinstance(_strict_json.decode(arguments), dict)
    except (ValueError, RecursionError) as error:
        let_through(error)
        is_object = False
    return is_object or call.takes_text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_strict_json = json.JSONDecoder(parse_constant=_refuse_constant)
