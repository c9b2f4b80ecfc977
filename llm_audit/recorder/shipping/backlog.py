"""For how long the oldest operation has been waiting that MongoDB has not acknowledged."""

from collections import deque
from contextlib import suppress
from typing import NamedTuple

from llm_audit.runtime import clock

STEP_SECONDS = 1.0
STEP_SHARE = 0.01  # of the age: an outage of a week is some hundreds of marks


class _Mark(NamedTuple):
    """Up to which operation something had been recorded that was not recorded before."""

    seq: int
    since: float


class Backlog:
    """Notes now and then how far recording is, and forgets it as that is acknowledged.

    Its age is not that of a journal file: one that is being written may hold, for minutes, what has
    long arrived.
    """

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()
        self._nothing_waited_at = clock.monotonic()

    def age_seconds(self, recorded: int, acknowledged: int) -> float:
        """Return the age of the oldest operation that waits, at most a second too high; 0 for none.

        Args:
            recorded: The number of the last operation.
            acknowledged: The one up to which all have arrived.
        """
        if recorded <= acknowledged:
            return 0.0
        since = self._nothing_waited_at  # nobody has looked since, if there is no mark
        with suppress(IndexError):
            since = self._marks[0].since
        return clock.monotonic() - since

    def note(self, recorded: int, acknowledged: int) -> None:
        """Take note of how far both are.

        Args:
            recorded: The number of the last operation.
            acknowledged: The one up to which all have arrived.
        """
        marks, now = self._marks, clock.monotonic()
        while marks and marks[0].seq <= acknowledged:
            marks.popleft()
        if recorded <= acknowledged:
            self._nothing_waited_at = now
        elif not marks:
            marks.append(_Mark(recorded, now))
        elif recorded > marks[-1].seq:
            step = max(STEP_SECONDS, STEP_SHARE * (now - marks[0].since))
            if now - marks[-1].since >= step:
                marks.append(_Mark(recorded, now))
            else:
                marks[-1] = _Mark(recorded, marks[-1].since)
