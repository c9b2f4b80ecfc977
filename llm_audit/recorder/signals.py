"""Waiting for what another thread says, also where threads have become greenlets meanwhile."""

import queue
from contextlib import suppress

from llm_audit.runtime import clock

LOOK_SECONDS = 0.1


class Signal:
    """Made by who waits, of what threads are by then: gevent and eventlet may have patched them.

    A thread from before that wakes no greenlet, so who waits looks now and then. It is safe in
    signal handlers, too: a SimpleQueue is re-entrant.
    """

    def __init__(self) -> None:
        self._given = False
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def give(self) -> None:
        """Let go who waits."""
        self._given = True
        self._queue.put(None)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until it is given; return whether it is.

        Args:
            timeout_seconds: How long at the most.
        """
        end = clock.monotonic() + timeout_seconds
        while not self._given and (left := end - clock.monotonic()) > 0:
            with suppress(queue.Empty):
                self._queue.get(timeout=min(left, LOOK_SECONDS))
        return self._given
