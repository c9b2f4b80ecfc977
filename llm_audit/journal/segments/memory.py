"""What the disk refuses is kept in memory until MongoDB has it, or the disk takes a copy."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from llm_audit.errors import log_once
from llm_audit.journal.losses import RECORD, Losses
from llm_audit.journal.segments.segment import Segment
from llm_audit.runtime import trusted

LOST_AT_END = "in memory only when the process ended"


class MemorySegment(Segment):
    """What the disk refuses, until it takes a copy.

    Args:
        path: The file that the copy goes to.
    """

    in_memory = True

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        self.saved = False
        self.first_seq = 0  # of the first record in it
        self.path = path
        self._records = bytearray()

    @property
    def missing(self) -> int:
        """How many of its records MongoDB has not acknowledged."""
        return self.records - self.taken + self.unacknowledged

    def copy(self) -> None:
        """Write a copy to disk, whole or not at all, in case the process ends.

        Raises:
            OSError: The disk refuses it, too.
        """
        with trusted.folder(self.path.parent) as here:
            trusted.put(self.path.name, here, self._records)

    def keep_copy(self) -> bool:
        """Keep the copy, unless MongoDB has everything meanwhile; return whether it is kept."""
        self.saved = self.missing > 0
        if not self.saved:
            self._remove_copy()
        return self.saved

    def append(self, record: bytearray) -> None:
        """Keep a record."""
        self._records += record
        self.end += len(record)

    def settle(self, start: int, length: int) -> bool:
        """Look how much is there."""
        self.end = len(self._records)
        return self.end == start + length

    def look(self) -> None:
        """Nobody else writes it."""

    def stay_in(self, folder: Path) -> bool:  # noqa: ARG002
        """Nobody removes it."""
        return False

    def free(self) -> None:
        """Free the memory: there is a copy, or nobody needs one."""
        self._records = bytearray()

    def delete(self) -> None:
        """Free the memory, and remove the copy."""
        self.free()
        if self.saved:
            self._remove_copy()

    def _remove_copy(self) -> None:
        with suppress(FileNotFoundError), trusted.folder(self.path.parent) as here:
            trusted.remove_file(self.path.name, here)

    def _read_at(self, offset: int, size: int) -> bytes:
        return bytes(self._records[offset : offset + size])

    def _set_aside(self, start: int, end: int, part: str = "") -> None:  # noqa: ARG002
        log_once("A journal segment in memory is damaged: what cannot be read of it is lost.")


def unsaved(segments: Iterable[Segment]) -> list[MemorySegment]:
    """Return the segments with records that are neither on disk nor known to be in MongoDB."""
    return [
        segment
        for segment in tuple(segments)
        if isinstance(segment, MemorySegment) and not segment.saved and segment.missing
    ]


def on_disk(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments that are files, or have a copy in one."""
    return [each for each in segments if not isinstance(each, MemorySegment) or each.saved]


def give_up(segments: Iterable[Segment], losses: Losses) -> int:
    """Count what is in memory only as lost, as its process ends; return how much it is."""
    lost = 0
    for segment in unsaved(segments):
        count = segment.missing
        losses.add(RECORD, LOST_AT_END, seq=segment.last_seq, count=count)
        lost += count
    return lost
