"""The arguments of the recording calls: checked, and made what the document holds.

A wrong one is a mistake (raised in strict mode, else logged once), and is recorded as far as
possible.
"""

import uuid
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import uuid_utils

from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.context import CallContext, merge_metadata, unite_tags
from llm_audit.encoding.safe_text import escape_surrogates, safe_repr
from llm_audit.open_enum import NAME_MAX_CHARACTERS
from llm_audit.settings import report_mistake

_ID_TYPES = (str, int, uuid.UUID, uuid_utils.UUID)
_NOT_GIVEN = frozenset({"NotGiven", "Omit"})  # what the providers' clients put for "not given"

INHERITED = (
    *("trace_id", "session_id", "user_id", "company_id", "parent_call_id"),
    *("task_id", "task"),
)
_USUAL_TYPES: dict[str, type] = {
    "call_type": LLMCallTypeEnum,
    **dict.fromkeys(("provider", "model"), str),
    **dict.fromkeys(("messages", "tools"), list),
    "temperature": float,
    "max_tokens": int,
    **dict.fromkeys(("trace_id", "session_id", "user_id", "company_id"), str),
    **dict.fromkeys(("parent_call_id", "review_id", "task_id"), str),
}


def start_fields(given: dict[str, Any], context: CallContext) -> dict[str, Any]:
    """Return the fields of a call's start: what was given, and what the context adds.

    Args:
        given: The arguments of `LLMLogger.start`, each under the name of its field.
        context: What the call inherits.
    """
    fields: dict[str, Any] = {}
    request_params = given["request_params"]
    for name, value in given.items():
        usual = _USUAL_TYPES.get(name)
        if value is None or (usual is str and not value):
            continue
        if usual is None or value.__class__ is usual:
            fields[name] = value
        elif (checked := _check(name, value, request_params)) is not None:
            fields[name] = checked
    if not request_params:
        del fields["request_params"]
    for name in INHERITED:
        if name not in fields and (inherited := getattr(context, name)) is not None:
            fields[name] = inherited
    _unite_with_context(fields, context)
    return fields


def _unite_with_context(fields: dict[str, Any], context: CallContext) -> None:
    """Add the context's tags and metadata to those given; where there are none, no field."""
    for name, united in (("tags", tags), ("metadata", metadata)):
        if getattr(context, name) or name in fields:
            fields[name] = united(context, fields.get(name))
            if not fields[name]:
                del fields[name]


def _check(name: str, value: object, request_params: dict[str, Any]) -> Any:
    """Return an argument that is not of its usual type as what is stored."""
    if name == "call_type":
        return call_type(value, request_params)
    if name in {"messages", "tools"}:
        return array(name, value)
    if name == "temperature":
        return number(name, value, request_params)
    if name == "max_tokens":
        return whole_number(name, value, request_params)
    if name in {"provider", "model"}:
        return text(value)
    return identifier(name, value)


def identifier(name: str, value: object) -> str | None:
    """Return an id as str; str, int and UUIDs are ids, an empty one is none."""
    if value is None or value.__class__ is str:
        return value or None
    if not isinstance(value, _ID_TYPES):
        report_mistake(f"{name} has to be a str, a UUID or an int, not {type(value).__name__}.")
    return text(value)


def call_identifier(value: object) -> str:
    """Return the id of a call that `start` returned; anything else becomes a call of its own."""
    if isinstance(value, str | uuid.UUID | uuid_utils.UUID) and value != "":
        return escape_surrogates(str(value))
    given = "an empty str" if isinstance(value, str) else type(value).__name__
    report_mistake(
        f"call_id has to be what LLMLogger.start returned, not {given}; the outcome is recorded as "
        "a call of its own."
    )
    return str(uuid_utils.uuid7())


def call_type(value: object, otherwise: dict[str, Any]) -> LLMCallTypeEnum:
    """Return a call type; what is none is kept in `otherwise`, under its name.

    A text that is too long is cut, and anything else is OTHER.
    """
    if isinstance(value, LLMCallTypeEnum):
        return value
    given = value.value if isinstance(value, Enum) else value
    name = str.__str__(given).strip().upper() if isinstance(given, str) else ""
    kept = LLMCallTypeEnum(name[:NAME_MAX_CHARACTERS] or LLMCallTypeEnum.OTHER)
    if kept != name:
        otherwise["call_type"] = value
        report_mistake(
            f"call_type has to be a text of 1 to {NAME_MAX_CHARACTERS} characters, not "
            f"{safe_repr(value):.50}; it is recorded as {kept}, and request_params has it whole."
        )
    return kept


def terminal_status(value: object, meant: LLMCallStatusEnum) -> LLMCallStatusEnum:
    """Return a terminal status; anything else becomes the one that is meant."""
    if value is meant:
        return meant
    name = str(text(value)).upper()
    if name in LLMCallStatusEnum and name != LLMCallStatusEnum.PENDING:
        return LLMCallStatusEnum(name)
    terminal = ", ".join(s for s in LLMCallStatusEnum if s is not LLMCallStatusEnum.PENDING)
    report_mistake(
        f"status {safe_repr(value):.50} is not terminal: give one of {terminal}; {meant} is "
        "recorded."
    )
    return meant


def array(name: str, value: object) -> list[Any] | None:
    """Return a list as it is, a tuple as a list; anything else becomes the list's one element."""
    if value is None or value.__class__ is list:
        return value
    if isinstance(value, list | tuple):
        return list(value)
    report_mistake(f"{name} has to be a list, not {type(value).__name__}; it is stored as one.")
    if name == "messages" and isinstance(value, str):
        return [{"role": "user", "content": value}]
    return [value]


def number(name: str, value: Any, otherwise: dict[str, Any]) -> float | None:
    """Return a number; what is none is kept in `otherwise`, under its name."""
    if value is None or value.__class__ is float or value.__class__ is int:
        return value
    if isinstance(value, int | float):
        return value
    if type(value).__name__ not in _NOT_GIVEN:
        otherwise[name] = value
    return None


def whole_number(name: str, value: Any, otherwise: dict[str, Any]) -> int | None:
    """Return a whole number; what is none is kept in `otherwise`, under its name."""
    if value is None or value.__class__ is int:
        return value
    given = number(name, value, otherwise)
    if isinstance(given, float):
        if given.is_integer():
            return int(given)
        otherwise[name] = given
        return None
    return given


def milliseconds(name: str, value: Any) -> float | None:
    """Return a duration; what is no number is left out."""
    if value is None or value.__class__ is float:
        return value
    otherwise: dict[str, Any] = {}
    given = number(name, value, otherwise)
    if otherwise:
        report_mistake(
            f"{name} has to be a number of milliseconds, not {type(value).__name__}; it is left "
            "out."
        )
    return given


def text(value: object) -> str | None:
    """Return a value as a plain str."""
    if value is None or value.__class__ is str:
        return value
    return str.__str__(value) if isinstance(value, str) else safe_repr(value, str)


def tags(context: CallContext, given: Iterable[str] | None) -> list[str]:
    """Return the context's tags and those given, each once."""
    if isinstance(given, list | tuple | set):
        given = [str(text(tag)) for tag in given]
    return list(unite_tags(context.tags, given or ()))


def metadata(context: CallContext, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the context's metadata with what is given merged over it."""
    return dict(merge_metadata(context.metadata, given))
