"""The event loop of each thread that runs coroutine tasks, kept from one task to the next."""

import asyncio
import atexit
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar

from llm_audit.settings import get_settings


class KeptLoop:
    """The loop of this thread.

    Attributes:
        loop: It.
        thread: That it is for.
        pid: The process that it is of.
        waker: What is written here wakes the loop, as Python does when a signal comes that it
            would else notice only when what the loop waits for has happened.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.current_thread()
        self.pid = os.getpid()
        self.waker, self._woken = socket.socketpair()
        for end in (self.waker, self._woken):
            end.setblocking(False)  # noqa: FBT003  (the socket's own way)
        self.loop.add_reader(self._woken, self._drain)

    @property
    def is_usable(self) -> bool:
        """Whether the loop is of this process, and nobody has closed it."""
        return self.pid == os.getpid() and not self.loop.is_closed()

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Run the loop until a condition holds when something stops it."""
        while not condition():
            self.loop.run_forever()

    def _drain(self) -> None:
        with suppress(BlockingIOError):  # an iteration that was broken off has drained it
            self._woken.recv(4096)

    def close(self) -> None:
        """Cancel what is left, end the asynchronous generators, and close it."""
        try:
            if not self.loop.is_closed():
                end = self.loop.create_task(_wind_up())
                end.add_done_callback(lambda _: self.loop.stop())
                self.run_until(end.done)
                self.loop.remove_reader(self._woken)
        finally:
            self.loop.close()
            self._forget_waker()
            self.waker.close()
            self._woken.close()

    def _forget_waker(self) -> None:
        """Have Python write there no more, should a signal have kept a task from saying so."""
        if threading.current_thread() is threading.main_thread():
            waker = signal.set_wakeup_fd(-1)
            if waker not in {-1, self.waker.fileno()}:
                signal.set_wakeup_fd(waker)


class _Here(threading.local):
    kept: KeptLoop | None = None
    beside: ThreadPoolExecutor | None = None
    beside_pid: int | None = None


class _All:
    # A loop of the process that forked this one stays here too, untouched: closing it here would
    # take from that process what wakes its loop.
    kept: ClassVar[list[KeptLoop]] = []
    is_closed_at_exit = False


_here = _Here()


def loop_of_this_thread() -> KeptLoop:
    """Return the loop of this thread in this process, made at its first task."""
    kept = _here.kept
    if kept is None or not kept.is_usable:
        _close(other for other in _All.kept if not other.thread.is_alive())
        kept = _here.kept = KeptLoop()
        _All.kept.append(kept)
        if not _All.is_closed_at_exit:
            _All.is_closed_at_exit = True
            atexit.register(close_all)
    return kept


def thread_beside() -> ThreadPoolExecutor:
    """Return a thread for what runs while a loop runs in this one; it has a loop of its own."""
    if _here.beside is None or _here.beside_pid != os.getpid():
        _here.beside = ThreadPoolExecutor(1, thread_name_prefix="llm-audit-coroutines")
        _here.beside_pid = os.getpid()
    return _here.beside


def close_all(**_: Any) -> None:
    """Close the loops of this process in which nothing runs: it ends, or its worker does."""
    _close(_All.kept)


def _close(all_kept: Iterable[KeptLoop]) -> None:
    for kept in tuple(all_kept):
        if kept.pid == os.getpid() and not kept.loop.is_running():
            _All.kept.remove(kept)
            kept.close()


async def _wind_up() -> None:
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    generators = loop.create_task(loop.shutdown_asyncgens())
    await asyncio.wait({*left, generators}, timeout=get_settings().exit_timeout_seconds)
