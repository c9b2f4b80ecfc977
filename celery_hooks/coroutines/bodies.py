"""Which tasks are coroutine functions; each has a body that is run, or is warned of.

Celery calls `task.run`, and takes a coroutine for the result. So the coroutine is run where the
function itself is called, inside everything that Celery and others wrap around it: a retry, a span
or an app context begins and ends as it does around a plain function.
"""

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from types import CellType
from typing import Any

from celery import Celery, Task
from celery._state import _get_active_apps
from celery.app import base
from celery.app.registry import TaskRegistry

from celery_hooks import installed
from celery_hooks.coroutines import running
from llm_audit.errors import log_once

_AIO_POOL = "celery_aio_pool"
_OURS = "llm_audit_runs_coroutines"  # marks a function; whoever wraps it copies the mark
_RUNNING = "llm_audit_is_running"  # marks the request of a task
_unwrapped: list[Callable[..., None]] = []


def watch(app: Celery | None) -> None:
    """Have such tasks run or warned of, of an app or of every app for None, when they are known.

    That is now, or when the app is finalised, or when a worker has imported everything.
    """
    for known in _get_active_apps() if app is None else [app]:
        if known.finalized:
            _look(known)
        else:
            known.on_after_finalize.connect(_look, weak=False, dispatch_uid=__name__)


def wrap_bodies() -> None:
    """Have the tasks that are registered, and those that will be, ready to be run."""
    for app in _get_active_apps():
        for task in app._tasks.values():  # noqa: SLF001  (`app.tasks` would finalise the app)
            _wrap(task)
    if _unwrapped:
        return
    register = TaskRegistry.__setitem__

    def wrap_and_register(registry: TaskRegistry, name: str, task: object) -> None:
        _wrap(task)
        register(registry, name, task)

    _unwrapped.append(register)
    TaskRegistry.__setitem__ = wrap_and_register


def unwatch() -> None:
    """Warn no more, and run no more: what is wrapped returns its coroutine, as before."""
    for known in _get_active_apps():
        known.on_after_finalize.disconnect(_look, dispatch_uid=__name__)
    while _unwrapped:
        TaskRegistry.__setitem__ = _unwrapped.pop()


def look_in_worker(sender: Any, **_: Any) -> None:
    """Warn of those that a worker has imported, in its `worker_ready`."""
    from celery.worker.consumer import Consumer

    if isinstance(sender, Consumer):
        _look(sender.app, in_greenlets=sender.pool.is_green)


def _look(sender: Celery, *, in_greenlets: bool = False, **_: Any) -> None:
    for name, task in sender.tasks.items():
        body = _function_of(task)
        if inspect.isasyncgenfunction(body):
            log_once(f"Task {name} is `async def` and yields: it has no result, Celery fails it.")
        elif not inspect.iscoroutinefunction(body):
            continue
        elif not _are_run(sender) and not _another_pool_runs_them():
            log_once(
                f"Task {name} is `async def`: Celery does not run its body. It fails with an "
                "EncodeError, or with ignore_result=True succeeds without having done anything. "
                "celery_hooks.install(app, coroutines=True) has it run; or write `def`, and run "
                "the coroutine in it, with asyncio.run(...)."
            )
        elif in_greenlets:
            log_once(f"Task {name} will fail. {running.NO_GREENLETS}", level=logging.ERROR)


def _are_run(app: Celery) -> bool:
    options = installed.options_of(app)
    return options is not None and options.coroutines


def _another_pool_runs_them() -> bool:
    return _AIO_POOL in sys.modules or _AIO_POOL in os.environ.get("CELERY_CUSTOM_WORKER_POOL", "")


def _function_of(task: Task) -> object:
    """Return what the task was made of, without what has been wrapped around it by others."""
    run = type(task).run
    cell = _cell_of_pydantic(run)
    return inspect.unwrap(run if cell is None else cell.cell_contents, stop=_is_of_another)


def _is_of_another(function: Any) -> bool:
    return not getattr(function, _OURS, False)


def _wrap(task: object) -> None:
    """Have the coroutine run that the function of a task returns, where it returns one."""
    if not isinstance(task, Task) or getattr(task.run, _OURS, False):
        return
    if not _returns_coroutine(inspect.unwrap(task.run)):
        return
    cell = _cell_of_pydantic(task.run)
    if cell is not None:
        cell.cell_contents = _run_in_place(task, cell.cell_contents)
        function = getattr(task.run, "__func__", task.run)
        setattr(function, _OURS, True)
    else:
        # Celery's own wrapper for autoretry_for calls what is here, if it is there already
        name = "_orig_run" if hasattr(task, "_orig_run") else "run"
        setattr(task, name, _run_in_place(task, getattr(task, name)))
        setattr(task.run, _OURS, True)
    if inspect.iscoroutinefunction(type(task).__call__):
        type(task).__call__ = _run_in_place(task, type(task).__call__)


def _returns_coroutine(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (not whether there is one)
    )


def _cell_of_pydantic(run: Any) -> CellType | None:
    """Return where Celery's wrapper for `pydantic=True` has the function that it calls."""
    function = getattr(run, "__func__", run)
    code = getattr(function, "__code__", None)
    if code is None or function.__globals__ is not vars(base) or "task_fun" not in code.co_freevars:
        return None
    cell: CellType = function.__closure__[code.co_freevars.index("task_fun")]
    return cell


def _run_in_place(task: Task, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs its coroutine when a worker, or `apply`, calls it for a task."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not isinstance(result, Coroutine):
            return result
        request = task.request_stack.top
        if request is None or request.called_directly or getattr(request, _RUNNING, False):
            return result  # for the code that calls it to await
        if not _are_run(task.app):
            return result
        setattr(request, _RUNNING, True)
        try:
            return running.run(result, task, request)
        finally:
            delattr(request, _RUNNING)
            if inspect.getcoroutinestate(result) == inspect.CORO_CREATED:
                result.close()  # a time limit has struck before its first step

    setattr(run, _OURS, True)
    return run
