"""What the agent has done in its sending threads: each job by one of them at a time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from llm_audit.recorder.recovery import Recovery
from llm_audit.recorder.shipping.chores import Every, do


class Job(ABC):
    """Something that is due now and then, and may wait for MongoDB.

    Attributes:
        is_running: Whether a thread is at it, or about to be.
        rests_until: When it may be done again, on the monotonic clock.
    """

    is_running = False
    rests_until = 0.0

    @abstractmethod
    def is_due(self, now: float) -> bool:
        """Tell whether there is something to do; never called while it is being done."""

    @abstractmethod
    def do(self) -> bool:
        """Do some of it; return whether MongoDB has taken something.

        Raises:
            UnavailableError: MongoDB cannot be reached now.
        """

    @property
    def name(self) -> str:
        """What is left alone if doing it fails."""
        return "What others have left"


class Chores(Job):
    """Chores for everybody that ask MongoDB.

    Args:
        chores: What is due when.
    """

    def __init__(self, chores: Sequence[Every]) -> None:
        self._chores = chores

    def is_due(self, now: float) -> bool:
        """Tell whether one of them is due."""
        return any(now >= chore.due_at for chore in self._chores)

    def do(self) -> bool:
        """Do those that are due."""
        do(self._chores)
        return False


class Recovering(Job):
    """What the dead have left that nobody watched: of the shipping threads, of other kernels.

    Args:
        recovery: Finds and finishes it.
        rest_seconds: How long to wait before the next look where there was nothing.
    """

    def __init__(self, recovery: Recovery, rest_seconds: float) -> None:
        self._recovery = recovery
        self._rest_seconds = rest_seconds
        self._next = 0.0
        self._now = 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether there is more, or it is time to look."""
        self._now = now
        return now >= self._next

    def do(self) -> bool:
        """Go one step on."""
        did = self._recovery.step()
        self._next = 0.0 if did else self._now + self._rest_seconds
        return did
