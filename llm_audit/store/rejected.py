"""What MongoDB refused: kept in the spool, each record with the reason and with its media.

A file per process, `<spool_dir>/<target>/rejected/<nonce>.bson`, of documents
`{rejected_at, reason, record}`; the blobs that its records name are in the folder
`<nonce>.media` beside it. Whoever writes to a file or empties it holds its `flock`; what is refused
while it is being emptied goes to a further one, `<nonce>.<any>.bson`.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from uuid_utils import uuid4

from llm_audit.journal.records import Record
from llm_audit.journal.segments import SUFFIX
from llm_audit.journal.spool import REJECTED, rejected_folder

_RAW = bson.CodecOptions(document_class=RawBSONDocument)


def keep(target_folder: Path, nonce: str, record: Record, reason: str, blob_folder: Path) -> None:
    """Write a refused record to its process's file, and keep its media.

    Args:
        target_folder: The spool's folder for the target.
        nonce: The process.
        record: What was refused.
        reason: What MongoDB said.
        blob_folder: Where the blobs lie that the record names.

    Raises:
        OSError: The spool cannot be written.
    """
    folder = rejected_folder(target_folder)
    fields = {**record._asdict(), "doc": RawBSONDocument(bytes(record.doc))}
    raw = bson.encode({"rejected_at": datetime.now(UTC), "reason": reason, "record": fields})
    media = [blob_folder / name for name in record.blobs]
    try:
        _append(folder / f"{nonce}{SUFFIX}", raw, media, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _append(folder / f"{nonce}.{uuid4()}{SUFFIX}", raw, media, fcntl.LOCK_EX)


def files(target_folder: Path) -> list[Path]:
    """Return the files that hold refused records."""
    return sorted((target_folder / REJECTED).glob(f"*{SUFFIX}"))


def kept(target_folder: Path, nonce: str) -> set[tuple[int, str]]:
    """Return which of a process's refused records are kept, by number and call."""
    found = set()
    for path in files(target_folder):
        if nonce_of(path) == nonce:
            with suppress(OSError, BSONError), path.open("rb") as file:
                for document in bson.decode_file_iter(file, _RAW):
                    found.add((document["record"]["seq"], document["record"]["id"]))
    return found


def media_folder(path: Path) -> Path:
    """Return where the blobs are that the records in a file name."""
    return path.with_suffix(".media")


def nonce_of(path: Path) -> str:
    """Return whose records a file holds."""
    return path.name.partition(".")[0]


@contextmanager
def taking(path: Path) -> Iterator[Iterator[Record]]:
    """Read a file of refused records, which is removed if the block is left without an error.

    Raises:
        OSError: It cannot be read; FileNotFoundError if somebody else was faster.
        bson.errors.InvalidBSON: It is damaged; raised by iterating over the records.
    """
    with _locked(path, os.O_RDWR, fcntl.LOCK_EX) as descriptor:
        with open(descriptor, "rb", closefd=False) as file:
            yield map(_record, bson.decode_file_iter(file, _RAW))
        path.unlink()
        shutil.rmtree(media_folder(path), ignore_errors=True)


def _record(document: RawBSONDocument) -> Record:
    fields = dict(document["record"].items())
    return Record(**{**fields, "doc": fields["doc"].raw})


def _append(path: Path, raw: bytes, media: Iterable[Path], lock: int) -> None:
    with _locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, lock) as descriptor:
        for blob in media:
            media_folder(path).mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # it is in GridFS only
                shutil.copyfile(blob, media_folder(path) / blob.name)
        end = os.fstat(descriptor).st_size
        if os.write(descriptor, raw) < len(raw):  # half a document would spoil the whole file
            os.ftruncate(descriptor, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, lock)
            if os.fstat(descriptor).st_nlink:  # else it was emptied and removed meanwhile
                yield descriptor
                return
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing frees it only when no fork has a copy
            os.close(descriptor)
