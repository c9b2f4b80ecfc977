"""The segments in another process's folder: all that a dead one left, or as a living one writes."""

import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llm_audit.errors import let_through
from llm_audit.journal.records import Record
from llm_audit.journal.segments.files import FileSegment
from llm_audit.journal.segments.segment import Segment, as_it_is
from llm_audit.journal.spool.folder import SUFFIX
from llm_audit.runtime import trusted

SAME_INSTANT_SECONDS = 0.1  # a folder that has just changed may change again, and look the same


class FoundSegments:
    """What is in the folder, oldest first, as of the last look.

    The last segment of a process that lives grows; any other is closed, also one that appears late,
    having been in memory until then.

    Args:
        folder: The process's.
        check: Returns what is believed of a record, or raises InvalidRecordError.
        lives: Whether the process may still write.

    Attributes:
        segments: Those that are not shipped yet; whoever ships them takes them from here.
    """

    def __init__(
        self, folder: Path, check: Callable[[Record], Record] = as_it_is, *, lives: bool = False
    ) -> None:
        self.segments: deque[Segment] = deque()
        self._folder = folder
        self._check = check
        self._lives = lives
        self._seen: set[str] = set()  # names that are there
        self._changed_at = 0  # the folder, in nanoseconds
        self.look()

    def look(self) -> None:
        """Take in what was written since the last look."""
        changed_at = self._changes()
        if changed_at is not None:
            self._list()
            self._changed_at = changed_at  # at last: what could not be listed is listed again
        elif self._lives and self.segments:
            self.segments[-1].look()

    def end(self) -> None:
        """Take in the rest: the process has died."""
        self._lives = False
        self._list()

    def _changes(self) -> int | None:
        """Return when the folder changed, if that may be since it was listed."""
        try:
            changed_at = self._folder.stat().st_mtime_ns
        except OSError as error:
            let_through(error)
            return None
        age_seconds = time.time() - changed_at / 1e9
        may_be_new = changed_at != self._changed_at or abs(age_seconds) < SAME_INSTANT_SECONDS
        return changed_at if may_be_new else None

    def _list(self) -> None:
        with suppress(FileNotFoundError), trusted.folder(self._folder) as here:
            names = sorted(name for name in trusted.names_in(here) if name.endswith(SUFFIX))
            last = names[-1] if names else ""
            for name in names:
                if name not in self._seen:
                    new = FileSegment.found(
                        self._folder / name, here, grows=self._lives and name == last
                    )
                    new.check = self._check
                    insort(self.segments, new, key=lambda each: each.name)
            self._seen = {*names, *(segment.name for segment in self.segments)}
            for segment in self.segments:  # after they were listed: what precedes another has ended
                if segment.grows:
                    segment.look()
                    if not self._lives or segment.name < last:
                        segment.close()


def find_segments(folder: Path, check: Callable[[Record], Record] = as_it_is) -> deque[Segment]:
    """Return the segments that a dead process left in its folder, oldest first.

    Args:
        folder: The process's.
        check: As of `FoundSegments`.
    """
    return FoundSegments(folder, check).segments
