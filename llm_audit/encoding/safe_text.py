"""Text about anything, which never raises and which UTF-8 and BSON can hold."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from llm_audit.encoding.bounds import TooMuchError, is_within
from llm_audit.errors import let_through

MAX_REPR_CHARACTERS = 2_000
MAX_REPR_VALUES = 10_000
_name_of: Callable[[type], str] = vars(type)["__name__"].__get__


def escape_surrogates(text: str) -> str:
    r"""Return `text` with lone surrogates, which UTF-8 cannot hold, written out as `\udxxx`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def safe_repr(value: Any, render: Callable[[Any], str] = repr) -> str:
    """Return the repr of anything, at most 2,000 characters of it, or a marker if it raises."""
    try:
        if not is_within(value, MAX_REPR_VALUES, written_out=True):
            raise TooMuchError  # noqa: TRY301  (like a container whose repr raises)
        text = str.__str__(render(value))
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        return marker(value, error)
    if len(text) > MAX_REPR_CHARACTERS:
        text = f"{text[:MAX_REPR_CHARACTERS]}… ({len(text)} characters)"
    return escape_surrogates(text)


def text(value: Any) -> str:
    """Return a value as a plain str: a str of any kind as what it holds."""
    kind = type(value)  # not isinstance: a mock may claim any __class__
    if kind is str:
        return value  # type: ignore[no-any-return]
    return str.__str__(value) if issubclass(kind, str) else safe_repr(value, str)


def safe_key(key: Any) -> tuple[str, str]:
    """Return a key as BSON takes it, and what was changed about it, if anything."""
    kind = type(key)
    change = ""
    if issubclass(kind, Enum):
        return safe_key(key.value)
    if issubclass(kind, str):
        text = key if kind is str else str.__str__(key)
    else:
        change = f"key of type {kind.__name__} stored as str"
        # null, true and false as json.dumps writes them
        as_json = key is None or kind is bool
        readable = issubclass(kind, (int, float, Decimal, UUID, date))
        text = safe_repr(key, json.dumps if as_json else str if readable else repr)
    clean = escape_surrogates(text).replace("\0", "\\u0000")
    if clean == text:
        return text, change
    return clean, "NUL or lone surrogates in the key escaped"


def marker(value: Any, error: BaseException) -> str:
    """Return what stands in the place of a value that cannot be read."""
    return escape_surrogates(f"<{type_name(value)}: {type_name(error)}>")


def type_name(value: Any) -> str:
    """Return the name of a value's type, whatever its metaclass says of that."""
    return _name_of(type(value))
