"""How one segment of a journal follows another: files or, while the disk refuses, in memory."""

from collections import deque
from collections.abc import Callable
from pathlib import Path

from llm_audit.errors import let_through
from llm_audit.journal import complaints
from llm_audit.journal.segments.files import FileSegment
from llm_audit.journal.segments.memory import MemorySegment
from llm_audit.journal.segments.segment import Segment
from llm_audit.journal.spool.folder import SUFFIX
from llm_audit.runtime import clock

REOPEN_AFTER_SECONDS = 1.0


class Written:
    """The segments that this process writes, one at a time.

    Args:
        folder: Where they go; it may come and go.
        make_folder: Makes the folder if it is not there, and returns whether it was made.
        unsaid: Takes what is to be said of the disk.
    """

    def __init__(
        self, folder: Path, make_folder: Callable[[], bool], unsaid: dict[str, str]
    ) -> None:
        self.segments: deque[Segment] = deque()
        self.current: Segment | None = None
        self.refused_until = 0.0
        self.make_folder = make_folder
        self._folder = folder
        self._unsaid = unsaid
        self._segment_number = 0

    @property
    def disk_refuses(self) -> bool:
        """Whether the disk has refused a record a moment ago."""
        return self.refused_until > 0 and clock.monotonic() < self.refused_until

    def file(self) -> Segment | None:
        """Return the file to write to, a new one; None while the disk refuses."""
        if self.disk_refuses:
            return None
        path = self._next_path()  # first: one whose file was made is never tried again
        try:
            self.make_folder()
            segment = FileSegment.create(path)
        except OSError as error:
            let_through(error)
            self.refused(error)
            return None
        return self._begin(segment)

    def memory(self) -> MemorySegment:
        """Return the segment in memory to write to."""
        current = self.current
        if isinstance(current, MemorySegment) and current.open:
            return current
        segment = MemorySegment(self._next_path())
        self._begin(segment)
        return segment

    def _next_path(self) -> Path:
        self._segment_number += 1
        return self._folder / f"{self._segment_number:08d}{SUFFIX}"

    def ensure_folder(self) -> None:
        """See that folder and file are there; if somebody removed them, make them anew."""
        try:
            if self.make_folder():
                self.refused_until = 0.0
            if self.current is not None and self.current.stay_in(self._folder):
                self._unsaid["made anew"] = complaints.made_anew(self._folder)
        except OSError as error:
            let_through(error)
            self.refused(error)

    def _begin(self, segment: Segment) -> Segment:
        self.end()
        self.current = segment
        self.segments.append(segment)
        return segment

    def end(self) -> None:
        """Take nothing more into the current segment."""
        if self.current is not None:
            self.current.close()
            self.current = None

    def refused(self, error: OSError) -> None:
        """Do without the disk for a while."""
        self._unsaid[complaints.DISK_REFUSED] = complaints.disk_refuses(self._folder, error)
        self.refused_until = clock.monotonic() + REOPEN_AFTER_SECONDS
        self.end()
