"""What MongoDB refused: a document each in `llm_audit_rejected`, to be sent again from anywhere.

    _id             process, number and call: the same record is kept once, whoever sends it
    call_id, process_nonce, collection    whose it is, and where it was to go
    reason, detail  MongoDB's code, and what it said, which may quote content
    rejected_at     when, UTC
    expires_at      when the call expires, and a year after `rejected_at` at the latest
    media           the sha256 of what the record has in GridFS, which stays as long as this does
    record          the record as it was in the journal: bytes, so that nothing in it is refused

Only while MongoDB refuses such a document too, it waits as a file in the spool: the document in
`rejected/<process>.<hash>.bson`, its media in the folder `rejected/<process>.<hash>.media`.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import bson
from pymongo.database import Database
from pymongo.errors import (
    PyMongoError,
)

from llm_audit.errors import UnavailableError, let_through, log_once
from llm_audit.journal.blob_files import copy_blob, sha256_of
from llm_audit.journal.losses import INTERNAL, RECORD, Losses
from llm_audit.journal.precedence import rank_of
from llm_audit.journal.records import (
    LATER,
    Record,
    pack,
    seal,
)
from llm_audit.journal.spool import aside
from llm_audit.journal.spool.folder import SUFFIX, ProcessFolder, rejected_in
from llm_audit.journal.statements.bare import without_content
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.statements.writes import ANOTHERS, Write
from llm_audit.runtime import trusted
from llm_audit.settings import Settings
from llm_audit.settings.names import REJECTED
from llm_audit.store.connection import Connection
from llm_audit.store.refused.keeping import insert, kept_of
from llm_audit.store.refused.waiting import files, media_folder

DETAIL_MAX = 500
KEPT_AT_MOST = timedelta(days=365)


class Refusal(NamedTuple):
    """A write that is not taken: why, and what MongoDB said of it, which may quote content.

    The reason is MongoDB's code, or what raised before it could be asked; then the detail is where.
    """

    write: Write
    reason: str
    detail: str


class Refusals(Protocol):
    """Takes care of the records that MongoDB refuses."""

    counted: Losses

    def instead(self, refusal: Refusal) -> list[Write]:
        """Return what to send in place of a refused record."""
        ...

    def keep(self, refused: Sequence[Refusal], blob_folder: Path) -> None:
        """Keep refused records, once what is sent in their place has arrived.

        Args:
            refused: Each the write of one record.
            blob_folder: Where the blobs lie that they name.

        Raises:
            PyMongoError: MongoDB does not answer now; call again.
            UnavailableError: As well.
        """
        ...


class Rejected:
    """Keeps what MongoDB refuses of one process's journal, and counts it.

    Args:
        settings: How long calls are kept.
        connection: To MongoDB.
        folder: The process's, in the spool.
        losses: Is told of what neither MongoDB nor the disk takes.
        counted: What was counted when others sent the journal, as `Losses.entries`.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        folder: ProcessFolder,
        losses: Losses,
        *,
        counted: Iterable[dict[str, Any]] = (),
    ) -> None:
        self.counted = Losses(counted)
        self._just_counted: set[str] = set()
        self._settings = settings
        self._retention = Retention(settings.retention_days, connection.clock.now)
        self._connection = connection
        self._target_folder = folder.path.parent
        self._nonce = folder.nonce
        self._losses = losses

    def instead(self, refusal: Refusal) -> list[Write]:
        """Return what is sent of a record without its content: who, when and how much."""
        return without_content(refusal.write, refusal.reason)

    def keep(self, refused: Sequence[Refusal], blob_folder: Path) -> None:
        """Keep records as they were, and count each once, whoever sends it."""
        documents = [self._document(refusal) for refusal in refused]
        # by an earlier try, by the process that recorded it, or by another that shipped it
        known = self._just_counted | kept_of(self._connection.rejected(), documents)
        records: dict[str, Record] = {}
        for document, (write, reason, _) in zip(documents, refused, strict=True):
            record = records[document["_id"]] = write.record
            if document["_id"] not in known and not self._path(document).exists():
                self.counted.add(RECORD, reason, seq=record.seq, call_ids=[record.id])
                self._just_counted.add(document["_id"])
                _say_refused(reason, "it" if record.op == LATER else "its content")
        for document in insert(self._connection.rejected(), documents, blob_folder):
            self._write(document, records[document["_id"]], blob_folder)
        self._just_counted.clear()

    def _document(self, refusal: Refusal) -> dict[str, Any]:
        record = refusal.write.record
        notes, blobs = record.notes, record.blobs
        raw = pack(
            record.op,
            record.id,
            record.key,
            bytes(record.doc),
            notes=notes,
            blobs=blobs,
            redacted=record.redacted,
        )
        seal(raw, record.seq)
        # what is said of others' calls has no number, and may be said by several, again and again
        said_by = f"{self._nonce} {record.seq}" if record.seq else f"rank {rank_of(record.key)}"
        document = {
            "_id": f"{said_by} {record.id}",
            "call_id": record.id,
            "process_nonce": self._nonce,
            "collection": self._settings.collection,
            "reason": refusal.reason,
            "detail": refusal.detail[:DETAIL_MAX],
            "rejected_at": datetime.now(UTC),
            "expires_at": self._expires_at(record),
            "media": [sha256_of(name) for name in blobs],
            "record": bytes(raw),
        }
        return {name: value for name, value in document.items() if value}

    def _expires_at(self, record: Record) -> datetime:
        """Return when MongoDB may delete it: with its call, or after a year at the latest."""
        at_the_latest = datetime.now(UTC) + KEPT_AT_MOST
        try:
            return min(self._retention.expires_at(record.id) or at_the_latest, at_the_latest)
        except (PyMongoError, UnavailableError):
            raise
        except BaseException as fault:  # noqa: BLE001  (that may be why it is kept)
            let_through(fault)
            return at_the_latest

    def _path(self, document: Mapping[str, Any]) -> Path:
        name = hashlib.sha256(document["_id"].encode()).hexdigest()[:16]
        return rejected_in(self._target_folder) / f"{self._nonce}.{name}{SUFFIX}"

    def _write(self, document: Mapping[str, Any], record: Record, blob_folder: Path) -> None:
        """Have a record wait in the spool, whole or not at all."""
        path = self._path(document)
        data = bson.encode(document)
        blobs = [blob for name in record.blobs if (blob := blob_folder / name).exists()]
        size_bytes = len(data) + sum(blob.stat().st_size for blob in blobs)
        try:
            aside.check_room(self._target_folder, size_bytes, self._settings.spool_max_bytes)
            for name in record.blobs:
                with suppress(FileNotFoundError):  # it is in GridFS only
                    copy_blob(blob_folder / name, media_folder(path))
            with trusted.folder(path.parent, make=True) as rejected:
                trusted.put(path.name, rejected, data)
        except OSError as error:  # what follows must not wait for a disk
            self._losses.add(
                RECORD, "refused by MongoDB and by the disk", seq=record.seq, call_ids=[record.id]
            )
            log_once(
                "A record that MongoDB refused could not be kept in the spool either "
                f"({error.strerror}).",
                level=logging.ERROR,
            )
            return
        log_once(
            f"MongoDB does not take what it refused into {REJECTED}: it waits in {path.parent} "
            "until it does. Give the user of mongo_url readWrite on the database."
        )


def _say_refused(reason: str, without: str) -> None:
    if reason == ANOTHERS:
        log_once(
            f"A call was recorded under an id that a call of another process has: it is kept in "
            f"{REJECTED} ({reason}). Were ids drawn alike, after a fork or in copies of a virtual "
            "machine?",
            level=logging.ERROR,
        )
        return
    if reason.startswith(INTERNAL):
        log_once(
            f"A record could not be sent ({reason}): it is kept in {REJECTED}, and the call is "
            f"recorded without {without}. That is a fault of llm-audit: please report it; once it "
            "is fixed, call llm_audit.retry_rejected().",
            level=logging.ERROR,
            key=f"refused {reason}",
        )
        return
    log_once(
        f"MongoDB refused a record ({reason}): it is kept in {REJECTED}, and the call is recorded "
        f"without {without}, if MongoDB takes that. Fix what refuses it, e.g. a validator, and "
        "call llm_audit.retry_rejected().",
        level=logging.ERROR,
        key=f"refused {reason}",
    )


def count_kept(database: Database[dict[str, Any]], target_folder: Path, nonce: str) -> int:
    """Return how many records of a process are kept, in MongoDB and in this spool."""
    waiting = [path for path in files(target_folder) if path.name.startswith(f"{nonce}.")]
    return database[REJECTED].count_documents({"process_nonce": nonce}) + len(waiting)
