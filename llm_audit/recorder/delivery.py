"""Bring a batch of writes into MongoDB: once, whatever the server answers.

Three kinds of answer: a duplicate `_id` moves a write on to its next form; a document that the
server will not take is set aside and replaced by a bare one; anything else says that the server is
not available now, and what is left is sent again later.
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
)

from llm_audit.errors import log_once
from llm_audit.indexes import STORAGE_ENGINE, call_indexes
from llm_audit.recorder import blobs
from llm_audit.recorder.operations import Form, Write, bare, expires_at
from llm_audit.recorder.spool import rejected_folder
from llm_audit.settings import Settings

DUPLICATE_KEY = 11000
NAMESPACE_EXISTS = 48
AUTHENTICATION_FAILED = 18
# What MongoDB says of a document or statement, not of its own state (its error_codes.yml):
# BadValue, FailedToParse, TypeMismatch, Overflow, InvalidBSON, the field-name errors,
# ImmutableField, DocumentValidationFailure, CannotIndexParallelArrays, a duplicate in an index of
# the user's own, and the documents that are or would become too large.
REFUSALS = frozenset(
    {2, 9, 14, 15, 22, 52, 54, 55, 56, 57, 66, 121, 171, DUPLICATE_KEY}
    | {10334, 17280, 17419, 17420}
)
# What it says of a whole batch because of one document: Overflow (nested too deep), InvalidBSON,
# BSONObjectTooLarge. Anything else is about the settings, such as a write concern it cannot meet.
BATCH_REFUSALS = frozenset({15, 22, 10334})
TRIES = 5  # until an unknown error counts as a refusal
_CLIENT_REFUSALS = (BSONError, DocumentTooLarge, OverflowError, UnicodeError, RecursionError)

Group = list[Write]
Calls = Collection[dict[str, Any]]


class UnavailableError(Exception):
    """MongoDB does not take writes now; the text says why, without recorded content."""


class Delivery:
    """The connection to one collection, and what became of the writes sent over it.

    Args:
        settings: Where to, and how to acknowledge.
        target_folder: The spool's folder for this target, for what MongoDB refuses.
        nonce: Names this process.
    """

    def __init__(self, settings: Settings, target_folder: Path, nonce: str) -> None:
        self.superseded = 0
        self.dropped = 0
        self.rejected: Counter[str] = Counter()
        self._settings = settings
        self._target_folder = target_folder
        self._nonce = nonce
        self._client: MongoClient[dict[str, Any]] | None = None
        self._collection_created = not settings.create_collection

    def open(self) -> None:
        """Begin to look for the server, in threads of the client's own, and wait for nothing.

        Called as early as can be: from Python 3.12 no thread can be started any more once a script
        has reached its end.
        """
        if not self._settings.mongo_url.startswith("mongodb+srv:"):  # that waits for DNS
            with suppress(UnavailableError, PyMongoError):  # `send` meets it again, and says so
                self._open_client()

    def send(self, writes: list[Write], blob_folder: Path) -> None:
        """Bring every write into the database, or set aside what the server refuses.

        Args:
            writes: Emptied as they arrive; after an error it holds what is left to send.
            blob_folder: Where the blobs lie that the writes name.

        Raises:
            UnavailableError: Not now; call again with the same list.
        """
        groups = _apart(writes)
        try:
            collection = self._connect()
            self._upload_blobs(collection, writes, blob_folder)
            while groups:
                groups[-1:] = self._send_group(collection, groups[-1])
        except PyMongoError as error:
            raise UnavailableError(_describe(error)) from None
        finally:
            writes[:] = chain.from_iterable(groups)

    def find_pending(self, nonce: str) -> list[str]:
        """Return the ids of the calls that a process left open.

        Raises:
            UnavailableError: The server cannot be asked now.
        """
        query = {"process_nonce": nonce, "status": "PENDING"}
        try:
            # the URL may prefer secondaries, which may not have seen the call yet
            calls = self._connect().with_options(read_preference=ReadPreference.PRIMARY)
            return [call["_id"] for call in calls.find(query, {"_id": 1})]
        except PyMongoError as error:
            raise UnavailableError(_describe(error)) from None

    def close(self) -> None:
        """Close the connection, if one was made."""
        if self._client is not None:
            self._client.close()

    def _open_client(self) -> MongoClient[dict[str, Any]]:
        if self._client is None:
            try:
                self._client = MongoClient(
                    self._settings.mongo_url,
                    appname="llm-audit",
                    serverSelectionTimeoutMS=3000,
                    # not timeoutMS, which is also how long a server that is down is sought
                    socketTimeoutMS=20_000,
                    tz_aware=True,
                    uuidRepresentation="standard",
                )
            except ValueError as error:  # not a PyMongoError: a port that is no number, say
                raise UnavailableError(f"mongo_url: {error}") from None
        return self._client

    def _connect(self) -> Calls:
        settings = self._settings
        client = self._open_client()
        if not self._collection_created:
            self._create_collection(client)
            self._collection_created = True
        return client[settings.database].get_collection(
            settings.collection,
            write_concern=WriteConcern(w=settings.write_concern, j=settings.write_journal or None),
        )

    def _create_collection(self, client: MongoClient[dict[str, Any]]) -> None:
        """Create the collection with its indexes, which costs nothing while it is empty."""
        database = client[self._settings.database]
        name = self._settings.collection
        try:
            if not database.list_collection_names(filter={"name": name}):
                database.create_collection(name, storageEngine=STORAGE_ENGINE)
            elif database[name].find_one({}, {"_id": 1}) is not None:
                return
            # also where whoever created it was killed before this
            database[name].create_indexes(call_indexes())
        except CollectionInvalid:
            return  # another process was a moment faster, and makes the indexes
        except OperationFailure as error:
            if error.code == NAMESPACE_EXISTS:
                return
            if error.code == AUTHENTICATION_FAILED:
                raise
            log_once(
                f"The collection {name} could not be created with its indexes "
                f"({_describe(error)}): let an administrator run llm_audit.init(), or set "
                "create_collection=False."
            )

    def _upload_blobs(self, collection: Calls, writes: list[Write], folder: Path) -> None:
        """Put blobs into GridFS before the documents that name them."""
        for record in chain.from_iterable((write.record, write.outcome) for write in writes):
            if record is not None and record.blobs:
                expires = expires_at(record.id, self._settings.retention_days)
                for name in record.blobs:
                    blobs.upload(collection.database, folder / name, expires)

    def _send_group(self, collection: Calls, group: Group) -> list[Group]:
        """Send one bulk; return what has to be sent next, in groups."""
        try:
            retention_days = self._settings.retention_days
            statements: list[Any] = [write.statement(retention_days) for write in group]
            result = collection.bulk_write(statements, ordered=False)
        except BulkWriteError as error:
            return self._sort_out(error.details, group)
        except _CLIENT_REFUSALS as error:
            return self._halve(group, type(error).__name__)
        except OperationFailure as error:
            if error.code not in BATCH_REFUSALS:
                raise
            return self._halve(group, _describe(error))
        if group and group[0].form is Form.UPDATE_OTHER:
            self.superseded += len(group) - result.matched_count
        return []

    def _sort_out(self, details: Mapping[str, Any], group: Group) -> list[Group]:
        """Say what the failed writes of a bulk become; all the others have arrived."""
        if details["writeConcernErrors"]:
            code = details["writeConcernErrors"][0].get("code")
            raise UnavailableError(f"write concern not met, code {code}")
        errors = details["writeErrors"]
        nothing_arrived = len(errors) == len(group)
        again: Group = []
        unknown: Group = []
        for error in errors:
            write = group[error["index"]]
            code = error["code"]
            write.errors += 1
            # only where something arrives is it sure that MongoDB works: else one write at a time
            given_up = write.errors >= TRIES and not write.bare and not (nothing_arrived and again)
            if code == DUPLICATE_KEY and set(error.get("keyPattern", {"_id": 1})) == {"_id"}:
                again += write.after_duplicate()
            elif code in REFUSALS or write.form is Form.INSERT_MERGED or given_up:
                again += self._without_refused(write, f"code {code}", error["errmsg"])
            else:
                unknown.append(write)
        if unknown:
            group[:] = again + unknown
            raise UnavailableError(f"{len(unknown)} writes failed, the last with code {code}")
        return _apart(again)

    def _halve(self, group: Group, reason: str) -> list[Group]:
        """Split a bulk that was refused as a whole until the culprit is alone."""
        if len(group) == 1:
            smaller = self._without_refused(group[0], reason, "")
            return [smaller] if smaller else []
        middle = len(group) // 2
        return [group[middle:], group[:middle]]

    def _without_refused(self, write: Write, reason: str, detail: str) -> Group:
        """Set a refused record aside; return what can be sent of it without its content."""
        if write.form is Form.INSERT_MERGED:
            return write.after_duplicate()  # apart, they show which half was refused
        if write.bare:
            return []  # the whole of it lies aside already
        self._set_aside(write, f"{reason}: {detail[:500]}")
        self.rejected[reason] += 1
        log_once(
            f"MongoDB refused a record ({reason}): it is kept in {self._target_folder}/rejected, "
            "and the call is recorded without its content, if MongoDB takes that.",
            level=logging.ERROR,
            key=f"refused {reason}",
        )
        if write.form is Form.ADD_NOTES:
            return []
        record = bare(write.record, reason)
        return [
            Write(write.form, record, bare=True),
            Write(Form.ADD_NOTES, record, bare=True),
        ]

    def _set_aside(self, write: Write, reason: str) -> None:
        record = {**write.record._asdict(), "doc": RawBSONDocument(bytes(write.record.doc))}
        document = bson.encode(
            {"rejected_at": datetime.now(UTC), "reason": reason, "record": record}
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            path = rejected_folder(self._target_folder) / f"{self._nonce}.bson"
            with open(os.open(path, flags, 0o600), "ab") as file:  # noqa: PTH123  (the mode)
                file.write(document)
        except OSError as error:  # what follows must not wait for a disk
            self.dropped += 1
            log_once(
                f"A record that MongoDB refused could not be kept in the spool ({error.strerror}).",
                level=logging.ERROR,
            )


def _apart(writes: Group) -> list[Group]:
    """Let updates of `other` outcomes go by themselves: their count says what was superseded."""
    others = [write for write in writes if write.form is Form.UPDATE_OTHER]
    rest = [write for write in writes if write.form is not Form.UPDATE_OTHER]
    return [group for group in (others, rest) if group]


def _describe(error: PyMongoError) -> str:
    """Name an error without its text, which may hold documents or credentials."""
    code = getattr(error, "code", None)
    if code == AUTHENTICATION_FAILED:
        return "user or password is wrong"
    return type(error).__name__ if code is None else f"{type(error).__name__}, code {code}"
