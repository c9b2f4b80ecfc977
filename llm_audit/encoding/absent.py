"""What clients put where an argument was not given: `NOT_GIVEN`, `omit`, `Unset`, `...`.

Such a value stands for nothing, the client sends nothing for it, and so nothing is stored.
"""

from types import EllipsisType, NoneType
from typing import Any

from llm_audit.encoding.safe_text import type_name
from llm_audit.errors import let_through

# By name, without underscores and "Type": no client is imported, and each has classes of its own.
# openai, anthropic, groq, litellm: NotGiven, Omit. mistralai, msgspec: Unset. httpx:
# UseClientDefault. pydantic: PydanticUndefined, Sentinel. Others: NotSet, Missing.
_NAMES = frozenset(
    {
        *("notgiven", "omit", "omitted", "unset", "notset", "notprovided", "undefined", "missing"),
        *("pydanticundefined", "useclientdefault", "sentinel"),
    }
)
PLAIN = frozenset({str, int, float, bool, NoneType, dict, list, tuple})
"""Types of which no value says that; to look here first saves most calls of `is_absent`."""


def is_absent(value: object) -> bool:
    """Tell whether a value says that nothing was given."""
    kind = type(value)
    if kind in PLAIN:
        return False
    if kind is EllipsisType:  # cohere's OMIT
        return True
    name = type_name(value).lower().replace("_", "").removesuffix("type")
    return name in _NAMES and not _holds_anything(value)


def without_absent(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given."""
    return {
        name: value for name, value in given.items() if type(value) in PLAIN or not is_absent(value)
    }


def _holds_anything(value: object) -> bool:
    """Tell whether it has content, as a user's own class of such a name may."""
    kind = type(value)
    if issubclass(kind, (str, bytes, int, float, BaseException)) or hasattr(kind, "__len__"):
        return True
    slots = (slot for base in kind.__mro__ for slot in base.__dict__.get("__slots__", ()))
    try:
        names = (*slots, *getattr(value, "__dict__", ()))
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        return True
    return any(not name.startswith("_") for name in names)
