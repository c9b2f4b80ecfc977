"""Why a worker's main process ended a task: a time limit, a lost child, a revoke, a shutdown.

The child cannot tell these apart, or has no time to. The main process gets to know through signals,
all but one: a cold shutdown says nothing of the tasks it cancels, so the method of the consumer
that cancels them is wrapped. Where it is missing, their calls are closed for a less telling cause.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, ClassVar

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.concurrency import solo
from celery.worker import state
from celery.worker.consumer import Consumer

from celery_hooks import received
from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import log_once
from llm_audit.lifecycle import end_calls_of_task
from llm_audit.logger import LLMLogger

_UID = "llm_audit.verdicts"
_CANCEL = ("cancel_active_requests", "cancel_all_unacked_requests")  # the second before Celery 5.6


class _Main:
    """What this process knows as a worker's main process."""

    pid: int | None = None  # its forked children know it too, and are not it
    is_green = False
    is_solo = False
    unwrapped: ClassVar[dict[str, Callable[..., Any]]] = {}


def connect() -> None:
    """Follow the tasks that this process hands to its pool."""
    signals.worker_ready.connect(_note_pool, weak=False, dispatch_uid=_UID)
    signals.task_failure.connect(_failed, weak=False, dispatch_uid=_UID)
    signals.task_retry.connect(_retried, weak=False, dispatch_uid=_UID)
    signals.task_revoked.connect(_revoked, weak=False, dispatch_uid=_UID)
    for name in _CANCEL:
        cancel = getattr(Consumer, name, None)
        if cancel is not None and name not in _Main.unwrapped:
            _Main.unwrapped[name] = cancel
            setattr(Consumer, name, _cancelling(cancel))


def disconnect() -> None:
    """Follow none any more."""
    signals.worker_ready.disconnect(_note_pool, dispatch_uid=_UID)
    signals.task_failure.disconnect(_failed, dispatch_uid=_UID)
    signals.task_retry.disconnect(_retried, dispatch_uid=_UID)
    signals.task_revoked.disconnect(_revoked, dispatch_uid=_UID)
    while _Main.unwrapped:
        setattr(Consumer, *_Main.unwrapped.popitem())


def _note_pool(sender: Consumer, **_: Any) -> None:
    _Main.pid = os.getpid()
    _Main.is_green = bool(sender.pool.is_green)
    _Main.is_solo = isinstance(sender.pool, solo.TaskPool)


def _failed(task_id: str, exception: BaseException | None = None, **_: Any) -> None:
    if isinstance(exception, TimeLimitExceeded):
        _pass_verdict(task_id, exception)
    elif isinstance(exception, WorkerLostError):
        _lost(task_id, exception)


def _retried(request: Any, reason: Any = None, **_: Any) -> None:
    """Hear of a lost child whose task Celery publishes again."""
    error = getattr(reason, "exc", None)
    if isinstance(error, WorkerLostError):
        _lost(request.id, error)


def _revoked(request: Any, *, terminated: bool = False, signum: Any = None, **_: Any) -> None:
    if terminated:
        _pass_verdict(
            request.id,
            Terminated(f"The task was revoked ({signum})."),
            status=LLMCallStatusEnum.CANCELLED,
            ended_by="revoked",
        )


def _lost(task_id: str, error: WorkerLostError) -> None:
    request = received.request_of(task_id)
    if request is not None and request.worker_pid != os.getpid() and not _Main.is_green:
        _pass_verdict(task_id, error, status=LLMCallStatusEnum.ABANDONED)


def _cancelling(cancel: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(cancel)
    def cancelling(consumer: Consumer, *args: Any, **kwargs: Any) -> Any:
        try:
            _shut_down()
        except Exception as error:  # noqa: BLE001  (unlike a signal's, it would stop the shutdown)
            log_once(f"That the worker shuts down could not be recorded: {type(error).__name__}.")
        return cancel(consumer, *args, **kwargs)

    return cancelling


def _shut_down() -> None:
    for request in tuple(state.active_requests):
        _pass_verdict(
            request.id,
            Terminated("The worker was shut down before the task ended."),
            status=LLMCallStatusEnum.CANCELLED,
            ended_by="shutdown",
        )
    if _Main.is_solo:  # where Celery cancels by an exception in the task, and says not why
        LLMLogger.end_open_calls(None, ended_by="shutdown")


def _pass_verdict(
    task_id: str,
    error: BaseException,
    *,
    status: LLMCallStatusEnum | None = None,
    ended_by: str | None = None,
) -> None:
    request = received.request_of(task_id)
    if os.getpid() != _Main.pid or request is None or not request.time_start:
        return
    end_calls_of_task(
        task_id,
        error,
        # green pools name a greenlet there
        pid=_Main.pid if _Main.is_green else request.worker_pid,
        since=request.time_start,
        status=status,
        ended_by=ended_by,
    )
