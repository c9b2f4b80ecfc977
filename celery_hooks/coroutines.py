"""Tasks that are coroutine functions: Celery does not run their bodies, and hardly says so."""

import inspect
from typing import Any

from celery import Celery
from celery._state import _get_active_apps
from celery.worker.consumer import Consumer

from llm_audit.errors import log_once


def watch(app: Celery | None) -> None:
    """Warn of such tasks of an app, or of every app for None, as soon as they are registered.

    That is now, or when the app is finalised, or when a worker has imported everything.
    """
    for known in _get_active_apps() if app is None else [app]:
        if known.finalized:
            _look(known)
        else:
            known.on_after_finalize.connect(_look, weak=False, dispatch_uid=__name__)


def unwatch() -> None:
    """Warn no more."""
    for known in _get_active_apps():
        known.on_after_finalize.disconnect(_look, dispatch_uid=__name__)


def look_in_worker(sender: Any, **_: Any) -> None:
    """Warn of those that a worker has imported, in its `worker_ready`."""
    if isinstance(sender, Consumer):
        _look(sender.app)


def _look(sender: Celery, **_: Any) -> None:
    for name, task in sender.tasks.items():
        body = inspect.unwrap(task.run)
        if inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(body):
            log_once(
                f"Task {name} is `async def`: Celery does not run its body. It fails with an "
                "EncodeError, or with ignore_result=True succeeds without having done anything. "
                "Write `def`, and run the coroutine in it, with asyncio.run(...) or in a loop that "
                "the worker process keeps."
            )
