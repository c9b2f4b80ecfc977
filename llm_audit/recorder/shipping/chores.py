"""What the shipping thread does now and then: each chore knows when it is due."""

from collections.abc import Callable

from llm_audit.runtime import clock


class Every:
    """Work that is due at an interval, whatever comes of it.

    Args:
        seconds: The interval.
        work: What to do.
        first_after_seconds: When it is due first; at once by default.
    """

    def __init__(
        self, seconds: float, work: Callable[[], object], *, first_after_seconds: float = 0.0
    ) -> None:
        self._seconds = seconds
        self._work = work
        self.due_at = clock.monotonic() + first_after_seconds

    def __call__(self) -> None:
        """Do the work, if it is due."""
        now = clock.monotonic()
        if now >= self.due_at:
            self.due_at = now + self._seconds
            self._work()

    def soon(self) -> None:
        """Let it be due now."""
        self.due_at = 0.0
