"""Run the coroutine of a task to its end, whatever strikes meanwhile: a limit, a revoke, a stop.

These come as exceptions that signal handlers raise, at any place. Inside the event loop such an
exception would be lost, or break the loop. So it is held back there, and raised where the coroutine
waits; only where the code of the task is at work does it strike at once, as in a plain function.
"""

# `signal` makes enums of all it is given and returns, which would take longer than all else here
import _signal  # type: ignore[import-not-found]
import _weakrefset
import asyncio
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from types import FrameType
from typing import Any

from celery import Task
from celery._state import _task_stack
from celery.app.task import Context

from celery_hooks import received
from celery_hooks.coroutines import loops
from celery_hooks.coroutines.loops import KeptLoop
from celery_hooks.coroutines.steps import Body, Steps, Watch, is_between_steps
from celery_hooks.coroutines.whose import is_started_by
from llm_audit.errors import log_once
from llm_audit.settings import get_settings

NO_GREENLETS = (
    "Coroutine tasks do not run in greenlets (gevent, eventlet), where a second event loop cannot "
    "run beside the first: use the prefork, threads or solo pool."
)
_NOTICED_SECONDS = 0.5
_FINALISING = (_weakrefset.__file__, weakref.__file__)
_STRIKES_MAX = 10  # then the loop is broken
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGALRM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]


def run(coroutine: Coroutine[Any, Any, Any], task: Task, request: Context) -> Any:
    """Run the coroutine of a task in the loop of this thread, and return its result.

    Args:
        coroutine: What the task's function has returned.
        task: The task.
        request: What the task is run for.

    Raises:
        RuntimeError: The threads here are greenlets.
    """
    if _threads_are_greenlets():
        coroutine.close()
        raise RuntimeError(f"Task {task.name} is `async def`. {NO_GREENLETS}")
    one = _Run(coroutine, task)
    return _beside(one, task, request) if _is_a_loop_running() else one.result()


def _beside(one: "_Run", task: Task, request: Context) -> Any:
    """Run in another thread what is applied while a loop runs in this one, and wait for it."""
    waited_for = threading.Event()

    def work() -> Any:
        waited_for.wait()
        task.app.set_current()
        _task_stack.push(task)
        task.request_stack.push(request)
        try:
            return one.result()
        finally:
            task.request_stack.pop()
            _task_stack.pop()

    future: Future[Any] | None = None
    while future is None or not future.done():
        try:
            future = future or loops.thread_beside().submit(copy_context().run, work)
            waited_for.set()  # what it does from now on strikes in here
            # not without end: a signal that comes just before a wait is noticed after it
            wait([future], _NOTICED_SECONDS)
        except BaseException as error:
            if future is None:  # it has not begun
                one.give_up()
                waited_for.set()
                raise
            one.strike(error)
    return future.result()


class _Run:
    """One coroutine, from its first step until it and all it has started are over."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], task: Task) -> None:
        self._watch = Watch(task.name)
        self._body = Body(coroutine, self._watch)
        self._module: str = type(task).__module__ or ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadline: asyncio.TimerHandle | None = None  # for what is cancelled
        self._is_over = False

    def give_up(self) -> None:
        """Do not run it."""
        self._body.close()

    def result(self) -> Any:
        """Run it in the loop of this thread, and return its result."""
        kept = loops.loop_of_this_thread()
        loop = self._loop = kept.loop
        try:
            with self._held_back(kept), self._watched(loop):
                task = asyncio.Task(self._body, loop=loop)
                task.add_done_callback(self._stop)
                try:
                    self._finish(kept, task)
                finally:
                    self._end_started(kept, task)
        finally:
            self._is_over = True
            if self._deadline is not None:
                self._deadline.cancel()
        if self._watch.struck is not None and not isinstance(self._watch.struck, Exception):
            raise self._watch.struck
        return task.result()

    def strike(self, error: BaseException) -> None:
        """Have an exception raised in the coroutine, from a signal handler or another thread."""
        if self._watch.struck is None or not isinstance(error, Exception):
            self._watch.struck = error
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self, _: object = None) -> None:
        """Stop the loop, to look what has happened."""
        if self._loop is not None and not self._is_over:
            self._loop.stop()

    def _finish(self, kept: KeptLoop, task: asyncio.Task[Any], strikes: int = 0) -> None:
        """Run the task to its end; what strikes meanwhile is raised in it."""
        try:
            kept.run_until(
                lambda: task.done() or self._watch.struck is not None or self._is_too_late()
            )
            if self._watch.struck is not None and not task.done():
                raise self._watch.struck  # noqa: TRY301  (as what breaks out of the loop is)
        except BaseException as error:
            if self._watch.struck is error:
                self._watch.struck = None
            if strikes == _STRIKES_MAX:
                raise
            if not task.done():
                self._body.strike(error)
                task.cancel()
                if not isinstance(error, Exception):
                    self._allow_time()
                # in here, whoever is cancelled finds the error as the context of the cancellation
                self._finish(kept, task, strikes + 1)
            elif not task.cancelled():
                task.exception()  # is the error, which is raised here, and need not be logged
            if not isinstance(error, Exception):
                raise

    def _end_started(self, kept: KeptLoop, task: asyncio.Task[Any]) -> None:
        """Cancel what the task has started and not awaited, and wait for its end."""
        left = [started for started in self._watch.started if not started.done()]
        if not left:
            return
        if task.done() and not task.cancelled():
            self._watch.cause = self._watch.cause or task.exception()
            if self._watch.cause is None:
                _say_left(self._watch.name, left)
        for one in left:
            one.cancel()
            one.add_done_callback(self._stop)
        self._allow_time()
        kept.run_until(
            lambda: (
                all(one.done() for one in left)
                or self._watch.struck is not None
                or self._is_too_late()
            )
        )

    def _allow_time(self) -> None:
        """Allow what is cancelled some time to clean up."""
        if self._deadline is None and self._loop is not None:
            seconds = get_settings().exit_timeout_seconds
            self._deadline = self._loop.call_later(seconds, self._stop)

    def _is_too_late(self) -> bool:
        if self._loop is None or self._deadline is None:
            return False
        return self._loop.time() >= self._deadline.when()

    @contextmanager
    def _watched(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Know what the code of the task starts, unless it has a way of its own to start tasks."""
        if loop.get_task_factory() is not None:
            yield
            return
        loop.set_task_factory(self._start)
        try:
            yield
        finally:
            if loop.get_task_factory() == self._start:
                loop.set_task_factory(None)

    def _start(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        if not is_started_by(self._module, sys._getframe(1)):  # noqa: SLF001  (the documented way)
            return asyncio.Task(coroutine, loop=loop, **options)
        task: asyncio.Task[Any] = asyncio.Task(Steps(coroutine, self._watch), loop=loop, **options)
        self._watch.started.add(task)
        return task

    @contextmanager
    def _held_back(self, kept: KeptLoop) -> Iterator[None]:
        """Hold back what signal handlers raise while the loop is at work; they are in this thread.

        The handlers that are there, whosever they are, stay in force; they do all but raise.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        replaced: dict[int, tuple[Any, Any]] = {}
        waker = signal.set_wakeup_fd(kept.waker.fileno(), warn_on_full_buffer=False)
        try:
            for number in _SIGNALS:
                handler = _signal.getsignal(number)
                if callable(handler):
                    ours = partial(self._handle, handler)
                    replaced[number] = ours, handler
                    _signal.signal(number, ours)
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, (ours, handler) in replaced.items():
                if _signal.getsignal(number) is ours:
                    _signal.signal(number, handler)

    def _handle(self, handler: Callable[..., object], number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            if self._is_over:
                raise
            self._watch.cause = error
            at_work = None if _is_lost_in(frame) else self._watch.stepping
            if at_work is not self._body:
                self.strike(error)
            if at_work is not None:
                raise


def _say_left(name: str, left: list[asyncio.Task[Any]]) -> None:
    names = sorted({getattr(one.get_coro(), "__qualname__", "?") for one in left})
    log_once(
        f"Task {name} has left asyncio tasks behind, which are cancelled: {', '.join(names)}. "
        "Await what a task starts before it returns, with asyncio.gather or a TaskGroup.",
        key=f"{name} leaves tasks behind",
    )


def _is_lost_in(frame: FrameType | None) -> bool:
    """Tell whether what is raised in a frame does not reach the coroutine that is being run.

    As between two steps, or where the interpreter finalises an object: it drops what that raises.
    """
    if frame is not None and is_between_steps(frame.f_code):
        return True
    while frame is not None and not is_between_steps(frame.f_code):
        code = frame.f_code
        if code.co_name == "__del__" or code.co_filename in _FINALISING:
            return True
        frame = frame.f_back
    return False


def _is_a_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _threads_are_greenlets() -> bool:
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        return True
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return True
    consumer = received.consumer()
    return consumer is not None and bool(consumer.pool.is_green)
