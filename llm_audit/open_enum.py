"""Enums of strings that take a name which is not declared, and treat it like a member."""

from enum import EnumMeta, StrEnum
from typing import Any, Self

from pydantic import GetJsonSchemaHandler

NAME_MAX_CHARACTERS = 64


class _DeclaredOnly(EnumMeta):
    """Lets `in` and iteration agree, in every Python: both know the declared names only."""

    def __contains__(cls, value: object) -> bool:
        return isinstance(value, str) and value in cls._value2member_map_


class OpenEnum(StrEnum, metaclass=_DeclaredOnly):
    """A StrEnum whose `cls("ANY_NAME")` gives a member for any name of 1 to 64 characters.

    Names are in capitals. One that is not declared is made anew each time and kept nowhere, so
    that a stream of new names fills no memory; compare with `==`, as with any str.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        name = str.__str__(value).upper()
        declared = cls._value2member_map_.get(name)
        if declared is not None:
            return declared  # type: ignore[return-value]  # typeshed has Enum here
        if not name.strip() or len(name) > NAME_MAX_CHARACTERS:
            return None
        member = str.__new__(cls, name)
        member._name_ = member._value_ = name
        return member

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Name the declared ones to clients without forbidding others."""
        return {
            "anyOf": [handler(core_schema), {"type": "string", "maxLength": NAME_MAX_CHARACTERS}]
        }
