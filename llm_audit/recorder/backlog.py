"""A journal's way out: read on, pair starts with their outcomes, forget what is acknowledged.

One code for this process's live journal, for an outage's backlog and for what a dead process left.
Memory is bounded by the window of starts that wait for their outcome, not by the journal.
"""

import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from llm_audit.recorder.journal import OWN, START, Journal, Record, Segment, read_segment, unpack
from llm_audit.recorder.operations import Write, writes_for

READ_BYTES = 2**20
WINDOW_MAX_BYTES = 8 * 2**20
BATCH_MAX_BYTES = 8 * 2**20

Origin = tuple[Record, Segment | None]


class _Waiting(NamedTuple):
    """A start whose outcome has not been read yet."""

    record: Record
    segment: Segment | None
    since: float


class Batch:
    """Writes that go together, and what they take off the journal once acknowledged."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.size_bytes = 0
        self.first_seq: int | None = None
        self.segments: list[Segment] = []

    def add(self, first: Origin, outcome: Origin | None) -> None:
        """Add a record, or a start and its own outcome."""
        self.writes += writes_for(first[0], None if outcome is None else outcome[0])
        for record, segment in (first,) if outcome is None else (first, outcome):
            self.size_bytes += len(record.doc)
            self.first_seq = (
                record.seq if self.first_seq is None else min(self.first_seq, record.seq)
            )
            if segment is not None:
                self.segments.append(segment)


class Backlog:
    """What one journal still holds that MongoDB has not acknowledged.

    Args:
        segments: The journal's segments, oldest first; a live journal appends to them.
        pending_after_seconds: How long a start waits for its outcome before it is sent alone.
        batch_size: Records in one batch at the most.
        journal: The live journal, for what it had to keep in memory.
    """

    def __init__(
        self,
        segments: deque[Segment],
        *,
        pending_after_seconds: float,
        batch_size: int,
        journal: Journal | None = None,
    ) -> None:
        self._segments = segments
        self._pending_after_seconds = pending_after_seconds
        self._batch_size = batch_size
        self._journal = journal
        self._waiting: dict[str, _Waiting] = {}
        self._waiting_bytes = 0
        self._ready: deque[tuple[Origin, Origin | None]] = deque()
        self._ready_bytes = 0
        self._in_flight: Batch | None = None
        self._last_read_seq = 0

    @property
    def acknowledged_through(self) -> int:
        """The number of the last record up to which MongoDB has everything."""
        unacknowledged = [waiting.record.seq for waiting in self._waiting.values()]
        if self._journal is not None and self._journal.in_memory:
            unacknowledged.append(unpack(self._journal.in_memory[0]).seq)
        unacknowledged += [first[0].seq for first, _ in self._ready]
        if self._in_flight is not None and self._in_flight.first_seq is not None:
            unacknowledged.append(self._in_flight.first_seq)
        return min(unacknowledged, default=self._last_read_seq + 1) - 1

    @property
    def empty(self) -> bool:
        """Whether everything the journal holds so far is acknowledged."""
        return (
            not self._waiting
            and not self._ready
            and self._in_flight is None
            and all(segment.read >= segment.end for segment in tuple(self._segments))
            and not (self._journal is not None and self._journal.in_memory)
        )

    @property
    def unread_bytes(self) -> int:
        """How much of the journal has not been read yet."""
        return sum(segment.end - segment.read for segment in tuple(self._segments))

    def next_batch(self, *, everything: bool) -> Batch | None:
        """Return what is due, or None; the same batch stays due until `acknowledge`.

        Args:
            everything: Send starts alone too that could still wait for their outcome.
        """
        if self._in_flight is not None:
            return self._in_flight
        while (
            len(self._ready) < self._batch_size
            and self._ready_bytes + self._waiting_bytes <= WINDOW_MAX_BYTES
            and self._read_on()
        ):
            pass
        self._release_waiting(everything=everything and self.unread_bytes == 0)
        batch = Batch()
        while (
            self._ready
            and len(batch.writes) < self._batch_size
            and batch.size_bytes < BATCH_MAX_BYTES
        ):
            first, outcome = self._ready.popleft()
            batch.add(first, outcome)
            self._ready_bytes -= _size(first, outcome)
        self._in_flight = batch if batch.writes else None
        return self._in_flight

    def acknowledge(self) -> None:
        """Take the batch in flight off the journal; delete the segments that are done with."""
        batch, self._in_flight = self._in_flight, None
        for segment in batch.segments if batch else ():
            segment.unacknowledged -= 1
        self.delete_finished_segments()

    def delete_finished_segments(self) -> None:
        """Delete segments in which nothing is left to acknowledge."""
        while self._segments and self._segments[0].finished:
            self._segments.popleft().delete()

    def _read_on(self) -> bool:
        for segment in tuple(self._segments):
            if segment.read < segment.end:
                self._take(read_segment(segment, READ_BYTES), segment)
                return True
        if self._journal is not None and self._journal.in_memory:
            self._take((unpack(raw) for raw in self._journal.read_memory()), None)
            return True
        return False

    def _take(self, records: Iterable[Record], segment: Segment | None) -> None:
        now = time.monotonic()
        for record in records:
            self._last_read_seq = max(self._last_read_seq, record.seq)
            if segment is not None:
                segment.unacknowledged += 1
                segment.blobs.extend(record.blobs)
            if record.op == START:
                self._waiting[record.id] = _Waiting(record, segment, now)
                self._waiting_bytes += len(record.doc)
            elif record.op == OWN and record.id in self._waiting:
                start = self._waiting.pop(record.id)
                self._waiting_bytes -= len(start.record.doc)
                self._make_ready((start.record, start.segment), (record, segment))
            else:
                self._make_ready((record, segment), None)

    def _release_waiting(self, *, everything: bool) -> None:
        """Send starts alone whose outcome does not come soon; they are in the order of reading."""
        due_before = time.monotonic() - self._pending_after_seconds
        while self._waiting:
            call_id, waiting = next(iter(self._waiting.items()))
            too_many = self._waiting_bytes > WINDOW_MAX_BYTES
            if not (everything or too_many or waiting.since <= due_before):
                return
            del self._waiting[call_id]
            self._waiting_bytes -= len(waiting.record.doc)
            self._make_ready((waiting.record, waiting.segment), None)

    def _make_ready(self, first: Origin, outcome: Origin | None) -> None:
        self._ready.append((first, outcome))
        self._ready_bytes += _size(first, outcome)


def _size(first: Origin, outcome: Origin | None) -> int:
    return len(first[0].doc) + (0 if outcome is None else len(outcome[0].doc))
