"""The ids, labels and task that a call inherits, and how what was given becomes them."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice
from typing import Any

import uuid_utils

from llm_audit.call import LLMCallTypeEnum
from llm_audit.encoding.safe_text import safe_repr, text
from llm_audit.errors import UsageError, let_through
from llm_audit.gate import fits
from llm_audit.open_enum import NAME_MAX_CHARACTERS
from llm_audit.settings import report_mistake

TAGS_READ_MAX = 10_000  # far fewer are kept, but what gives them may never end
_ID_TYPES = (str, int, uuid.UUID, uuid_utils.UUID)
INHERITED = (
    *("call_type", "trace_id", "session_id", "user_id", "company_id", "parent_call_id"),
    *("review_id", "task_id", "task"),
)


class SharedTrace:
    """The trace of all that is done in one `audit_context`; the first thing done there names it."""

    __slots__ = ("_name",)

    def __init__(self) -> None:
        self._name: dict[str, str] = {}

    def named_after(self, first: str) -> str:
        """Return its id, which is `first` if nobody has asked before."""
        return self._name.setdefault("trace_id", first)  # at once, whichever threads ask


@dataclass(frozen=True, slots=True)
class CallContext:
    """The ids, labels and task that a call made here inherits; immutable, so it may be shared.

    Its notes say what could not be read of them, `cut` what did not even travel here.
    """

    trace_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    company_id: str | None = None
    parent_call_id: str | None = None
    review_id: str | None = None
    call_type: LLMCallTypeEnum | None = None
    task_id: str | None = None
    task: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    shared: SharedTrace | None = field(default=None, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    cut: tuple[str, ...] = field(default=(), compare=False, repr=False)
    _said: Mapping[str, Any] | None = field(default=None, init=False, compare=False, repr=False)
    _fits: bool | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def attempt_id(self) -> str | None:
        """Of the task that is running, new for every run of its body; None outside of one."""
        return self.task.get("attempt_id") if self.task else None

    @property
    def said(self) -> Mapping[str, Any]:
        """What a call inherits where it says nothing itself, by field; put together once."""
        if self._said is None:
            given = {name: getattr(self, name) for name in INHERITED}
            said = {name: value for name, value in given.items() if value is not None}
            object.__setattr__(self, "_said", said)
            return said
        return self._said

    @property
    def fits(self) -> bool:
        """Whether what a call inherits surely fits into its fields; looked at once."""
        if self._fits is None:
            found = fits(self.said) and fits({"tags": list(self.tags)})
            object.__setattr__(self, "_fits", found)
        return bool(self._fits)

    def extended(
        self,
        *,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        **ids: Any,
    ) -> "CallContext":
        """Return a context inside this one: ids replace, tags unite, metadata merge."""
        return replace(
            self,
            tags=unite_tags(self.tags, tags),
            metadata=merge_metadata(self.metadata, metadata),
            **{name: value for name, value in ids.items() if value is not None},
        )


NOWHERE = CallContext()  # where nobody has set anything


def identifier(name: str, value: object) -> str | None:
    """Return an id as str; str, int and UUIDs are ids, an empty one is none."""
    if not issubclass(type(value), _ID_TYPES):  # not isinstance: that asks foreign code
        report_mistake(f"{name} has to be a str, a UUID or an int, not {type(value).__name__}.")
    return text(value) or None


def type_of_call(value: object) -> tuple[LLMCallTypeEnum, bool]:
    """Return a call type, and whether that says all that was given.

    A text that is too long is cut, and anything else is OTHER.
    """
    given = value.value if isinstance(value, Enum) else value
    kind = text(given).strip().upper() if issubclass(type(given), str) else ""
    kept = LLMCallTypeEnum(kind[:NAME_MAX_CHARACTERS] or LLMCallTypeEnum.OTHER)
    return kept, kept == kind


def unite_tags(outer: tuple[str, ...], inner: Iterable[str]) -> tuple[str, ...]:
    """Return the tags of both, each once, in the order they were first named."""
    try:
        if isinstance(inner, str) or not isinstance(inner, Iterable):
            named = _as_one_tag(inner) if inner else []
        else:
            named = [text(tag) for tag in islice(inner, TAGS_READ_MAX)]
    except UsageError:
        raise
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        named = [safe_repr(inner)]
    return tuple(dict.fromkeys((*outer, *named)))


def _as_one_tag(given: object) -> list[str]:
    report_mistake(
        f"tags has to be a list of str, not {type(given).__name__}; it is stored as one tag."
    )
    return [text(given)]


def merge_metadata(outer: Mapping[str, Any], inner: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the metadata of both; where they name the same, the inner counts."""
    if inner is None:
        return outer
    if not isinstance(inner, Mapping):
        report_mistake(
            f"metadata has to be a dict, not {type(inner).__name__}; it is stored as "
            "{'value': ...}."
        )
        inner = {"value": inner}
    try:
        return {**outer, **inner}
    except BaseException as error:  # noqa: BLE001  (a foreign mapping may raise anything)
        let_through(error)
        return {**outer, "value": safe_repr(inner)}
