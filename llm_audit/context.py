"""What every call inherits from where it is made: ids, tags, metadata, and the Celery task."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Never, ParamSpec, TypeVar

import uuid_utils

from llm_audit.encoding.absent import is_absent
from llm_audit.encoding.safe_text import safe_repr, text
from llm_audit.errors import UsageError, let_through
from llm_audit.gate import fits
from llm_audit.misspelt import report_unknown
from llm_audit.settings import report_mistake

P = ParamSpec("P")
R = TypeVar("R")


TAGS_READ_MAX = 10_000  # far fewer are kept, but what gives them may never end
_ID_TYPES = (str, int, uuid.UUID, uuid_utils.UUID)
INHERITED = (
    *("trace_id", "session_id", "user_id", "company_id", "parent_call_id"),
    *("task_id", "task"),
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
    task_id: str | None = None
    task: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    shared: SharedTrace | None = field(default=None, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    cut: tuple[str, ...] = field(default=(), compare=False, repr=False)
    _fits: bool | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def fits(self) -> bool:
        """Whether what a call inherits surely fits into its fields; looked at once."""
        if self._fits is None:
            said = {name: getattr(self, name) for name in INHERITED}
            found = fits({name: value for name, value in said.items() if value is not None})
            object.__setattr__(self, "_fits", found and fits({"tags": list(self.tags)}))
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


@dataclass(eq=False, slots=True)
class Frame:
    """A context in force, inside another; what `enter` gives and `leave` takes."""

    make: Callable[[], CallContext]
    outer: "Frame | None" = None
    context: CallContext | None = None  # None until somebody asks
    left_at: object = None


NOWHERE = CallContext()  # where nobody has set anything
_OUTERMOST = Frame(CallContext, context=NOWHERE)
_current: ContextVar[Frame] = ContextVar("llm_audit_context", default=_OUTERMOST)


def current_context() -> CallContext:
    """Return what a call made here would inherit."""
    frame = _current.get()
    if frame.context is None:
        frame.context = frame.make()
    return frame.context


def enter(context: CallContext) -> Frame:
    """Put a context in force here; hand the frame to `leave`."""
    frame = Frame(CallContext, context=context)
    put_in_force(frame)
    return frame


def enter_lazily(make: Callable[[], CallContext]) -> Frame:
    """Put a context in force here that is made when somebody asks for it; see `enter`.

    Args:
        make: Makes it; from several threads perhaps more than once, so each time the same.
    """
    frame = Frame(make)
    put_in_force(frame)
    return frame


def put_in_force(frame: Frame) -> None:
    """Put a frame in force here; hand it to `leave`."""
    frame.outer = _current.get()
    _current.set(frame)


def leave(frame: Frame) -> None:
    """Put back what was in force before `enter`.

    Generators may be left in another order than they were entered, and in another
    `contextvars.Context`: a frame that is not the innermost here is only marked, and stepped over
    when the one inside it is left in the same place.
    """
    if _current.get() is frame:
        put_back(frame)
    else:
        frame.left_at = _place()


def put_back(frame: Frame) -> None:
    """Put back what was in force before `enter`, also if something inside it was never left."""
    outer = frame.outer or _OUTERMOST
    while outer.outer is not None and outer.left_at is not None and outer.left_at == _place():
        outer = outer.outer
    _current.set(outer)


class _Over:
    """A stay that has ended.

    It has no `__del__`: an exception that strikes in one is lost.
    """

    _frame = _OUTERMOST

    def end(self) -> None:
        """Do nothing more."""


class Stay(_Over):
    """A context that is in force until `end`, or until nobody holds this any more.

    A time limit may strike where a block has been entered and nobody can leave it yet.
    """

    def __init__(self, context: CallContext) -> None:
        self._frame = Frame(CallContext, context=context)
        put_in_force(self._frame)

    def end(self) -> None:
        """Put back what was in force before."""
        try:
            leave(self._frame)
        except BaseException:
            leave(self._frame)
            raise
        self.__class__ = _Over  # type: ignore[assignment]

    def __del__(self) -> None:
        leave(self._frame)


def _place() -> object:
    """Name the thread or asyncio task that is running."""
    try:
        task = asyncio.current_task()
    except RuntimeError as error:
        let_through(error)
        task = None
    return task or threading.get_ident()


@contextmanager
def audit_context(
    *,
    trace_id: object = None,
    session_id: object = None,
    user_id: object = None,
    company_id: object = None,
    parent_call_id: object = None,
    task_id: object = None,
    tags: Iterable[str] = (),
    metadata: Mapping[str, Any] | None = None,
    one_trace: bool = True,
    **unknown: Never,
) -> Generator[CallContext]:
    """Let every call made inside the block inherit these ids, tags and metadata.

    A block is a unit of work: where no trace is named, the calls and tasks in it share one, named
    after the first of them. Blocks nest: ids replace the outer ones, tags unite, metadata merge,
    and the trace is the outer one's. Use it around a request, not across a `yield` of a generator.
    Ids may be str, UUID or int; they are stored as str.

    Args:
        trace_id: Joins the calls of one request or one canvas; by default the block has its own.
        session_id: Joins the turns of one conversation.
        user_id: Whom the calls are made for.
        company_id: The tenant.
        parent_call_id: The call that caused these.
        task_id: The job of a task queue; Celery's is known by itself where `celery_hooks` is
            installed.
        tags: Labels to filter by.
        metadata: Anything else worth keeping, by name.
        one_trace: False where the calls in the block are no unit of work, as around a backfill:
            then each has a trace of its own, unless one is named.
        **unknown: Nothing: a misspelt argument is a mistake, and is left out.

    Yields:
        The context now in force.
    """
    if unknown:
        report_unknown(audit_context, unknown)
    ids = {
        "trace_id": trace_id,
        "session_id": session_id,
        "user_id": user_id,
        "company_id": company_id,
        "parent_call_id": parent_call_id,
        "task_id": task_id,
    }
    outer = current_context()
    inner = outer.extended(
        tags=() if is_absent(tags) else tags,
        metadata=None if is_absent(metadata) else metadata,
        **{
            name: identifier(name, value)
            for name, value in ids.items()
            if value is not None and not is_absent(value)
        },
    )
    shared = (outer.shared or SharedTrace()) if one_trace else None
    context = replace(inner, shared=shared)
    stay = Stay(context)
    try:
        yield context
    finally:
        stay.end()


def carry_context(function: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the context of here, for a thread that would not inherit it.

    Threads start with an empty context before Python 3.14:
    `executor.submit(carry_context(work), item)`. Each call runs in a copy of its own.

    Args:
        function: What the thread will run.

    Returns:
        The same function, run in the context in which `carry_context` was called.
    """
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return carried


def identifier(name: str, value: object) -> str | None:
    """Return an id as str; str, int and UUIDs are ids, an empty one is none."""
    if not issubclass(type(value), _ID_TYPES):  # not isinstance: that asks foreign code
        report_mistake(f"{name} has to be a str, a UUID or an int, not {type(value).__name__}.")
    return text(value) or None


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
