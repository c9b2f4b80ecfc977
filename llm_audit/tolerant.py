"""Rows as MongoDB has them, read whatever their fields hold.

What the recorder writes has the right types. What an import, a message's header, a later version or
somebody's own `insert_one` brought in need not have them, and one such row must not spoil a page.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Self, TypeAlias, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.functional_validators import ModelWrapValidatorHandler

from llm_audit.open_enum import OpenEnum

UNKNOWN = "UNKNOWN"  # in place of a status that is no text

_TOO_LARGE = 2**63  # no count is; a text of it may have thousands of digits
_Types: TypeAlias = tuple[type, ...]


class TolerantModel(BaseModel):
    """A row that is read whatever it holds.

    A field that holds something of a wrong type is as if it were missing, and `unreadable` names
    it. Where there has to be an id, it is the text of what is there; for a status, UNKNOWN.
    """

    model_config = ConfigDict(allow_inf_nan=False, ser_json_bytes="base64")

    unreadable: list[str] = Field(
        default_factory=list, description="the fields that hold something of a wrong type"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, row: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(row, Mapping):
            return handler(row)
        row = dict(row)
        unreadable = _set_aside_misread(cls, row)
        try:
            model = handler(row)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            unreadable += [_set_aside(cls, row, problem["loc"]) for problem in problems]
            model = handler(row)
        if unreadable:
            model.unreadable = list(dict.fromkeys(unreadable))
        return model


def _set_aside_misread(model: type[BaseModel], row: dict[str, Any]) -> list[str]:
    """Set aside what pydantic would read as something else than MongoDB does, e.g. "5" as 5."""
    code = [key for key, value in row.items() if type(value).__name__ == "Code"]
    unreadable = [_set_aside(model, row, (key,)) for key in code if key in _texts(model)]
    for location, types in _misread(model):
        key, *inner = location
        value: Any = row.get(key)
        if inner and isinstance(value, Mapping):
            value = value.get(inner[0])
        if isinstance(value, types):
            unreadable.append(_set_aside(model, row, location))
        elif type(value).__name__ == "Decimal128" and not inner:  # --help does without bson
            number = value.to_decimal()
            if not number.is_finite() or abs(number) >= _TOO_LARGE:
                unreadable.append(_set_aside(model, row, location))
            else:
                row[key] = number
    return unreadable


def _set_aside(model: type[BaseModel], row: dict[str, Any], location: tuple[int | str, ...]) -> str:
    """Take a value out of a row, and return the name of its field."""
    key, *inner = map(str, location)
    name, field = _fields(model)[key]
    value = row.pop(key, None)
    if inner and isinstance(value, Mapping) and inner[0] in value:  # a field of the task, say
        row[key] = {other: value[other] for other in value if other != inner[0]}
        return f"{name}.{inner[0]}"
    if field.is_required():
        row[key] = _stand_in(field.annotation, value)
    return name


def _stand_in(annotation: Any, value: object) -> object:
    if type(None) in get_args(annotation):
        return None
    if not (isinstance(annotation, type) and issubclass(annotation, str)):
        return 0
    return UNKNOWN if value is None or issubclass(annotation, OpenEnum) else str(value)


@cache
def _fields(model: type[BaseModel]) -> dict[str, tuple[str, FieldInfo]]:
    """Return the fields by the keys that a row may have for them."""
    fields = model.model_fields.items()
    return {key: (name, field) for name, field in fields for key in (name, field.alias) if key}


@cache
def _texts(model: type[BaseModel]) -> frozenset[str]:
    """Return the keys of what has to be a text, which BSON's Code is for pydantic, too."""
    fields = _fields(model).items()
    held = {key: {field.annotation, *get_args(field.annotation)} for key, (_, field) in fields}
    return frozenset(
        key
        for key, kinds in held.items()
        if any(isinstance(kind, type) and issubclass(kind, str) for kind in kinds)
    )


@cache
def _misread(model: type[BaseModel]) -> list[tuple[tuple[str, ...], _Types]]:
    """Return for each number and date, also of a model in it, what must not be taken for one."""
    never: list[tuple[tuple[str, ...], _Types]] = []
    for key, (_, field) in _fields(model).items():
        kinds = {field.annotation, *get_args(field.annotation)}
        kinds |= {inner for kind in kinds for inner in get_args(kind)}
        if not kinds.isdisjoint({int, float}):
            never.append(((key,), (str, bytes, bool)))
        elif datetime in kinds:
            never.append(((key,), (int, float)))
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                never += [((key, *inner), types) for inner, types in _misread(kind)]
    return never
