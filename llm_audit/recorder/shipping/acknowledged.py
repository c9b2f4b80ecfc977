"""How far MongoDB has acknowledged what was recorded, and who waits for it."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from llm_audit.recorder.signals import Signal


@dataclass(frozen=True, slots=True)
class FlushResult:
    """What `flush()` reached: true if MongoDB has acknowledged everything recorded before it."""

    unacknowledged_operations: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.unacknowledged_operations == 0

    def __add__(self, other: "FlushResult") -> "FlushResult":
        missing = self.unacknowledged_operations + other.unacknowledged_operations
        return FlushResult(missing, self.reason or other.reason)


class Acknowledged:
    """The number of the last operation up to which everything is in MongoDB.

    Locks here are those that a signal handler may interrupt.

    Args:
        wake: Called when somebody begins to wait.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.through = 0
        self._wake = wake
        self._wanted = 0
        self._lock = threading.RLock()
        self._callbacks: dict[Callable[[], None], int] = {}
        self._ended = False

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits, so that nothing may be put off."""
        return self._wanted > self.through

    def advance(self, through: int) -> None:
        """Tell those who wait how far it is now."""
        with self._lock:
            self.through = max(self.through, through)
            reached = [call for call, seq in self._callbacks.items() if seq <= self.through]
            for callback in reached:
                del self._callbacks[callback]
        for callback in reached:
            callback()

    def end(self) -> None:
        """Let everybody go who waits: nothing more will be acknowledged here."""
        with self._lock:
            self._ended = True
            callbacks = list(self._callbacks)
            self._callbacks.clear()
        for callback in callbacks:
            callback()

    def wait(self, seq: int, timeout_seconds: float) -> bool:
        """Wait until operation `seq` is acknowledged; return whether it is.

        Args:
            seq: Its number.
            timeout_seconds: How long at the most.
        """
        arrived = Signal()
        self.call(seq, arrived.give)
        if not arrived.wait(timeout_seconds):
            self.call_no_more(arrived.give)
        return self.through >= seq

    async def arrives(self, seq: int) -> None:
        """Wait without blocking the event loop until operation `seq` is acknowledged.

        Args:
            seq: Its number.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def arrived() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_set_done, future)

        self.call(seq, arrived)
        try:
            await future
        finally:
            self.call_no_more(arrived)

    def call(self, seq: int, callback: Callable[[], None]) -> None:
        """Call back, from another thread, once operation `seq` is acknowledged; perhaps now."""
        with self._lock:
            self._wanted = max(self._wanted, seq)
            waits = self.through < seq and not self._ended
            if waits:
                self._callbacks[callback] = seq
        if waits:
            self._wake()
        else:
            callback()

    def call_no_more(self, callback: Callable[[], None]) -> None:
        """Forget a callback: nobody waits any more."""
        with self._lock:
            self._callbacks.pop(callback, None)


def _set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
