"""A stretch of a journal: written by one process, read by whoever ships it; a file, or in memory.

The file format is that of `mongodump`, plain concatenated BSON documents, so that
`bson.decode_file_iter` and `bsondump` read it.
"""

import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from llm_audit.errors import let_through, log_once
from llm_audit.journal.ends import read_end
from llm_audit.journal.losses import internal
from llm_audit.journal.records import (
    ENDED,
    LENGTH_BYTES,
    SHORTEST_BYTES,
    DamagedRecordError,
    JournalVersionError,
    Record,
    read_length,
    seq_of,
    unpack,
)
from llm_audit.journal.spool import SUFFIX, rejected_folder
from llm_audit.runtime import clock

DAMAGED = ".damaged"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC


class Segment(ABC):
    """How far a stretch of a journal is written, read and acknowledged."""

    in_memory: ClassVar[bool]

    def __init__(self, name: str) -> None:
        self.name = name
        self.end = 0
        self.read = 0
        self.open = True
        self.began = clock.monotonic()
        self.last_seq = 0
        self.records = 0  # how many were written, and of these taken by the reader; 0 if unknown
        self.taken = 0
        self.unacknowledged = 0
        self.damaged = False
        self.given_up = False
        self.blobs: list[str] = []
        self.left_out: list[tuple[int, str]] = []  # numbers of records that cannot be read, and why

    @property
    def finished(self) -> bool:
        """Whether nothing more comes and MongoDB has everything that was read."""
        return not self.open and self.read >= self.end and self.unacknowledged == 0

    def read_on(self, max_bytes: int) -> Iterator[Record]:
        """Read on, at most about `max_bytes`, and move the `read` mark.

        From where bytes are no record, the rest is set aside: the last record of a process that was
        killed while it wrote, or what a disk has damaged.

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
            try:
                record = unpack(chunk[position : position + length])
            except DamagedRecordError:
                break
            except JournalVersionError:
                raise
            except Exception as fault:  # noqa: BLE001  (its checksum is right: on with the next)
                let_through(fault)
                seq = seq_of(bytearray(chunk[position : position + length]))
                self.left_out.append((seq, internal(fault)))
                self._set_aside(self.read, self.read + length, f"-{seq}")
            else:
                yield _read(record)
            position += length
            self.taken += 1
            self.read += length  # one by one: what is taken is not taken again after a fault
        if position == 0:
            end = self.end  # more may be written meanwhile
            self.damaged = True
            self._set_aside(self.read, end)
            self.read = end

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

    def close(self) -> None:
        """Take nothing more."""
        self.open = False

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

    def _chunk(self, max_bytes: int) -> bytes:
        left = self.end - self.read
        chunk = self._read_at(self.read, min(max_bytes, left))
        if len(chunk) >= LENGTH_BYTES:
            (length,) = read_length(chunk)
            if len(chunk) < length <= left:
                chunk += self._read_at(self.read + len(chunk), length - len(chunk))
        return chunk


class _Descriptor:
    """A file descriptor that is closed once neither its writer nor its reader holds it."""

    number = -1  # until __init__ has been through
    _close = staticmethod(os.close)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        if self.number >= 0:
            self._close(self.number)


class FileSegment(Segment):
    """One journal file."""

    in_memory = False

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        self.path = path
        self._descriptor: _Descriptor | None = None

    @classmethod
    def create(cls, path: Path) -> "FileSegment":
        """Begin a new file.

        Raises:
            OSError: The spool cannot be written.
        """
        segment = cls(path)
        segment._descriptor = _Descriptor(os.open(path, _FLAGS, 0o600))
        return segment

    @classmethod
    def found(cls, path: Path) -> "FileSegment":
        """Return the file that a dead process left."""
        segment = cls(path)
        status = path.stat()
        segment.end, segment.open = status.st_size, False
        segment.began -= max(0.0, time.time() - status.st_mtime)
        return segment

    def append(self, record: bytearray) -> None:
        """Write a record with one `os.write`, or nothing of it."""
        if self._descriptor is None:
            raise BrokenPipeError("the segment is closed")
        descriptor = self._descriptor.number
        length = len(record)
        try:
            written = os.write(descriptor, record)
            while written < length:
                written += os.write(descriptor, record[written:])
        except OSError:
            try:
                os.ftruncate(descriptor, self.end)
            except OSError as error:
                log_once(f"A half-written journal record could not be cut off ({error}).")
            raise
        self.end += length

    def settle(self, start: int, length: int) -> bool:
        """Look how long the file is."""
        if self._descriptor is None:
            return False
        descriptor = self._descriptor.number
        if os.fstat(descriptor).st_size == start + length:
            self.end = start + length
            return True
        os.ftruncate(descriptor, start)
        return False

    def stay_in(self, folder: Path) -> bool:
        """Copy what a file holds that has no name here any more, and go on with the copy."""
        path = folder / self.path.name
        if path.exists():
            return False
        copy = _Descriptor(os.open(path, _FLAGS, 0o600))
        try:
            with open(copy.number, "wb", closefd=False) as file:
                file.write(self._read_at(0, self.end))
        except OSError:
            path.unlink(missing_ok=True)  # what it was to hold is still in the one without a name
            raise
        self.path, self._descriptor = path, copy
        return True

    def close(self) -> None:
        """Take nothing more; from now on the file is read by its name, if it still has one."""
        super().close()
        try:
            if self.path.exists():
                self._descriptor = None
        except OSError as error:  # it may be unreachable by its name: keep the descriptor
            let_through(error)

    def delete(self) -> None:
        """Remove the file, and the blobs that only its records name."""
        self._descriptor = None
        for name in self.blobs:
            (self.path.parent / name).unlink(missing_ok=True)
        if self.given_up:
            with suppress(OSError):
                self.path.rename(_aside(self.path))
        else:
            self.path.unlink(missing_ok=True)

    def _read_at(self, offset: int, size: int) -> bytes:
        descriptor = self._descriptor  # held, even if the writer closes the segment meanwhile
        if descriptor is not None:
            return os.pread(descriptor.number, size, offset)
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def _set_aside(self, start: int, end: int, part: str = "") -> None:
        aside = _aside(self.path, part)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  (the mode)
            file.write(self._read_at(start, end - start))
        what = "A record in" if part else "The end of"
        log_once(
            f"{what} the journal {self.path} ({end - start} bytes) is damaged or was "
            f"never finished: it is set aside as {aside}."
        )


def find_segments(folder: Path) -> deque[Segment]:
    """Return the segments that a dead process left in its folder, oldest first."""
    segments: deque[Segment] = deque()
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.is_file():
            segments.append(FileSegment.found(path))
        else:
            path.rename(_aside(path))
            log_once(f"{path} is no file: it is set aside.")
    return segments


def first_record(path: Path) -> Record | None:
    """Return the first record in a file that others may write into; None if it is not whole yet.

    Raises:
        OSError: It cannot be read.
        DamagedRecordError: That is no record.
        JournalVersionError: A newer llm-audit wrote it.
    """
    with path.open("rb") as file:
        length_bytes = file.read(LENGTH_BYTES)
        if len(length_bytes) < LENGTH_BYTES:
            return None
        (length,) = read_length(length_bytes)
        data = length_bytes + file.read(max(0, length - LENGTH_BYTES))
    return unpack(data) if len(data) == length else None


def _read(record: Record) -> Record:
    """Return what an end says; itself, if that cannot be read: whoever sends it tries again."""
    if record.op != ENDED:
        return record
    try:
        return read_end(record)
    except Exception as fault:  # noqa: BLE001  (whatever it holds, others follow)
        let_through(fault)
        return record


def _aside(path: Path, part: str = "") -> Path:
    """Name the place for a damaged segment: beside what MongoDB refused, under its process."""
    folder = rejected_folder(path.parent.parent)
    return folder / f"{path.parent.name}-{path.stem}{part}{DAMAGED}"
