"""One run of a task's body is an attempt: calls made in it carry the task, and end with it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import llm_audit
from celery_hooks import batches, installed, propagation, received
from celery_hooks.task_fields import task_fields
from llm_audit import causes
from llm_audit.context import CallContext, Frame, current_context, enter, enter_lazily, put_back
from llm_audit.errors import let_through, log_once
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from celery import Task

_ATTRIBUTE = "llm_audit_attempt"


@dataclass(slots=True, repr=False)
class Attempt:
    """A task's body that is running now; kept at its request, which users may print and pickle."""

    attempt_id: str
    frame: Frame
    error: BaseException | None = None
    ended_by: str | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Be pickled as None: an attempt is of this process."""
        return type(None), ()


def begin(task: "Task", task_id: str, args: Sequence[Any] = (), **_: Any) -> None:
    """Put the task into the context in which its body is about to run."""
    if installed.options_of(task.app) is None:
        return
    request = task.request
    attempt_id = received.attempt_of(request) or str(uuid4())
    # Celery before 5.6.3 takes the chain apart before it publishes what follows
    canvas_id = propagation.canvas_id_of(request) if request.chain else None
    outermost = _outermost() if request.is_eager else {}
    messages = batches.messages_of(request, args)

    def context() -> CallContext:
        fields = {"attempt_id": attempt_id}
        inherited = CallContext()
        try:
            if messages:
                return batches.context_of_all(messages, task_id, attempt_id)
            fields = task_fields(task.name, request, attempt_id) | outermost
            inherited = propagation.inherited(request, canvas_id)
        except BaseException as error:  # noqa: BLE001  (whatever a message may hold)
            let_through(error)
            log_once(f"The context of a task could not be read: {type(error).__name__}.")
        return replace(inherited, task_id=task_id, task=fields)

    # most tasks make no call; one that runs in place inherits from what is in force now
    frame = enter(context()) if request.is_eager else enter_lazily(context)
    setattr(request, _ATTRIBUTE, Attempt(attempt_id, frame))


def note_failure(sender: "Task", exception: BaseException | None = None, **_: Any) -> None:
    """Keep the exception that the body raised until the attempt ends."""
    attempt = _current(sender)
    if attempt is not None:
        attempt.error = exception


def note_retry(sender: "Task", reason: Any = None, **_: Any) -> None:
    """Keep that the attempt ends in a retry, and why."""
    attempt = _current(sender)
    if attempt is not None:
        attempt.error = getattr(reason, "exc", None)
        attempt.ended_by = causes.TASK_RETRY


def end(task: "Task", state: str | None = None, **_: Any) -> None:
    """Leave the task's context, and end the calls that its body left open."""
    request = task.request
    attempt: Attempt | None = getattr(request, _ATTRIBUTE, None)
    if attempt is None:
        return
    delattr(request, _ATTRIBUTE)
    put_back(attempt.frame)  # a generator that the body keeps may have left its context open
    if attempt.frame.context is None:
        return  # no call was made in it
    # no state: a BaseException (a cold shutdown, a time limit) is ending the body right now
    error = sys.exc_info()[1] if state is None else attempt.error
    llm_audit.LLMLogger.end_open_calls(attempt.attempt_id, error=error, ended_by=attempt.ended_by)
    options = installed.options_of(task.app)
    if options is not None and options.flush:
        llm_audit.flush(get_settings().exit_timeout_seconds)


def _current(task: "Task") -> Attempt | None:
    return getattr(getattr(task, "request", None), _ATTRIBUTE, None)


def _outermost() -> dict[str, Any]:
    """Return the task in whose body another one runs in place, with which the calls of both end."""
    context = current_context()
    task = context.task or {}
    known = {
        "outer_task_id": task.get("outer_task_id", context.task_id),
        "outer_attempt_id": task.get("outer_attempt_id", task.get("attempt_id")),
    }
    return {name: value for name, value in known.items() if value is not None}
