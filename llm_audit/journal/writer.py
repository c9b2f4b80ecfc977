"""The journal: what this process records, one `os.write` each, in segments.

Whatever happens to the process afterwards, the record is on disk. Where the disk refuses, it is
kept in a segment in memory, which is read and shipped like the others. Where room runs out, the
newest records first lose their content, then are dropped whole; both are tallied.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llm_audit.errors import LLMAuditError, let_through, log_once
from llm_audit.journal import complaints
from llm_audit.journal.losses import CONTENT, LOST_ENDS_MAX, RECORD, Losses, LossNote
from llm_audit.journal.records import begins_call, ends_call, seal, unseal
from llm_audit.journal.room import CONTENT_SHARE, DISK_SHORT, QUOTA, Room
from llm_audit.journal.segments.memory import MemorySegment, on_disk, unsaved
from llm_audit.journal.segments.segment import Segment
from llm_audit.journal.segments.written import Written
from llm_audit.runtime import clock
from llm_audit.runtime.interruption import free

MEMORY_MAX_BYTES = 8 * 2**20
MEMORY_SEGMENT_BYTES = 2**20
MEMORY_FULL = "disk and memory are full"

_Arriving = tuple[bytearray, str, str | None]  # what `append` takes
# A record to be written, its number, and what was before: the segment's end, and the counts.
_Attempt = tuple[Segment, bytearray, int, int, int, int, int]


class JournalClosedError(LLMAuditError):
    """The journal takes no more records: its recorder is being stopped."""


class Journal:
    """This process's append-only journal.

    Args:
        folder: Where its segments go; it may come and go.
        segment_max_bytes: The size after which the next segment begins.
        max_bytes: What the whole spool may hold.
        make_folder: Makes the folder if it is not there, and returns whether it was made.
    """

    def __init__(
        self,
        folder: Path,
        segment_max_bytes: int,
        max_bytes: int,
        make_folder: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder = folder
        self._unsaid: dict[str, str] = {}
        self._written = Written(folder, make_folder, self._unsaid)
        self.segments = self._written.segments
        self.last_seq = 0
        self.begun = 0  # how many of these numbers are starts of calls
        self.not_journaled = 0
        self.losses = Losses()
        self.lost_ends: list[str] = []
        self._segment_max_bytes = segment_max_bytes
        self.room = Room(max_bytes)
        self._memory_bytes = 0
        self._left_through = 0  # the last number in what is forgotten
        self._late: deque[tuple[int, Path]] = deque()  # of that, what was in memory
        self._note = LossNote()
        self._lock, self._saving = threading.RLock(), threading.RLock()
        self._arriving: deque[_Arriving] = deque()
        self._appending = False
        self._closed = False
        self._attempt: _Attempt | None = None

    def append(self, record: bytearray, call_id: str, without_content: str | None = None) -> None:
        """Number a record and write it to disk before returning.

        Args:
            record: What `pack` gave; it is numbered and sealed.
            call_id: The call, to name it if the record has to be dropped.
            without_content: Why it lacks its content, if it does, to be counted.

        Raises:
            JournalClosedError: The recorder is being stopped; another takes its place.
        """
        interruption: BaseException | None = None
        with self._lock:
            if self._closed:
                raise JournalClosedError
            if self._appending:  # we are in a signal handler that has interrupted `append`
                self._arriving.append((record, call_id, without_content))
                return
            try:
                self._appending = True
                self._write(record, call_id, without_content)
            except BaseException as error:  # noqa: BLE001  (raised below)
                self._settle(record)
                interruption = error
            finally:
                self._appending = False
            if self._arriving:
                interruption = self._write_arrived() or interruption
        if self._unsaid:
            self._say()
        if self._note.lost != self.losses.total + self.not_journaled:
            self.note_losses()
        if interruption is not None:
            raise interruption

    @property
    def full(self) -> str | None:
        """Why there is no room for content, only for the bare record of a call; None if there is.

        Content may take its share of the spool or, while the disk refuses, of the memory.
        """
        short = self.room.is_short
        if short and self.room.scarce == QUOTA:
            return QUOTA
        in_memory = self._written.refused_until and self.disk_refuses
        if (short or in_memory) and self._memory_bytes > MEMORY_MAX_BYTES * CONTENT_SHARE:
            return DISK_SHORT if short else MEMORY_FULL
        return None

    @property
    def disk_refuses(self) -> bool:
        """Whether the disk has refused a record a moment ago."""
        return self._written.disk_refuses

    def measured(
        self, beside_bytes: int, reserved_before: int, free_bytes: int | None = None
    ) -> None:
        """Take note of how much the whole spool holds, and may hold.

        Args:
            beside_bytes: All but this journal's segments, as counted. These grow meanwhile, so they
                are added here, where nobody writes.
            reserved_before: What `room.reserved_bytes` was before counting began.
            free_bytes: On its disk; None if nobody knows.
        """
        with self._lock:
            used_bytes = beside_bytes + sum(segment.end for segment in on_disk(self.segments))
            self.room.measured(used_bytes, reserved_before, free_bytes)

    def measured_elsewhere(
        self, used_bytes: int, room_before: int, free_bytes: int | None = None
    ) -> int:
        """Take note of how much the whole spool held when somebody else measured it.

        Args:
            used_bytes: This journal included.
            room_before: What `room.bytes` was before that: what was taken since then may be missing
                in it.
            free_bytes: On its disk; None if nobody knows.

        Returns:
            What `room.bytes` is now.
        """
        with self._lock:
            taken = max(0, room_before - self.room.bytes)
            self.room.measured(used_bytes + taken, self.room.reserved_bytes, free_bytes)
            return self.room.bytes

    def take_room(self, size_bytes: int) -> bool:
        """Reserve room for content beside the journal; return whether there is any."""
        with self._lock:
            return self.room.reserve(size_bytes)

    def deleted(self, segment: Segment) -> None:
        """Have the room back that a segment took."""
        with self._lock:
            if isinstance(segment, MemorySegment):
                self._memory_bytes -= segment.end
            if not isinstance(segment, MemorySegment) or segment.saved:
                self.room.bytes += segment.end

    def close_segment(self, *, older_than_seconds: float = 0.0) -> None:
        """End the current segment, so that it can be deleted once acknowledged."""
        with self._lock:
            if self._written.current is None or self._appending:
                return
            if clock.monotonic() - self._written.current.began >= older_than_seconds:
                self._written.end()

    def note_losses(self, *, now: bool = False) -> None:
        """Write beside the journal what is not in it, in case we are killed.

        MongoDB is told with the next heartbeat; but it may be the outage of MongoDB that left no
        room. It is done once a second, or when the count has doubled.

        Args:
            now: Do it also if that is not so.
        """
        with self._lock:
            self._note.write(self.folder, self.losses, self.last_seq, self.not_journaled, now=now)

    @property
    def written_through(self) -> int:
        """The number of the last record that is in the journal: those after it were dropped."""
        return max(self._left_through, *(segment.last_seq for segment in tuple(self.segments)), 0)

    def leave_on_disk(self) -> None:
        """Forget the segments that are whole on disk, where another process ships them."""
        with self._lock:
            if self._appending:
                return
            there = on_disk(self.segments)
            through = max([self._left_through, *(segment.last_seq for segment in there)])
            for segment in there:
                if segment.open:
                    continue
                self._left_through = max(self._left_through, segment.last_seq)
                # first: it is not forgotten before. What is still the last of all on disk has come
                # after nothing higher; and it stays there until there is more, as it might grow.
                if isinstance(segment, MemorySegment) and segment.last_seq < through:
                    self._late.append((segment.first_seq, segment.path))
                self.segments.remove(segment)
                if isinstance(segment, MemorySegment):
                    self._memory_bytes -= segment.end
                    segment.free()

    def late_from(self) -> int | None:
        """Return the first number that may have come to the disk after higher ones; None if none.

        It is in memory, or was, and is in a file that nobody has shipped yet.
        """
        for one in tuple(self._late):
            if not one[1].exists():
                with suppress(ValueError):  # another thread has seen it, too
                    self._late.remove(one)
        segments = tuple(self.segments)
        there = on_disk(segments)
        through = max([self._left_through, *(segment.last_seq for segment in there)])
        firsts = [segment.first_seq for segment in unsaved(segments)]
        firsts += [  # saved a moment ago, and not forgotten yet
            segment.first_seq
            for segment in there
            if isinstance(segment, MemorySegment)
            and segment.last_seq < through
            and segment.path.exists()
        ]
        return min((*firsts, *(first for first, _ in tuple(self._late))), default=None)

    def ensure_folder(self) -> None:
        """See that folder and file are there; if somebody removed them, make them anew."""
        with self._lock:
            if not self._appending:
                self._written.ensure_folder()
        self._say()

    def save_memory(self) -> None:
        """Write to disk what is in memory only, if the disk takes it by now."""
        with self._saving:
            try:
                for segment in self._to_save():
                    if segment.end > self.room.bytes:
                        continue
                    segment.copy()  # up to 8 MiB, for which no `append` waits
                    with self._lock:
                        if segment.keep_copy():
                            self.room.bytes -= segment.end
            except OSError as error:
                let_through(error)
                with self._lock:
                    self._written.refused(error)

    def close(self) -> None:
        """Take no more records, so that everything can be shipped and the folder removed."""
        with self._lock:
            self._closed = True
            self.close_segment()

    def let_go(self) -> None:
        """Go on, if an exception from outside has left this thread with its turn to write."""
        free(self._lock, self._saving, self.losses.lock)
        with self._lock:
            self._appending = False
            if self._arriving:
                self._write_arrived()

    def forget(self) -> None:
        """Close an inherited journal in a forked child; the parent's file stays as it is."""
        for segment in self.segments:
            segment.close()

    def _to_save(self) -> list[MemorySegment]:
        with self._lock:
            if self._appending or not (in_memory := unsaved(self.segments)):
                return []
            self._written.make_folder()
            if self._written.current in in_memory:
                self._written.end()
            return in_memory

    def _write_arrived(self) -> BaseException | None:
        """Write what signal handlers left to the holder of the lock; return what one raised."""
        interruption = None
        while self._arriving and not self._appending:
            arrived = None
            try:
                self._appending = True
                arrived = self._arriving.popleft()
                self._write(*arrived)
            except BaseException as error:  # noqa: BLE001  (raised by `append`)
                if arrived is not None:
                    self._settle(arrived[0])
                interruption = error
            finally:
                self._appending = False
        return interruption

    def _write(self, record: bytearray, call_id: str, without_content: str | None) -> None:
        has_room = self.room.bytes >= len(record)
        if not has_room and self.room.scarce == QUOTA:
            self._drop(QUOTA, record, call_id)
            return
        seal(record, self.last_seq + 1)
        segment = self._written.current if has_room else None
        if has_room and (segment is None or not segment.open or segment.in_memory):
            segment = self._written.file()
        if segment is not None:
            try:
                self._append(segment, record)
            except OSError as error:
                let_through(error)
                self._written.refused(error)
            else:
                self.room.bytes -= len(record)
                if without_content is not None:
                    self._count_content(call_id, without_content)
                return
        if self._memory_bytes + len(record) > MEMORY_MAX_BYTES:
            self._drop(MEMORY_FULL if has_room else DISK_SHORT, record, call_id)
            return
        if not has_room:
            self._unsaid[DISK_SHORT] = complaints.disk_is_short(self.folder)
        in_memory = self._written.memory()
        in_memory.first_seq = in_memory.first_seq or self.last_seq + 1
        self._append(in_memory, record)
        self._memory_bytes += len(record)
        if without_content is not None:
            self._count_content(call_id, without_content)

    def _count_content(self, call_id: str, reason: str) -> None:
        self.losses.add(CONTENT, reason, seq=self.last_seq, call_ids=[call_id])
        self._unsaid[f"content {reason}"] = complaints.no_room_for_content(reason)

    def _append(self, segment: Segment, record: bytearray) -> None:
        seq = self.last_seq + 1
        counts = segment.records, self.not_journaled, self.begun
        attempt = (segment, record, seq, segment.end, *counts)
        self._attempt = attempt
        segment.append(record)
        self._appended(attempt)

    def _appended(self, attempt: _Attempt) -> None:
        """Count a record that is written; once, however often this is cut short."""
        segment, record, seq, _, records, not_journaled, begun = attempt
        segment.records = records + 1
        if segment.in_memory:
            self.not_journaled = not_journaled + 1
        self.begun = begun + begins_call(record)
        self.last_seq = seq
        segment.last_seq = seq  # at last, as `_settle` goes by it
        if segment.end >= (MEMORY_SEGMENT_BYTES if segment.in_memory else self._segment_max_bytes):
            self._written.ensure_folder()  # while what a removed one held can still be read
            self._written.end()

    def _settle(self, record: bytearray) -> None:
        """Find out what an exception out of a signal handler, a time limit say, has cut short."""
        attempt = self._attempt
        if attempt is not None and attempt[1] is record:
            segment, _, seq, start, *_ = attempt
            if segment.last_seq >= seq:
                return
            if segment.open and segment.settle(start, len(record)):
                self._appended(attempt)
                return
        unseal(record)

    def _drop(self, reason: str, record: bytearray, call_id: str) -> None:
        seq = self.last_seq + 1
        self.losses.add(RECORD, reason, seq=seq, call_ids=[call_id])
        self.begun += begins_call(record)
        if ends_call(record) and len(self.lost_ends) < LOST_ENDS_MAX:
            self.lost_ends.append(call_id)
        self.last_seq = seq  # a number that is missing from the journal is proof of the loss
        self._unsaid[reason] = complaints.no_room(reason)

    def _say(self) -> None:
        """Log what happened under the lock, which no logging handler may wait for."""
        while self._unsaid:
            try:
                key, message = self._unsaid.popitem()
            except KeyError as error:
                let_through(error)
                return  # another thread has said it
            log_once(message, level=logging.ERROR, key=key)
