"""MongoDB's clock: by it processes are compared, and what has expired is deleted."""

from collections.abc import Callable
from datetime import datetime, timedelta

from llm_audit.errors import log_once
from llm_audit.journal.statements.retention import ASK_AGAIN_SECONDS
from llm_audit.runtime import clock

TOLERANCE_SECONDS = 60.0


class ServerClock:
    """The server's clock, as it was when it was last asked for, and has gone on since.

    Args:
        ask: Returns the time by the server's clock.
    """

    def __init__(self, ask: Callable[[], datetime]) -> None:
        self._ask = ask
        self._told: datetime | None = None
        self._told_at = 0.0  # on our own monotonic clock
        self.ahead_seconds = 0.0  # how far this machine's clock is ahead; 0 within the tolerance

    def now(self, ask_again_seconds: float = ASK_AGAIN_SECONDS) -> datetime:
        """Return the time by the server's clock.

        Args:
            ask_again_seconds: How long ago it may have been asked for.

        Raises:
            PyMongoError: MongoDB cannot be reached now; call again.
        """
        since = clock.monotonic() - self._told_at
        if self._told is None or since > ask_again_seconds:
            return self.look()
        return self._told + timedelta(seconds=since)

    def look(self) -> datetime:
        """Ask the server, and return its time.

        Raises:
            PyMongoError: MongoDB cannot be reached now; call again.
        """
        before = clock.wall()
        told = self._ask()
        after, self._told_at = clock.wall(), clock.monotonic()
        self._told = told
        self._compare(before, told.timestamp(), after)
        return told

    def _compare(self, before: float, told: float, after: float) -> None:
        """Tell how wrong this machine's clock is; the server may have been asked at any time."""
        ahead = before - told if before > told else min(0.0, after - told)
        self.ahead_seconds = 0.0 if abs(ahead) < TOLERANCE_SECONDS else round(ahead, 3)
        if self.ahead_seconds:
            which = "ahead of" if ahead > 0 else "behind"
            log_once(
                f"The clock of this machine is {abs(ahead):.0f} s {which} MongoDB's: calls are "
                "recorded with its time. Set it.",
                key="clock",
            )
