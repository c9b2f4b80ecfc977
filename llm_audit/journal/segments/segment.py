"""A stretch of a journal: how far it is written, read and acknowledged, wherever it is kept."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from llm_audit.encoding.encode import Blob
from llm_audit.errors import let_through
from llm_audit.journal.losses import internal
from llm_audit.journal.records import (
    ENDED,
    LENGTH_BYTES,
    RECORD_MAX_BYTES,
    SHORTEST_BYTES,
    DamagedRecordError,
    InvalidRecordError,
    JournalVersionError,
    Record,
    read_length,
    seq_of,
    unpack,
)
from llm_audit.journal.unread import STANDS_FOR, made_of
from llm_audit.runtime import clock
from llm_audit.runtime.transient import is_transient


class Segment(ABC):
    """How far a stretch of a journal is written, read and acknowledged."""

    in_memory: ClassVar[bool]

    def __init__(self, name: str) -> None:
        self.name = name
        self.end = 0
        self.read = 0
        self.open = True
        self.grows = False  # by another process, which may be in the middle of a record
        self.began = clock.monotonic()
        self.last_seq = 0
        self.records = 0  # how many were written, and of these taken by the reader; 0 if unknown
        self.taken = 0
        self.unacknowledged = 0
        self.damaged = False
        self.given_up = False
        self.blobs: list[str] = []
        self.left_out: list[tuple[int, str]] = []  # numbers of records that cannot be read, and why
        self.check: Callable[[Record], Record] = as_it_is  # what it raises costs the record

    @property
    def finished(self) -> bool:
        """Whether nothing more comes and MongoDB has everything that was read."""
        return not self.open and self.read >= self.end and self.unacknowledged == 0

    def read_on(self, max_bytes: int) -> Iterator[Record]:
        """Read on, at most about `max_bytes`, and move the `read` mark.

        From where bytes are no record, the rest is set aside: the last record of a process that was
        killed while it wrote, or what a disk has damaged. As long as the segment grows, it waits.

        Raises:
            JournalVersionError: A newer llm-audit wrote the segment; it is left alone.
            OSError: It cannot be read.
        """
        chunk = self._chunk(max_bytes)
        position = 0
        while position + LENGTH_BYTES <= len(chunk):
            (length,) = read_length(chunk, position)
            if length < SHORTEST_BYTES or position + length > len(chunk):
                break
            raw = chunk[position : position + length]
            try:
                record = self.check(unpack(raw))
                if record.op in STANDS_FOR:
                    made = self._made_of(record)
                    # an end says no more than what it was told, which is believed by now
                    seen = made is not record and record.op != ENDED
                    record = self.check(made) if seen else made
            except InvalidRecordError as error:
                self._leave_out(seq_of(raw), length, f"invalid: {error}")
            except DamagedRecordError:
                break
            except JournalVersionError:
                raise
            except BaseException as fault:  # noqa: BLE001  (its checksum is right: on with the next)
                let_through(fault)
                self._leave_out(seq_of(raw), length, internal(fault))
            else:
                yield record
            position += length
            self.taken += 1
            self.read += length  # one by one: what is taken is not taken again after a fault
        if position == 0:
            self._stop_here()

    @abstractmethod
    def append(self, record: bytearray) -> None:
        """Write a record.

        Raises:
            OSError: There is no room for it.
        """

    @abstractmethod
    def settle(self, start: int, length: int) -> bool:
        """Tell whether a record is written, after a signal cut `append` short; undo half of it."""

    @abstractmethod
    def stay_in(self, folder: Path) -> bool:
        """See that what was written is in this folder; return whether it had been removed there.

        Raises:
            OSError: The folder cannot be written.
        """

    @abstractmethod
    def look(self) -> None:
        """See how far another process has written it."""

    def close(self) -> None:
        """Take nothing more."""
        self.open = self.grows = False

    @abstractmethod
    def delete(self) -> None:
        """Remove it, and the blobs that only its records name; set it aside if it was given up."""

    def give_up(self) -> None:
        """Go on without the rest, which cannot be read."""
        self.read, self.given_up = self.end, True

    @abstractmethod
    def _read_at(self, offset: int, size: int) -> bytes: ...

    @abstractmethod
    def _set_aside(self, start: int, end: int, part: str = "") -> None: ...

    def _keep(self, record: Record, blobs: Sequence[Blob]) -> list[str]:
        """Write what moves out of a record that is read; its files go with the segment.

        Raises:
            OSError: There is no place for it.
        """
        del record, blobs
        raise OSError(errno.EROFS, "there is no disk for it")

    def _made_of(self, record: Record) -> Record:
        """Return what a record stands for; itself if it cannot be read: who sends it tries it."""
        try:
            return made_of(record, partial(self._keep, record))
        except BaseException as fault:  # noqa: BLE001  (whatever it holds, others follow)
            let_through(fault)
            return record

    def _stop_here(self) -> None:
        """Take no more of what is here."""
        end = self.end  # more may be written meanwhile
        if self.grows:
            self.end = self.read  # until the next look
            return
        self.damaged = True
        self._set_aside(self.read, end)
        self.read = end

    def _leave_out(self, seq: int, length: int, reason: str) -> None:
        """Go on behind a record that is whole, and of no use."""
        try:
            self._set_aside(self.read, self.read + length, f"-{seq}")
        except OSError as error:  # then it is lost, and counted like what is kept
            let_through(error)
            if is_transient(error):
                raise
        self.left_out.append((seq, reason))

    def _chunk(self, max_bytes: int) -> bytes:
        left = self.end - self.read
        chunk = self._read_at(self.read, min(max_bytes, left))
        if len(chunk) >= LENGTH_BYTES:
            (length,) = read_length(chunk)
            if len(chunk) < length <= min(left, RECORD_MAX_BYTES):
                chunk += self._read_at(self.read + len(chunk), length - len(chunk))
        return chunk


def as_it_is(record: Record) -> Record:
    """Return the record: all of it is believed."""
    return record
