"""`audit_context`: what all calls in a block, or in a function, have in common."""

from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Never, ParamSpec, TypeVar

from llm_audit.context.frames import Frame, Run, Stay, current_context, innermost
from llm_audit.context.functions import wrapped
from llm_audit.context.inherited import CallContext, SharedTrace, identifier, type_of_call
from llm_audit.encoding.absent import is_absent
from llm_audit.errors import let_through
from llm_audit.misspelt import report_unknown
from llm_audit.settings import report_mistake

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class AuditContext:
    """A block, or a decorator, whose calls have something in common; made by `audit_context`."""

    def __init__(
        self,
        given: Mapping[str, object],
        tags: Iterable[str],
        metadata: Mapping[str, Any] | None,
        *,
        one_trace: bool,
        unknown: Mapping[str, object],
    ) -> None:
        self._given = given
        self._tags = tags
        self._metadata = metadata
        self._one_trace = one_trace
        self._unknown = unknown
        self._stays: dict[Frame, Stay] = {}

    def __enter__(self) -> CallContext:
        """Put the context in force; return it."""
        context = self._context()
        stay = Stay(context)
        self._stays[stay.frame] = stay
        return context

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Put back what was in force before."""
        stay = self._stays.pop(innermost(), None) or self._stays.popitem()[1]
        stay.end(kind)

    def __call__(self, function: F) -> F:
        """Return a function of which each call runs in such a context.

        It may be a coroutine function, a generator function or both. A generator has one context
        from its first step to its last, which is in force only while its own code runs.

        Args:
            function: Any; a method, too.
        """
        return wrapped(function, lambda *_: Run(self._context()))

    def _context(self) -> CallContext:
        """Return the context that is in force inside, where this is called outside.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        if self._unknown:
            report_unknown(audit_context, self._unknown)
        outer = current_context()
        inner = outer.extended(
            tags=() if is_absent(self._tags) else self._tags,
            metadata=None if is_absent(self._metadata) else self._metadata,
            **{
                name: _type(value) if name == "call_type" else identifier(name, value)
                for name, value in self._given.items()
                if value is not None and not is_absent(value)
            },
        )
        return replace(inner, shared=(outer.shared or SharedTrace()) if self._one_trace else None)


def audit_context(
    *,
    call_type: object = None,
    trace_id: object = None,
    session_id: object = None,
    user_id: object = None,
    company_id: object = None,
    parent_call_id: object = None,
    review_id: object = None,
    task_id: object = None,
    tags: Iterable[str] = (),
    metadata: Mapping[str, Any] | None = None,
    one_trace: bool = True,
    **unknown: Never,
) -> AuditContext:
    """Let every call made inside inherit these ids, tags and metadata, and its type.

    Use it with `with`, which gives the context now in force, or as a decorator of any function. A
    block is a unit of work: where no trace is named, the calls and tasks in it share one, named
    after the first of them. Blocks nest: ids replace the outer ones, tags unite, metadata merge,
    and the trace is the outer one's. Use `with` around a request, not across a `yield` of a
    generator: there the decorator is right.
    Ids may be str, UUID or int; they are stored as str.

    Args:
        call_type: What calls are made for that do not say so themselves; captured ones never do.
        trace_id: Joins the calls of one request or one canvas; by default the block has its own.
        session_id: Joins the turns of one conversation.
        user_id: Whom the calls are made for.
        company_id: The tenant.
        parent_call_id: The call that caused these.
        review_id: The review that the calls are about.
        task_id: The job of a task queue; Celery's is known by itself where `celery_hooks` is
            installed.
        tags: Labels to filter by.
        metadata: Anything else worth keeping, by name.
        one_trace: False where the calls in the block are no unit of work, as around a backfill:
            then each has a trace of its own, unless one is named.
        **unknown: Nothing: a misspelt argument is a mistake, and is left out.
    """
    given = {
        "call_type": call_type,
        "trace_id": trace_id,
        "session_id": session_id,
        "user_id": user_id,
        "company_id": company_id,
        "parent_call_id": parent_call_id,
        "review_id": review_id,
        "task_id": task_id,
    }
    return AuditContext(given, tags, metadata, one_trace=one_trace, unknown=unknown)


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


def _type(value: object) -> object:
    try:
        kind, whole = type_of_call(value)
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        kind, whole = None, False
    if not whole:
        report_mistake("call_type has to be a text of 1 to 64 characters, not %s.", value)
    return kind
