"""Until when a call is kept: so long after it was made or, if that cannot be, after it came."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from llm_audit.errors import let_through
from llm_audit.ids import created_at

# By how much a call may seem to be made before or after it comes; half as long as it is kept, if
# that is less. What is further off had a wrong clock or waited for long, and MongoDB would delete
# it on arrival, or not for years.
PLAUSIBLE = timedelta(days=1)
LATEST = datetime.max.replace(microsecond=999_000, tzinfo=UTC)  # that Python reads back
ASK_AGAIN_SECONDS, IN_DOUBT_SECONDS = 60.0, 1.0


class Retention(NamedTuple):
    """For how long calls are kept.

    Attributes:
        days: None for ever.
        now: Returns the time by MongoDB's clock, which also deletes what has expired; as it was
            told so many seconds ago at the most, and has gone on since.
    """

    days: float | None
    now: Callable[[float], datetime]

    def expires_at(self, call_id: str) -> datetime | None:
        """Return when MongoDB may delete a call that comes now, or None to keep it for ever."""
        if self.days is None:
            return None
        created = created_at(call_id)
        if created is None:
            return None
        kept = timedelta(days=self.days)
        off = min(PLAUSIBLE, kept / 2)
        since = created
        if abs(self.now(ASK_AGAIN_SECONDS) - created) >= off:
            now = self.now(IN_DOUBT_SECONDS)  # our own clocks stand still while a machine sleeps
            since = created if abs(now - created) < off else now
        try:
            return since + kept
        except OverflowError as error:
            let_through(error)
            return LATEST
