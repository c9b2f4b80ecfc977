"""The journal: what one process recorded, as segments of plain concatenated BSON documents.

It is the file format of `mongodump`, so `bson.decode_file_iter` and `bsondump` read it. Each
document is a record `{v, seq, op, id, key, doc, notes?, blobs?}`. Writing a record is one
`os.write`; whatever happens to the process afterwards, the record is on disk.
"""

import logging
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from llm_audit.errors import LLMAuditError, log_once

FORMAT_VERSION = 1
START = "start"
OWN = "own"
OTHER = "other"

MEMORY_MAX_BYTES = 8 * 2**20
REOPEN_AFTER_SECONDS = 1.0
DISK_REFUSED = "the disk refuses the journal"  # said once, whoever finds out first

_UNNUMBERED = Int64(0)
_SEQ_OFFSET = 16  # length (4), "\x10v\0" and an int32 (7), "\x12seq\0" (5)
_LENGTH_BYTES = 4
_SHORTEST_RECORD = 5
_pack_seq = struct.Struct("<q").pack_into
_read_length = struct.Struct("<i").unpack_from


class JournalVersionError(LLMAuditError):
    """A journal was written by a newer llm-audit, which has to read it."""


class JournalClosedError(LLMAuditError):
    """The journal takes no more records: its recorder is being stopped."""


class Record(NamedTuple):
    """One operation as the journal holds it; `doc` is BSON that nobody needs to decode."""

    op: str
    id: str
    seq: int
    key: int
    doc: bytes | memoryview
    notes: Sequence[str]
    blobs: Sequence[str]


@dataclass(eq=False, slots=True)
class Segment:
    """One journal file, and how far it is written, read and acknowledged."""

    path: Path
    end: int = 0
    read: int = 0
    open: bool = True
    began: float = field(default_factory=time.monotonic)
    unacknowledged: int = 0
    damaged: bool = False
    blobs: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether nothing more comes and MongoDB has everything that was read."""
        return not self.open and self.read >= self.end and self.unacknowledged == 0

    def delete(self) -> None:
        """Remove the file and the blobs that only its records name; a damaged one is set aside."""
        for name in self.blobs:
            (self.path.parent / name).unlink(missing_ok=True)
        if self.damaged:
            self.path.rename(self.path.with_suffix(".damaged"))
        else:
            self.path.unlink(missing_ok=True)


def record_fields(
    op: str,
    call_id: str,
    key: int,
    doc: Mapping[str, Any],
    *,
    notes: Sequence[str] = (),
    blobs: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the fields of a record, still without its number, which `Journal.append` fills in.

    Args:
        op: START, OWN or OTHER.
        call_id: The call's id.
        key: The outcome's precedence; 0 for a start.
        doc: The operation's fields.
        notes: What encoding changed in them.
        blobs: Names of the files beside the journal that hold what was too large for it.
    """
    fields = {
        "v": FORMAT_VERSION,
        "seq": _UNNUMBERED,
        "op": op,
        "id": call_id,
        "key": key or _UNNUMBERED,
        "doc": doc,
    }
    if notes:
        fields["notes"] = list(notes)
    if blobs:
        fields["blobs"] = list(blobs)
    return fields


class Journal:
    """This process's append-only journal.

    Args:
        folder: Where its segments go; it must exist.
        segment_max_bytes: The size after which the next segment begins.
    """

    def __init__(self, folder: Path, segment_max_bytes: int) -> None:
        self.folder = folder
        self.segments: deque[Segment] = deque()
        self.in_memory: deque[bytearray] = deque()
        self.last_seq = 0
        self.not_journaled = 0
        self.dropped = 0
        self._segment_max_bytes = segment_max_bytes
        self._lock = threading.RLock()
        self._arriving: deque[bytearray] = deque()
        self._appending = False
        self._closed = False
        self._descriptor: int | None = None
        self._current = Segment(folder)
        self._segment_number = 0
        self._memory_bytes = 0
        self._refused_until = 0.0

    def append(self, record: bytes) -> None:
        """Number a record and write it to disk before returning.

        `record` is what `record_fields` gave, as BSON, which begins with version and number.
        Where the disk refuses, the record is kept in memory as far as a small bound allows.

        Raises:
            JournalClosedError: The recorder is being stopped; another takes its place.
        """
        with self._lock:
            if self._closed:
                raise JournalClosedError
            self._arriving.append(bytearray(record))
            # a signal handler that interrupted the holder of the lock leaves its record to it
            while self._arriving and not self._appending:
                arrived = None
                try:
                    self._appending = True
                    if self._arriving:  # else a signal handler has just written it
                        arrived = self._arriving.popleft()
                        self._write(arrived)
                except BaseException:
                    self._settle(arrived)
                    raise
                finally:
                    self._appending = False

    def read_memory(self) -> list[bytearray]:
        """Take what the disk refused."""
        with self._lock:
            records = list(self.in_memory)
            self.in_memory.clear()
            self._memory_bytes = 0
            return records

    def close_segment(self, *, older_than_seconds: float = 0.0) -> None:
        """End the current segment, so that it can be deleted once acknowledged."""
        with self._lock:
            if self._descriptor is None or self._appending:
                return
            if time.monotonic() - self._current.began >= older_than_seconds:
                self._close_descriptor()

    def close(self) -> None:
        """Take no more records, so that everything can be shipped and the folder removed."""
        with self._lock:
            self._closed = True
            self.close_segment()

    def forget(self) -> None:
        """Close an inherited journal in a forked child; the parent's file stays as it is."""
        self._close_descriptor()

    def _write(self, record: bytearray) -> None:
        _pack_seq(record, _SEQ_OFFSET, self.last_seq + 1)
        if self._descriptor is None and not self._open_segment():
            self._keep_in_memory(record)
            return
        segment = self._current
        try:
            written = os.write(self._descriptor, record)  # type: ignore[arg-type]
            while written < len(record):
                written += os.write(self._descriptor, record[written:])  # type: ignore[arg-type]
        except OSError as error:
            self._disk_refused(error)
            self._keep_in_memory(record)
            return
        segment.end += len(record)
        self.last_seq += 1
        if segment.end >= self._segment_max_bytes:
            self._close_descriptor()

    def _settle(self, record: bytearray | None) -> None:
        """Find out what an exception out of a signal handler, a time limit say, has cut short."""
        if self._descriptor is None or record is None:
            return
        written = os.fstat(self._descriptor).st_size - self._current.end
        if written == len(record):
            self._current.end += written
            self.last_seq += 1
        elif written:
            os.ftruncate(self._descriptor, self._current.end)

    def _open_segment(self) -> bool:
        if time.monotonic() < self._refused_until:
            return False
        self._current.open = False
        self._segment_number += 1
        path = self.folder / f"{self._segment_number:08d}.bson"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            self._disk_refused(error)
            return False
        self._current = Segment(path)
        self.segments.append(self._current)
        self._descriptor = descriptor
        return True

    def _disk_refused(self, error: OSError) -> None:
        log_once(
            f"The journal in spool_dir cannot be written ({error.strerror}): make room in or give "
            f"write permission to {self.folder}, or set LLM_AUDIT_SPOOL_DIR. Until then calls are "
            "kept in memory only.",
            level=logging.ERROR,
            key=DISK_REFUSED,
        )
        self._refused_until = time.monotonic() + REOPEN_AFTER_SECONDS
        if self._descriptor is not None:
            try:
                os.ftruncate(self._descriptor, self._current.end)  # leave no half record behind
            except OSError as truncation:
                log_once(f"A half-written journal record could not be cut off ({truncation}).")
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        self._current.open = False
        if descriptor is not None:
            os.close(descriptor)

    def _keep_in_memory(self, record: bytearray) -> None:
        if self._memory_bytes + len(record) > MEMORY_MAX_BYTES:
            self.dropped += 1
            log_once(
                "Neither disk nor memory has room for more calls: some are dropped and counted.",
                level=logging.ERROR,
            )
            return
        self.last_seq += 1  # what is dropped has no number, and flush() does not wait for it
        self.not_journaled += 1
        self._memory_bytes += len(record)
        self.in_memory.append(record)


def find_segments(folder: Path) -> deque[Segment]:
    """Return the segments that a dead process left in its folder, oldest first."""
    return deque(
        Segment(path, end=path.stat().st_size, open=False) for path in sorted(folder.glob("*.bson"))
    )


def read_segment(segment: Segment, max_bytes: int) -> Iterator[Record]:
    """Read on in a segment, at most about `max_bytes` of it, and move its `read` mark.

    A torn last record is left out: the call that was writing it never returned. Where bytes are no
    record, the rest of the segment is set aside as damaged.

    Raises:
        JournalVersionError: A newer llm-audit wrote the segment; it is left alone.
    """
    try:
        chunk = _read_chunk(segment, max_bytes)
    except FileNotFoundError:
        log_once(f"Somebody removed {segment.path}: what MongoDB had not acknowledged is lost.")
        segment.read = segment.end
        return
    position = 0
    while position + _LENGTH_BYTES <= len(chunk):
        (length,) = _read_length(chunk, position)
        if length < _SHORTEST_RECORD or position + length > len(chunk):
            break
        try:
            record = unpack(chunk[position : position + length])
        except (BSONError, KeyError):
            break
        position += length
        yield record
    segment.read += position
    if position == 0:
        _leave_out_rest(segment, chunk)


def _read_chunk(segment: Segment, max_bytes: int) -> bytes:
    with segment.path.open("rb") as file:
        file.seek(segment.read)
        chunk = file.read(min(max_bytes, segment.end - segment.read))
        if len(chunk) >= _LENGTH_BYTES:
            (length,) = _read_length(chunk)
            if len(chunk) < length <= segment.end - segment.read:
                chunk += file.read(length - len(chunk))
    return chunk


def _leave_out_rest(segment: Segment, chunk: bytes) -> None:
    left_out = segment.end - segment.read
    torn = len(chunk) < _LENGTH_BYTES or _read_length(chunk)[0] > left_out
    segment.damaged = not torn
    segment.read = segment.end
    log_once(
        f"A record at the end of {segment.path} is incomplete ({left_out} bytes): left out."
        if torn
        else f"{segment.path} is damaged: its last {left_out} bytes are set aside beside it.",
    )


def unpack(raw: bytes | bytearray) -> Record:
    """Return a record, its `doc` still in BSON.

    Raises:
        JournalVersionError: A newer llm-audit wrote it.
    """
    fields = dict(RawBSONDocument(bytes(raw)).items())  # decodes the top level once
    if fields["v"] != FORMAT_VERSION:
        raise JournalVersionError
    return Record(
        fields["op"],
        fields["id"],
        fields["seq"],
        fields["key"],
        fields["doc"].raw,
        fields.get("notes", ()),
        fields.get("blobs", ()),
    )
