"""What the user's code gets from a client, written down so that two of them can be compared."""

import dataclasses
import inspect
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple

from botocore.eventstream import EventStream as AwsStream
from botocore.response import StreamingBody
from pydantic import BaseModel


class Handed(NamedTuple):
    """What a call handed out.

    Attributes:
        kind: Of the result, as a name.
        items: The result; of a stream, its pieces.
        error: What was raised, written down.
    """

    kind: str
    items: list[Any]
    error: Any = None


def name_of(kind: type[Any]) -> str:
    """Return a type's name with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def written(value: Any) -> Any:
    """Return anything as plain data, with the types of all objects in it."""
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    if isinstance(value, Mapping):
        return {key: written(item) for key, item in value.items()}
    if isinstance(value, list | tuple | AwsStream):
        return [written(item) for item in value]
    return {"type": name_of(type(value)), "holds": written(_inside(value))}


def _inside(value: Any) -> Any:
    if isinstance(value, BaseModel):
        fields = {**dict(value), **(value.model_extra or {})}
        return {"set": sorted(value.model_fields_set), **fields}
    if dataclasses.is_dataclass(value):
        return vars(value)
    if hasattr(value, "status_code"):  # of httpx, of either
        return [value.status_code, value.content]
    if isinstance(value, StreamingBody) or hasattr(value, "read"):  # of a file
        return value.read()
    return repr(value)


def failed(error: Exception) -> Any:
    """Return an exception as plain data."""
    said = {key: str(getattr(error, key, None)) for key in ("status_code", "body", "response")}
    cause = type(error.__cause__)
    return [name_of(type(error)), str(error), [written(a) for a in error.args], said, str(cause)]


def is_stream(value: Any) -> bool:
    """Return whether a result is to be iterated."""
    if isinstance(value, BaseModel | Mapping | str | bytes):
        return False
    if hasattr(value, "status_code"):  # of httpx: the user iterates over it if it is not read yet
        return not value.is_closed
    return hasattr(value, "__iter__") or hasattr(value, "__aiter__")


def handed(send: Any) -> Handed:
    """Return what a synchronous call hands out."""
    items: list[Any] = []
    kind = ""
    try:
        result = send()
        kind = name_of(type(result))
        if is_stream(result):
            source = result.iter_bytes() if hasattr(result, "status_code") else result
            items.extend(map(written, source))
        else:
            items.append(written(result))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the user gets
        return Handed(kind, items, failed(error))
    return Handed(kind, items)


async def handed_async(send: Any) -> Handed:
    """Return what an asynchronous call hands out."""
    items: list[Any] = []
    kind = ""
    try:
        result = send()
        if inspect.isawaitable(result):
            result = await _awaited(result)
        kind = name_of(type(result))
        if is_stream(result):
            source = result.aiter_bytes() if hasattr(result, "status_code") else result
            async for item in source:
                items.append(written(item))  # noqa: PERF401 - what came before a failure counts
        else:
            items.append(written(result))
    except Exception as error:  # noqa: BLE001 - the same
        return Handed(kind, items, failed(error))
    return Handed(kind, items)


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result
