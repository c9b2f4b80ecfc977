"""Journal files: written by one process, read by whoever ships them.

The format is that of `mongodump`, plain concatenated BSON documents, so that
`bson.decode_file_iter` and `bsondump` read it.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from llm_audit.encoding.encode import Blob
from llm_audit.errors import let_through, log_once
from llm_audit.journal.blob_files import write_blobs
from llm_audit.journal.records import (
    RECORD_MAX_BYTES,
    SHORTEST_BYTES,
    DamagedRecordError,
    Record,
    read_length,
    seq_of,
    unpack,
)
from llm_audit.journal.segments.segment import Segment
from llm_audit.journal.spool.folder import rejected_in
from llm_audit.runtime import trusted

DAMAGED = ".damaged"
COPIED_BYTES = 2**20  # at once
# A rest that is longer is not copied but moved, with all before it: it may be nothing but holes.
COPIED_MAX_BYTES = 64 * 2**20
PASSED_MAX = 100_000  # records, of about a segment


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
        segment._descriptor = _created(path)
        return segment

    @classmethod
    def found(cls, path: Path, here: int, *, grows: bool = False) -> "FileSegment":
        """Return the file of another process, or what is in the place of one.

        Args:
            path: Where it is.
            here: Its folder, which is open.
            grows: Whether its process may still write it.
        """
        status = os.stat(path.name, dir_fd=here, follow_symlinks=False)
        segment = cls(path)
        segment.end, segment.open, segment.grows = status.st_size, grows, grows
        if trusted.doubt_of_file(status, here):
            segment.end = max(1, segment.end)  # there is something to be read, which is refused
        segment.began -= max(0.0, time.time() - status.st_mtime)
        return segment

    def look(self) -> None:
        """See how long the file is; what is there stays there, but for half a record."""
        held = self._descriptor
        try:
            status = os.lstat(self.path) if held is None else os.fstat(held.number)
            if not status.st_nlink:  # it was removed, and is perhaps there anew
                self._descriptor = None
                status = os.lstat(self.path)
        except OSError as error:
            let_through(error)  # else somebody has removed it
        else:
            self.end = max(self.read, status.st_size)

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
        copy = _created(path)
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
        try:
            with trusted.folder(self.path.parent) as here:
                for name in self.blobs:
                    trusted.remove_file(name, here)
                if self.given_up:
                    self._move_aside(here)
                else:
                    trusted.remove_file(self.path.name, here)
        except FileNotFoundError as error:
            let_through(error)  # else somebody has removed the folder

    def _keep(self, record: Record, blobs: Sequence[Blob]) -> list[str]:
        return write_blobs(self.path.parent, blobs, f"{record.seq} {record.id}")

    def _read_at(self, offset: int, size: int) -> bytes:
        descriptor = self._descriptor  # held, even if the writer closes the segment meanwhile
        if descriptor is None:
            with trusted.folder(self.path.parent) as here:
                descriptor = _Descriptor(trusted.open_file(self.path.name, here))
            if self.grows:  # it will be read again and again
                self._descriptor = descriptor
        return os.pread(descriptor.number, size, offset)

    def _set_aside(self, start: int, end: int, part: str = "") -> None:
        if end - start > COPIED_MAX_BYTES:
            self.given_up = True  # then it goes there as it is
            return
        name = _aside(self.path, part)
        with (
            trusted.folder(self._rejected, make=True) as rejected,
            trusted.aside(name, rejected) as number,
            open(number, "wb", closefd=False) as file,
        ):
            file.writelines(self._parts(start, end))
        what = "A record in" if part else "The end of"
        log_once(
            f"{what} the journal {self.path} ({end - start} bytes) is damaged or was "
            f"never finished: it is set aside as {self._rejected / name}.",
            key="a record is set aside" if part else None,
        )

    def _parts(self, start: int, end: int) -> Iterator[bytes]:
        for offset in range(start, end, COPIED_BYTES):
            yield self._read_at(offset, min(COPIED_BYTES, end - offset))

    def _move_aside(self, here: int) -> None:
        name = _aside(self.path)
        with suppress(OSError), trusted.folder(self._rejected, make=True) as rejected:
            os.rename(self.path.name, name, src_dir_fd=here, dst_dir_fd=rejected)
            log_once(f"{self.path} cannot be read: it is set aside as {self._rejected / name}.")

    @property
    def _rejected(self) -> Path:
        return rejected_in(self.path.parent.parent)


def _created(path: Path) -> _Descriptor:
    with trusted.folder(path.parent) as here:
        return _Descriptor(trusted.create(path.name, here, os.O_RDWR | os.O_APPEND))


def first_record(path: Path, after: int = -1) -> tuple[int, Record] | None:
    """Return the first record in a file that others may write into, and where it begins.

    Args:
        path: The file.
        after: Records up to this number are passed over; of these only the heads are read.

    Returns:
        None if there is none, or it is not whole yet.

    Raises:
        OSError: It cannot be read.
        DamagedRecordError: That is no record.
        InvalidRecordError: As well.
        JournalVersionError: A newer llm-audit wrote it.
    """
    with trusted.folder(path.parent) as here:
        descriptor = _Descriptor(trusted.open_file(path.name, here))
    offset = 0
    for _ in range(PASSED_MAX):
        head = os.pread(descriptor.number, SHORTEST_BYTES, offset)
        if len(head) < SHORTEST_BYTES:
            return None
        (length,) = read_length(head)
        if not SHORTEST_BYTES <= length <= RECORD_MAX_BYTES:
            raise DamagedRecordError
        if seq_of(head) > after:
            data = os.pread(descriptor.number, length, offset)
            return (offset, unpack(data)) if len(data) == length else None
        offset += length
    return None


def _aside(path: Path, part: str = "") -> str:
    """Name a damaged segment, or a part of it: by its process, beside what was refused."""
    return f"{path.parent.name}-{path.stem}{part}{DAMAGED}"
