"""The arguments of the recording calls: checked, and made what the document holds.

A wrong one is a mistake (raised in strict mode, else logged once), and is recorded as far as
possible.
"""

import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from itertools import islice
from types import NoneType
from typing import Any

import uuid_utils

from llm_audit.call import TAGS, AtMost, LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.context import (
    NOWHERE,
    CallContext,
    identifier,
    merge_metadata,
    type_of_call,
    unite_tags,
)
from llm_audit.encoding.absent import PLAIN, is_absent, without_absent
from llm_audit.encoding.iterators import rereadable
from llm_audit.encoding.safe_text import safe_repr, text
from llm_audit.errors import UsageError, let_through
from llm_audit.gate import shortened
from llm_audit.ids import new_call_id
from llm_audit.open_enum import NAME_MAX_CHARACTERS as TYPE_MAX_CHARACTERS
from llm_audit.settings import report_mistake

_CALL_ID_TYPES = (str, uuid.UUID, uuid_utils.UUID)

CALL_ID_MAX_CHARACTERS = 128
NAME_MAX = AtMost().characters  # of ids, and of names of models, reasons and the like
_TAGS_MAX = TAGS.items
_INT64 = 2**63
ITEMS_MAX = 100_000  # that are copied out of what is no list
_CALL_TYPES = frozenset(kind.value for kind in LLMCallTypeEnum)


def checked(
    given: Mapping[str, Any], otherwise: dict[str, Any], doubts: list[str] | None = None
) -> dict[str, Any]:
    """Return arguments as what is stored of them; those that say nothing are left out.

    Args:
        given: Arguments, each under the name of its field.
        otherwise: Is given what cannot be stored in its own field.
        doubts: Is told of fields that may not hold what they have to, see `gate`.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            usual, most, careful = _ARGUMENTS[name]
            kind = type(value)
            if kind is usual and value:
                fields[name] = value
                # a number that is none counts nothing
                if most and (len(value) > most if kind is str else value - value != 0):
                    _doubt(name, doubts)
                continue
            if kind not in PLAIN and is_absent(value):
                continue
            try:
                kept = careful(name, value, otherwise)
            except UsageError:
                raise
            except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
                let_through(error)
                kept = careful(name, safe_repr(value), otherwise)
            if kept is not None:
                fields[name] = kept
                if type(kept) is _Unsure or (type(kept) is str and len(kept) > NAME_MAX):
                    _doubt(name, doubts)
    return fields


def _doubt(name: str, doubts: list[str] | None) -> None:
    if doubts is not None:
        doubts.append(name)


def start_fields(
    given: dict[str, Any],
    request_params: dict[str, Any],
    context: CallContext,
    doubts: list[str] | None = None,
) -> dict[str, Any]:
    """Return the fields of a call's start: what was given, and what the context adds.

    Args:
        given: The arguments of `LLMLogger.start`, each under the name of its field.
        request_params: Its other arguments; what cannot be stored in its own field is added.
        context: What the call inherits.
        doubts: Is told of fields that may not hold what they have to, see `gate`.
    """
    if request_params:
        request_params = without_absent(request_params)
    if given.get("call_type", "") is None:  # who starts a call asks for it
        given["call_type"] = context.call_type or LLMCallTypeEnum.CHAT
    fields = checked(given, request_params, doubts)
    if request_params:
        fields["request_params"] = request_params
    if context is not NOWHERE:
        inherit(fields, context, doubts)
    return fields


def inherit(fields: dict[str, Any], context: CallContext, doubts: list[str] | None = None) -> None:
    """Add what the context knows: ids that are not given, and its own tags and metadata.

    Args:
        fields: Of a call's start.
        context: What the call inherits.
        doubts: Is told of fields that may not hold what they have to, see `gate`.
    """
    for name, inherited in context.said.items():
        if name not in fields:
            fields[name] = inherited
    if context.tags:
        fields["tags"] = list(dict.fromkeys((*context.tags, *fields.get("tags", ()))))
    if context.notes:
        fields["encoding_notes"] = list(context.notes)
    if context.metadata:
        fields["metadata"] = {**context.metadata, **fields.get("metadata", {})}
    if not context.fits or (context.tags and len(fields["tags"]) > _TAGS_MAX):
        _doubt("context", doubts)


def call_identifier(value: object) -> str:
    """Return the id of a call that `start` returned; anything else becomes a call of its own."""
    if call_id := known_identifier(value):
        return call_id
    kind = type(value)
    given = "an empty str" if issubclass(kind, str) else kind.__name__
    report_mistake(
        f"call_id has to be what LLMLogger.start returned, not {given}; the outcome is recorded as "
        "a call of its own."
    )
    return new_call_id()[0]


def known_identifier(value: object) -> str:
    """Return the id of a call that `start` returned; of anything else an empty text.

    Whoever passes on ids from outside may get anything: what is too long is cut as names are, and
    what cannot be printed is written out.
    """
    kind = type(value)  # not isinstance: a mock may claim any __class__
    call_id = ""
    if issubclass(kind, str):
        call_id = str.__str__(value)
    elif issubclass(kind, _CALL_ID_TYPES):
        call_id = text(value)
    if len(call_id) <= CALL_ID_MAX_CHARACTERS and call_id.isprintable():
        return call_id
    some = shortened(call_id, CALL_ID_MAX_CHARACTERS)
    printable = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in some)
    return shortened(printable, CALL_ID_MAX_CHARACTERS)


def call_type(name: str, value: object, otherwise: dict[str, Any]) -> str:
    """Return a call type; what is none is kept in `otherwise`, under its name.

    A text that is too long is cut, and anything else is OTHER.
    """
    if (type(value) is str and value in _CALL_TYPES) or isinstance(value, LLMCallTypeEnum):
        return value
    kept, whole = type_of_call(value)
    if not whole:
        otherwise[name] = value
        report_mistake(
            f"{name} has to be a text of 1 to {TYPE_MAX_CHARACTERS} characters, not %s; as much of "
            "it as fits is recorded, or OTHER, and request_params has it whole.",
            value,
        )
    return kept


def terminal_status(value: object, meant: LLMCallStatusEnum) -> LLMCallStatusEnum:
    """Return a terminal status; anything else becomes the one that is meant."""
    if value is meant:
        return meant
    name = text(value.value if isinstance(value, Enum) else value).upper()
    if name in LLMCallStatusEnum and name != LLMCallStatusEnum.PENDING:
        return LLMCallStatusEnum(name)
    terminal = ", ".join(s for s in LLMCallStatusEnum if s is not LLMCallStatusEnum.PENDING)
    report_mistake(
        f"status %s is not terminal: give one of {terminal}; {meant} is recorded.",
        value,
    )
    return meant


def array(name: str, value: object, otherwise: dict[str, Any]) -> list[Any] | None:
    """Return a list as it is, and what else holds items as a list of them.

    What can be read only once is the app's to read, and what never ends is nobody's; they are kept
    in `otherwise`, under their name.
    Anything that holds no items becomes the list's one element.
    """
    if type(value) is list:
        return value
    items = rereadable(value)
    if items is not None and len(copied := list(islice(items, ITEMS_MAX + 1))) <= ITEMS_MAX:
        return copied
    if items is not None or issubclass(type(value), Iterator):
        otherwise[name] = value
        return None
    report_mistake(f"{name} has to be a list, not {type(value).__name__}; it is stored as one.")
    if name == "messages" and isinstance(value, str):
        return [{"role": "user", "content": value}]
    return [value]


def number(name: str, value: Any, otherwise: dict[str, Any]) -> float | None:
    """Return a number that counts; what is none is kept in `otherwise`, under its name."""
    kind = type(value)  # not isinstance: a mock may claim any __class__
    if (issubclass(kind, float) and math.isfinite(value)) or (
        issubclass(kind, int) and kind is not bool and -_INT64 <= value < _INT64
    ):
        return value  # type: ignore[no-any-return]
    otherwise[name] = value
    return None


def whole_number(name: str, value: Any, otherwise: dict[str, Any]) -> int | None:
    """Return a whole number; what is none is kept in `otherwise`, under its name."""
    given = number(name, value, otherwise)
    if isinstance(given, float):
        if given.is_integer() and -_INT64 <= given < _INT64:
            return int(given)
        otherwise[name] = given
        return None
    return given


def milliseconds(name: str, value: Any, _: dict[str, Any]) -> float | None:
    """Return a duration; what is no number is left out."""
    otherwise: dict[str, Any] = {}
    given = number(name, value, otherwise)
    if otherwise:
        report_mistake(
            f"{name} has to be a number of milliseconds, not {type(value).__name__}; it is left "
            "out."
        )
    return given


class _Unsure(list[str]):
    """Tags that may be too many or too long."""


def tags(_: str, value: Any, __: dict[str, Any]) -> list[str] | None:
    """Return tags as a list of str, each once; where there are none, nothing."""
    if type(value) is list and len(value) <= _TAGS_MAX:
        for tag in value:
            if type(tag) is not str or len(tag) > NAME_MAX:
                break
        else:
            return list(dict.fromkeys(value)) or None
    return _Unsure(unite_tags((), value)) or None


def metadata(_: str, value: Any, __: dict[str, Any]) -> dict[str, Any] | None:
    """Return metadata as a dict; where there is none, nothing."""
    return dict(merge_metadata({}, value)) or None


def anything(_: str, value: Any, __: dict[str, Any]) -> Any:
    """Return what is stored as it is given."""
    return value


def _identifier(name: str, value: object, _: dict[str, Any]) -> str | None:
    return identifier(name, value)


def _name(_: str, value: object, __: dict[str, Any]) -> str | None:
    return text(value) or None


_A_NUMBER = 1  # and not NaN
# Each argument's usual type, of which it is stored as it is unless it is empty; what it has to be,
# so long, a number, or anything for 0; and what makes of all else what is stored, or None.
_ARGUMENTS: dict[str, tuple[type, int, Callable[[str, Any, dict[str, Any]], Any]]] = {
    "call_type": (LLMCallTypeEnum, 0, call_type),
    **dict.fromkeys(("provider", "model", "captured_by"), (str, NAME_MAX, _name)),
    **dict.fromkeys(("messages", "tools"), (list, 0, array)),
    **dict.fromkeys(("input", "system_prompt", "tool_choice"), (str, 0, anything)),
    **dict.fromkeys(("response_message", "response", "tokens"), (dict, 0, anything)),
    **dict.fromkeys(("estimated_cost", "status", "error"), (NoneType, 0, anything)),
    **dict.fromkeys(("trace_id", "session_id", "user_id"), (str, NAME_MAX, _identifier)),
    **dict.fromkeys(("company_id", "parent_call_id"), (str, NAME_MAX, _identifier)),
    **dict.fromkeys(("review_id", "task_id"), (str, NAME_MAX, _identifier)),
    "tags": (NoneType, 0, tags),
    "metadata": (dict, 0, metadata),
    "temperature": (float, _A_NUMBER, number),
    "max_tokens": (int, 0, whole_number),
    **dict.fromkeys(("finish_reason", "response_model"), (str, NAME_MAX, _name)),
    "response_id": (str, NAME_MAX, _name),
    "time_to_first_token_ms": (float, _A_NUMBER, milliseconds),
}
