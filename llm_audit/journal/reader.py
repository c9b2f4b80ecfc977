"""Reading a journal: on from where it was, starts paired with their outcomes, in batches.

One code for this process's live journal, for an outage's backlog and for what a dead process left.
Memory is bounded by the window of starts that wait for their outcome, not by the journal.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from llm_audit.errors import UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.batches import Batch, Origin
from llm_audit.journal.gaps import Gaps
from llm_audit.journal.losses import JOURNAL, RECORD, Account, Losses, internal
from llm_audit.journal.records import OWNS, STARTS, VERDICT, Record
from llm_audit.journal.segments.segment import Segment
from llm_audit.runtime import clock
from llm_audit.runtime.transient import is_transient
from llm_audit.runtime.trusted import DoubtfulError

READ_BYTES = 2**20
WINDOW_MAX_BYTES = 8 * 2**20
BATCH_MAX_BYTES = 8 * 2**20
# Less than this in a segment that is being written is left for the next batch: whoever writes it
# competes with us for the interpreter, record by record.
CHASE_MIN_BYTES = 64 * 2**10
STAGE_SECONDS = 1.0
BESIDE_BYTES = 2**17  # what a file beside the journal counts for, however large it is


class _Waiting(NamedTuple):
    """A start whose outcome has not been read yet."""

    record: Record
    segment: Segment
    since: float


class JournalReader:
    """What one journal still holds that MongoDB has not acknowledged.

    Args:
        segments: The journal's segments, oldest first; a live journal appends to them.
        pending_after_seconds: How long a start waits for its outcome before it is sent alone.
        batch_size: Records in one batch at the most.
        losses: Is told of what can no longer be read.
        before_delete: Called with each segment that has arrived, before it goes; what it raises
            keeps the segment.
        known: What others have learned of the journal, of segments that are gone.
        stage: What each record goes through before it is sent. It may take long, so a batch is due
            when a second of it is over.
        counted_through: Up to which number others have counted the calls that begin.
    """

    def __init__(
        self,
        segments: deque[Segment],
        *,
        pending_after_seconds: float,
        batch_size: int,
        losses: Losses,
        before_delete: Callable[[Segment], None] = lambda _: None,
        known: Account | None = None,
        stage: Callable[[Record], Record] | None = None,
        counted_through: int = 0,
    ) -> None:
        self._stage = stage
        self._segments = segments
        self._losses = losses
        self._before_delete = before_delete
        self._pending_after_seconds = pending_after_seconds
        self._batch_size = batch_size
        self._waiting: dict[str, _Waiting] = {}
        self._waiting_bytes = 0
        self._ready: deque[tuple[Origin, Origin | None]] = deque()
        self._ready_bytes = 0
        self._in_flight: Batch | None = None
        self._fault: BaseException | None = None  # of reading ahead
        self._counted_through = counted_through
        self.begun = 0  # calls, after that number
        self.last_read_seq = known["last_read_seq"] if known else 0
        # numbers up to there without a record
        self.gaps = Gaps(known["missing"], known["gaps"]) if known else Gaps()
        self.window_bytes = WINDOW_MAX_BYTES  # what may be read, and wait
        self._damaged_before = frozenset(known["damaged"] if known else ())
        self.damaged = {*self._damaged_before}  # segments whose loss is counted

    @property
    def acknowledged_through(self) -> int:
        """The number of the last record up to which MongoDB has everything."""
        unacknowledged = [self.last_read_seq + 1]  # or what follows it, still unread
        unacknowledged += [first[0].seq for first, _ in self._ready]
        if self._waiting:  # in the order of reading
            unacknowledged.append(next(iter(self._waiting.values())).record.seq)
        if self._in_flight is not None and self._in_flight.first_seq is not None:
            unacknowledged.append(self._in_flight.first_seq)
        return min(unacknowledged) - 1

    @property
    def empty(self) -> bool:
        """Whether everything the journal holds so far is acknowledged."""
        return not self._waiting and not self._ready and self._in_flight is None and self.read

    @property
    def read(self) -> bool:
        """Whether everything the journal holds so far has been read."""
        return all(segment.read >= segment.end for segment in tuple(self._segments))

    @property
    def unfinished(self) -> list[Segment]:
        """The segments that hold something which is not acknowledged yet, oldest first."""
        return [
            segment
            for segment in tuple(self._segments)
            if segment.read < segment.end or segment.unacknowledged
        ]

    def next_batch(self, *, everything: bool) -> Batch | None:
        """Return what is due, or None; the same batch stays due until `acknowledge`.

        Args:
            everything: Send starts alone too that could still wait for their outcome.
        """
        if self._in_flight is not None:
            return self._in_flight
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        self._read_enough()
        self._release_waiting(everything=everything and self.read)
        batch = Batch()
        over = clock.monotonic() + STAGE_SECONDS
        while (
            self._ready
            and len(batch.writes) < self._batch_size
            and batch.size_bytes < BATCH_MAX_BYTES
            and not (self._stage and batch.writes and clock.monotonic() > over)
        ):
            first, outcome = self._ready[0]
            try:
                batch.add(self._staged(first), outcome and self._staged(outcome))
            except BaseException as error:  # noqa: BLE001  (it may not be sent as it is)
                self._leave_out(first, outcome, error)
            self._ready.popleft()
            self._ready_bytes -= _size(first, outcome)
        self._in_flight = batch if batch.writes else None
        return self._in_flight

    def _staged(self, origin: Origin) -> Origin:
        record, segment = origin
        return (self._stage(record), segment) if self._stage else origin

    def _leave_out(self, first: Origin, outcome: Origin | None, fault: BaseException) -> None:
        """Go on without a record that cannot be made ready."""
        let_through(fault)
        log_fault(fault)
        for record, segment in (first,) if outcome is None else (first, outcome):
            segment.unacknowledged -= 1
            self._losses.add(RECORD, internal(fault), seq=record.seq, call_ids=[record.id])

    def acknowledge(self) -> None:
        """Take the batch in flight off the journal, and delete the segments that are done with."""
        batch, self._in_flight = self._in_flight, None
        for segment in batch.segments if batch else ():
            segment.unacknowledged -= 1
        try:
            while self._segments and self._segments[0].finished:
                self._before_delete(self._segments[0])
                self._segments.popleft().delete()
        except UnavailableError:
            raise
        except BaseException as fault:  # noqa: BLE001  (it is done again: what follows need not wait)
            let_through(fault)
            log_fault(fault)

    @contextmanager
    def reading_ahead(self) -> Iterator[None]:
        """Read the next batch in a thread while this one waits for MongoDB, if much is left."""
        thread = threading.Thread(target=self._read_ahead, name="llm-audit-reader", daemon=True)
        started = False
        if sum(segment.end - segment.read for segment in tuple(self._segments)) >= READ_BYTES:
            with suppress(RuntimeError):  # at the end of the interpreter; then it is read later
                thread.start()
                started = True
        try:
            yield
        finally:
            if started:
                thread.join()

    def _read_ahead(self) -> None:
        try:
            self._read_enough()
        except BaseException as error:  # noqa: BLE001  (`next_batch` raises it)
            self._fault = error

    def _read_enough(self) -> None:
        """Read until a batch is ready, the window is full or nothing is left."""
        while (
            len(self._ready) < self._batch_size
            and self._ready_bytes + self._waiting_bytes <= self.window_bytes
            and self._read_on()
        ):
            last = self._segments[-1]
            if self._ready and last.open and last.end - last.read < CHASE_MIN_BYTES:
                return

    def _read_on(self) -> bool:
        for segment in tuple(self._segments):
            if segment.read < segment.end:
                try:
                    try:
                        self._take(segment)
                    finally:
                        self._count_left_out(segment)
                    if segment.damaged:
                        segment.damaged = False
                        self._count_lost(segment, "damaged or unfinished")
                except DoubtfulError as error:
                    self._count_lost(segment, f"not opened: it {error.why}")
                    segment.give_up()
                except OSError as error:
                    if is_transient(error):
                        raise
                    self._count_lost(segment, f"unreadable: {error.strerror}")
                    segment.give_up()
                return True
        return False

    def _take(self, segment: Segment) -> None:
        now = clock.monotonic()
        for record in segment.read_on(min(READ_BYTES, self.window_bytes)):
            gap = record.seq - self.last_read_seq - 1
            if gap > 0 and self.last_read_seq:
                self.gaps.pass_over(self.last_read_seq + 1, record.seq - 1)
            if gap >= 0:
                self.last_read_seq = record.seq
            else:
                self.gaps.found(record.seq)
            segment.unacknowledged += 1
            if record.blobs:
                segment.blobs.extend(record.blobs)
            if record.op in STARTS:
                if record.seq > self._counted_through:
                    self.begun += 1
                    self._counted_through = record.seq
                self._waiting[record.id] = _Waiting(record, segment, now)
                self._waiting_bytes += _size_of(record)
            elif record.op in OWNS and record.id in self._waiting:
                self._make_ready(self._take_waiting(record.id), (record, segment))
            else:
                if record.op == VERDICT:  # the calls that it is about go before it
                    self._release_waiting(everything=True)
                elif record.id in self._waiting:  # its start says in which attempt it was made
                    self._make_ready(self._take_waiting(record.id), None)
                self._make_ready((record, segment), None)

    def _take_waiting(self, call_id: str) -> Origin:
        """Return a start that waits for its outcome no longer."""
        start = self._waiting.pop(call_id)
        self._waiting_bytes -= _size_of(start.record)
        return start.record, start.segment

    def _count_left_out(self, segment: Segment) -> None:
        """Count the records that are none; who has read the segment before has counted them."""
        while segment.left_out:
            seq, reason = segment.left_out.pop(0)
            if segment.name not in self._damaged_before:
                self.damaged.add(segment.name)
                self._losses.add(RECORD, reason, seq=seq)

    def _count_lost(self, segment: Segment, reason: str) -> None:
        """Go on without the rest of a segment."""
        lost = segment.records - segment.taken
        if lost > 0:
            segment.taken += lost
            self._losses.add(RECORD, reason, seq=segment.last_seq, count=lost)
            self.last_read_seq = max(self.last_read_seq, segment.last_seq)
        elif segment.name not in self.damaged:  # a dead process's: nobody knows what was in it
            self.damaged.add(segment.name)
            self._losses.add(JOURNAL, reason, seq=self.last_read_seq)
        log_once(
            f"What was not shipped of a journal segment is lost and counted ({reason}).",
            level=logging.ERROR,
        )

    def _release_waiting(self, *, everything: bool) -> None:
        """Send starts alone whose outcome does not come soon; they are in the order of reading."""
        due_before = clock.monotonic() - self._pending_after_seconds
        while self._waiting:
            call_id, waiting = next(iter(self._waiting.items()))
            too_many = self._waiting_bytes > self.window_bytes
            if not (everything or too_many or waiting.since <= due_before):
                return
            self._make_ready(self._take_waiting(call_id), None)

    def _make_ready(self, first: Origin, outcome: Origin | None) -> None:
        self._ready.append((first, outcome))
        self._ready_bytes += _size(first, outcome)


def _size(first: Origin, outcome: Origin | None) -> int:
    return _size_of(first[0]) + (0 if outcome is None else _size_of(outcome[0]))


def _size_of(record: Record) -> int:
    """Return what a record counts for in the window: what it has beside it may be written by now.

    What moves out of a request that was seen on the wire is on the disk a second time until it has
    arrived.
    """
    return len(record.doc) + len(record.blobs) * BESIDE_BYTES
