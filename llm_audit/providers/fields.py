"""The fields of anything that a provider's client hands over: dicts and objects of any class."""

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Any

from llm_audit.encoding.dumping import dumped
from llm_audit.errors import let_through, log_once

LISTS = (list, tuple)
FIELDLESS = (str, bytes, int, float, list, tuple, set)
_LISTS_IN_EACH_OTHER = 8  # a list may hold itself
_NATIVE_TYPES = (dict, list, tuple, str, int, float, type(None))


def fields_of(value: object) -> dict[str, Any]:
    """Return the fields of a mapping or object as a dict, one level deep, not to be changed.

    Works on any mapping, on pydantic models (fields that their class does not know included) and
    on every object that has a `__dict__` or a `model_dump()`. What has no fields, or raises when
    read, gives an empty dict.
    """
    if type(value) is dict:
        return value
    if value is None or issubclass(type(value), FIELDLESS):
        return {}
    try:
        extra = getattr(value, "__pydantic_extra__", None)
        if type(extra) is dict:
            return {**vars(value), **extra}
        if isinstance(value, Mapping):
            return dict(value)
        attributes = getattr(value, "__dict__", {})
        fields = {name: attributes[name] for name in attributes if not name.startswith("_")}
        if not fields and hasattr(value, "model_dump"):
            fields = value.model_dump()
    except BaseException as error:  # noqa: BLE001 - a foreign object may raise anything
        let_through(error)
        log_once(f"cannot read a {type(value).__name__}: its fields raise {type(error).__name__}")
        return {}
    return fields if type(fields) is dict else {}


def native(value: object, exclude: Mapping[str, Any] | None = None) -> object:
    """Return an SDK's object as the dict that its API sent; anything else as it is.

    Args:
        value: Anything.
        exclude: What to leave out, as pydantic takes it.
    """
    if isinstance(value, _NATIVE_TYPES):
        return value
    try:
        if callable(getattr(value, "model_dump", None)):
            return dumped(value, exclude)
    except BaseException as error:  # noqa: BLE001 - a foreign object may raise anything
        let_through(error)
        log_once(f"cannot dump a {type(value).__name__}: {type(error).__name__}")
    return fields_of(value) or value


def first(fields: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the first of these fields that there is; None if there is none."""
    for name in names:
        if (value := fields.get(name)) is not None:
            return value
    return None


def at(value: object, path: str) -> Any:
    """Return what is at a path, its names joined by dots; of a list on the way its first item."""
    for name in path.split("."):
        if type(value) is not dict:
            for _ in range(_LISTS_IN_EACH_OTHER):
                if not isinstance(value, LISTS):
                    break
                value = value[0] if value else None
            value = fields_of(value)
        value = value.get(name)
    return value


def first_at(fields: Mapping[str, Any], paths: Iterable[str]) -> Any:
    """Return what is at the first of these paths at which something is."""
    for path in paths:
        found = at(fields, path) if "." in path else fields.get(path)
        if found is not None:
            return found
    return None


def rest(fields: Mapping[str, Any], known: Collection[str]) -> dict[str, Any] | None:
    """Return what else there is; None if that is nothing."""
    return {name: value for name, value in fields.items() if value and name not in known} or None


def spelled(value: object) -> str | None:
    """Return a name as a str: enums by value, numbers in digits, `{"reason": …}` by its reason."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):  # AI21 Jurassic
        value = value.get("reason")
    if isinstance(value, str):
        return value or None  # Snowflake sends "" for what it does not have
    if isinstance(value, int) and is_number(value) and abs(value) < 2**63:
        return str(value)
    return None


def is_number(value: object) -> bool:
    """Tell whether a value is a number: also one that was read from BSON, but no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)
