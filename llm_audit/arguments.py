"""The arguments of the recording calls: checked, and made what the document holds.

A wrong one is a mistake (raised in strict mode, else logged once), and is recorded as far as
possible.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.context import CallContext, unite_tags
from llm_audit.settings import report_mistake


def identifier(name: str, value: object) -> str | None:
    """Return an id as str; str, int and UUIDs are ids, an empty one is none."""
    if value is None or value.__class__ is str:
        return value or None
    if not isinstance(value, str | int | UUID) and not hasattr(value, "hex"):
        report_mistake(f"{name} has to be a str, a UUID or an int, not {type(value).__name__}.")
    return str(value)


def call_identifier(value: object) -> str:
    """Return the id of a call that `start` returned."""
    if isinstance(value, str) and value:
        return str(value)
    if isinstance(value, UUID) or hasattr(value, "hex"):
        return str(value)
    report_mistake(
        f"call_id has to be what LLMLogger.start returned, a str, not {type(value).__name__}."
    )
    return str(value)


def call_type(value: object) -> LLMCallTypeEnum:
    """Return a call type; an unknown one is OTHER."""
    if isinstance(value, LLMCallTypeEnum):
        return value
    try:
        return LLMCallTypeEnum(str(value).upper())
    except ValueError:
        known = ", ".join(LLMCallTypeEnum)
        report_mistake(f"call_type {value!r:.50} is not one of {known}; it is recorded as OTHER.")
        return LLMCallTypeEnum.OTHER


def terminal_status(value: object, meant: LLMCallStatusEnum) -> LLMCallStatusEnum:
    """Return a terminal status; anything else becomes the one that is meant."""
    if value is meant:
        return meant
    try:
        status = LLMCallStatusEnum(str(value).upper())
    except ValueError:
        status = LLMCallStatusEnum.PENDING
    if status is not LLMCallStatusEnum.PENDING:
        return status
    terminal = ", ".join(s for s in LLMCallStatusEnum if s is not LLMCallStatusEnum.PENDING)
    report_mistake(
        f"status {value!r:.50} is not terminal: give one of {terminal}; {meant} is recorded."
    )
    return meant


def array(name: str, value: Iterable[Any] | None) -> list[Any] | None:
    """Return a list as it is, a tuple as a list; anything else becomes the list's one element."""
    if value is None or value.__class__ is list:
        return value
    if isinstance(value, list | tuple):
        return list(value)
    report_mistake(f"{name} has to be a list, not {type(value).__name__}; it is stored as one.")
    return [value]


def number(name: str, value: Any, otherwise: dict[str, Any]) -> float | None:
    """Return a number; what is none (a client's "not given" object, say) is kept elsewhere."""
    if value is None or value.__class__ is float or value.__class__ is int:
        return value
    if isinstance(value, int | float):
        return value
    if type(value).__name__ not in {"NotGiven", "Omit"}:
        otherwise[name] = value
    return None


def text(value: object) -> str | None:
    """Return a value as str."""
    return value if value is None or isinstance(value, str) else str(value)


def tags(context: CallContext, given: Iterable[str] | None) -> list[str] | None:
    """Return the context's tags and those given, each once."""
    if isinstance(given, str):
        report_mistake("tags has to be a list of str, not one str; it is stored as one tag.")
        given = [given]
    united = unite_tags(context.tags, given or ())
    return list(united) or None


def metadata(context: CallContext, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the context's metadata with what is given merged over it."""
    if given is None:
        return dict(context.metadata) or None
    if not isinstance(given, Mapping):
        report_mistake("metadata has to be a dict; it is stored as {'value': ...}.")
        given = {"value": given}
    return {**context.metadata, **given}
