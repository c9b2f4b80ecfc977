"""What whoever ships does now and then: each chore knows when it is due."""

from collections.abc import Callable, Iterable

from llm_audit.errors import UnavailableError, let_through, log_fault
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


def do(chores: Iterable[Every]) -> None:
    """Do the chores that are due; a fault in one keeps no other from being done.

    Raises:
        UnavailableError: MongoDB cannot be reached now; the others are done when they are due.
    """
    for chore in chores:
        try:
            chore()
        except UnavailableError:
            raise
        except BaseException as fault:  # noqa: BLE001
            let_through(fault)
            log_fault(fault)
