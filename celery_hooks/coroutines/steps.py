"""The steps of a coroutine, from one await to the next: asyncio takes each of them through here."""

import asyncio
import time
from collections.abc import Coroutine, Generator
from types import CodeType, TracebackType
from typing import Any
from weakref import WeakSet

from llm_audit.errors import log_once

BLOCKED_SECONDS = 1.0


class Watch:
    """What goes on while the coroutine of a task runs.

    Attributes:
        name: The task's.
        stepping: The coroutine whose step is being taken right now.
        struck: What has struck the task and is not raised in it yet.
        cause: What has struck it last, if anything has.
        started: The asyncio tasks that the code of the task has started.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stepping: Steps | None = None
        self.struck: BaseException | None = None
        self.cause: BaseException | None = None
        self.started: WeakSet[asyncio.Task[Any]] = WeakSet()


class Steps(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are watched; all else is its own."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], watch: Watch) -> None:
        self._coroutine = coroutine
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        """Be asked what asyncio and others ask a coroutine: its name, its code, its frame."""
        return getattr(self._coroutine, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Go on after an await."""
        return self._step(self._coroutine.send, value)

    def throw(
        self, error: Any, value: object = None, traceback: TracebackType | None = None
    ) -> Any:
        """Go on with an exception; a cancellation says what is behind it."""
        del value, traceback  # asyncio hands over an exception
        if isinstance(error, asyncio.CancelledError) and error.__context__ is None:
            error.__context__ = self._watch.cause
        return self._step(self._coroutine.throw, error)

    def close(self) -> None:
        """Be given up."""
        self._coroutine.close()

    def _step(self, go: Any, value: Any) -> Any:
        watch = self._watch
        began = time.monotonic()
        watch.stepping = self
        try:
            return go(value)
        finally:
            watch.stepping = None
            seconds = time.monotonic() - began
            if seconds > BLOCKED_SECONDS and len(asyncio.all_tasks()) > 1:
                self._say_blocked(seconds)

    def _say_blocked(self, seconds: float) -> None:
        name = getattr(self._coroutine, "__qualname__", "a coroutine")
        log_once(
            f"Task {self._watch.name}: {name} has blocked the event loop for {seconds:.1f} s, and "
            "what else runs in it had to wait. Await what takes long, or hand it to "
            "asyncio.to_thread.",
            key=f"{self._watch.name} {name} blocks",
        )


class Body(Steps):
    """The coroutine of the task itself: what strikes it is raised in it, at its next step."""

    _striking: BaseException | None = None

    def strike(self, error: BaseException) -> None:
        """Have an exception raised where the coroutine is; its asyncio task is cancelled for that.

        What ends the process, and is no error of the task, arrives as the cancellation.
        """
        self._striking = self._watch.cause = error

    def send(self, value: Any) -> Any:
        """Go on after an await, unless something has struck: what was awaited may not tell."""
        if self._striking is not None:
            return self.throw(asyncio.CancelledError())
        return super().send(value)

    def throw(
        self, error: Any, value: object = None, traceback: TracebackType | None = None
    ) -> Any:
        """Go on with an exception, with what has struck instead of the cancellation for it."""
        del value, traceback
        if error is self._watch.struck:
            self._watch.struck = None  # one that was awaited, and struck as well, has passed it on
        striking = self._striking
        if striking is not None and (
            error is striking or isinstance(error, asyncio.CancelledError)
        ):
            self._striking = None
            if isinstance(striking, Exception):
                error = striking
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
        return super().throw(error)


def is_between_steps(code: CodeType) -> bool:
    """Tell whether code is that of a step's frame: the coroutine is not being run there."""
    return code is Steps._step.__code__  # noqa: SLF001
