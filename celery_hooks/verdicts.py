"""Why a worker's main process ended a task: a time limit, a lost child, a revoke, a shutdown.

The child cannot tell these apart, or has no time to. The main process gets to know through signals,
all but one: a cold shutdown says nothing of the tasks it cancels, so the method of the consumer
that cancels them is wrapped. Where it is missing, their calls are closed for a less telling cause.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.app.task import Context
from celery.concurrency import solo
from celery.concurrency.base import BasePool
from celery.worker import state
from celery.worker.request import Request

from celery_hooks import received
from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import log_once
from llm_audit.lifecycle import end_calls_of_attempt
from llm_audit.logger import LLMLogger

if TYPE_CHECKING:
    from celery.worker.consumer import Consumer

_CANCEL = ("cancel_active_requests", "cancel_all_unacked_requests")  # the second before Celery 5.6
_unwrapped: dict[str, Callable[..., Any]] = {}


def wrap_cancelling(**_: Any) -> None:
    """Listen to a cold shutdown, of which no signal tells; once there is a worker."""
    consumer = sys.modules.get("celery.worker.consumer")
    if consumer is None:
        return
    for name in _CANCEL:
        cancel = getattr(consumer.Consumer, name, None)
        if cancel is not None and name not in _unwrapped:
            _unwrapped[name] = cancel
            setattr(consumer.Consumer, name, _cancelling(cancel))


def unwrap_cancelling() -> None:
    """Undo `wrap_cancelling`."""
    while _unwrapped:
        setattr(sys.modules["celery.worker.consumer"].Consumer, *_unwrapped.popitem())


def task_failed(task_id: str, exception: BaseException | None = None, **_: Any) -> None:
    """Hear of a hard time limit, or of a lost child."""
    if isinstance(exception, TimeLimitExceeded):
        request = _the_one(task_id, _is_over)
        if request is not None:
            _end_calls(request, exception)
    elif isinstance(exception, WorkerLostError):
        _lost(task_id, exception)


def task_retried(request: Any, reason: Any = None, **_: Any) -> None:
    """Hear of a lost child whose task Celery publishes again."""
    error = getattr(reason, "exc", None)
    if isinstance(error, WorkerLostError):
        _lost(request.id, error)


def task_revoked(
    request: Context, *, terminated: bool = False, signum: Any = None, **_: Any
) -> None:
    """Hear of a revoke that ends a running task."""
    if terminated:
        _end_calls(
            request,
            Terminated(f"The task was revoked ({signum})."),
            status=LLMCallStatusEnum.CANCELLED,
            ended_by=causes.REVOKED,
        )


def _lost(task_id: str, error: WorkerLostError) -> None:
    request = _the_one(task_id, _has_lost_its_child)
    consumer = received.consumer()
    if request is None or consumer is None or consumer.pool.is_green:
        return
    if request.worker_pid != os.getpid():
        _end_calls(request, error, status=LLMCallStatusEnum.ABANDONED)


def _cancelling(cancel: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(cancel)
    def cancelling(consumer: "Consumer", *args: Any, **kwargs: Any) -> Any:
        try:
            _shut_down(consumer.pool)
        except Exception as error:  # noqa: BLE001  (unlike a signal's, it would stop the shutdown)
            log_once(f"That the worker shuts down could not be recorded: {type(error).__name__}.")
        return cancel(consumer, *args, **kwargs)

    return cancelling


def _shut_down(pool: BasePool) -> None:
    is_solo = isinstance(pool, solo.TaskPool)
    if not is_solo and pool.terminate_job.__func__ is BasePool.terminate_job:
        return  # threads, say: nothing ends their tasks
    for request in tuple(state.active_requests):
        _end_calls(
            request,
            Terminated("The worker was shut down before the task ended."),
            status=LLMCallStatusEnum.CANCELLED,
            ended_by=causes.SHUTDOWN,
        )
    if is_solo:  # where Celery cancels by an exception in the task, and says not why
        LLMLogger.end_open_calls(None, ended_by=causes.SHUTDOWN)


def _the_one(task_id: str, is_meant: Callable[[Request], bool]) -> Request | None:
    """Return the request of a task that runs; of several, a message may come twice, the one meant.

    None if that cannot be told: then the calls are closed by inference.
    """
    running = [request for request in received.requests_of(task_id) if request.time_start]
    if len(running) > 1:
        running = [request for request in running if is_meant(request)]
    return running[0] if len(running) == 1 else None


def _is_over(request: Request) -> bool:
    limit = (request.time_limits or (None,))[0] or request.task.time_limit
    return limit is not None and time.time() - request.time_start >= limit


def _has_lost_its_child(request: Request) -> bool:
    try:
        os.kill(request.worker_pid, 0)
    except OSError:
        return True
    return False


def _end_calls(
    request: Context | Request,
    error: BaseException,
    *,
    status: LLMCallStatusEnum | None = None,
    ended_by: str | None = None,
) -> None:
    attempt_id = received.attempt_of(request)
    if attempt_id is not None:
        end_calls_of_attempt(
            attempt_id, error, task_id=request.id, status=status, ended_by=ended_by
        )
