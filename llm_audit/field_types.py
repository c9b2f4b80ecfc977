"""What the fields of a call hold, as its model declares them."""

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from llm_audit.call import CallFields
from llm_audit.open_enum import OpenEnum


@cache
def types_of(model: type[BaseModel] = CallFields) -> dict[str, Any]:
    """Return what each field of a model holds where it holds anything: `int`, `list[str]` ...

    Args:
        model: A call's, or that of a field which has fields itself.

    Returns:
        `object` for what may be of several types.
    """
    return {name: _type(field.annotation) for name, field in model.model_fields.items()}


def models_in(value: object, kind: Any) -> Iterator[tuple[type[BaseModel], dict[str, Any]]]:
    """Yield the documents in a field that have fields of their own, with their model.

    Args:
        value: Of the field.
        kind: Its type, as `types_of` says it.
    """
    if get_origin(kind) is list and isinstance(value, list):
        for item in value:
            yield from models_in(item, get_args(kind)[0])
    elif is_model(kind) and isinstance(value, dict):
        yield kind, value


def is_model(kind: Any) -> bool:
    """Tell whether a field of this type has fields itself."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def is_enum(kind: Any) -> bool:
    """Tell whether a field of this type holds a name of an enum, or one like it."""
    return isinstance(kind, type) and issubclass(kind, OpenEnum)


def _type(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin in {Union, UnionType}:
        some = [argument for argument in arguments if argument is not NoneType]
        return _type(some[0]) if len(some) == 1 else object
    if origin is list:
        return list[_type(arguments[0])]  # type: ignore[misc]
    return object if annotation is Any else annotation
