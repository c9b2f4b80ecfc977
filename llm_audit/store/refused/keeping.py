"""Put what was refused into `llm_audit_rejected`, with the media that it refers to."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)

from llm_audit.errors import UnavailableError, let_through_what_passes, log_fault
from llm_audit.settings.names import REJECTED
from llm_audit.store import gridfs
from llm_audit.store.answers.codes import code_of_content, is_duplicate_id, only_this_is_refused
from llm_audit.store.connection import Documents


def kept_of(collection: Documents, documents: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return which documents are in MongoDB already."""
    names = [document["_id"] for document in documents]
    try:
        return {kept["_id"] for kept in collection.find({"_id": {"$in": names}}, {"_id": 1})}
    except OperationFailure as error:
        _raise_if_unavailable(error)
        return set()


def insert(
    collection: Documents, documents: list[dict[str, Any]], blob_folder: Path
) -> list[dict[str, Any]]:
    """Keep documents in MongoDB, and the media they refer to; return those that it refuses."""
    database = collection.database.with_options(write_concern=collection.write_concern)
    without_media = []
    for document in documents:
        expires = document.get("expires_at", gridfs.NEVER)
        media = document.get("media", ())
        if not all(_refer(database, sha256, expires, blob_folder) for sha256 in media):
            without_media.append(document)
    documents = [document for document in documents if document not in without_media]
    return without_media + (_insert(collection, documents) if documents else [])


def _insert(collection: Documents, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        if error.details["writeConcernErrors"]:
            raise UnavailableError("write concern not met") from None
        errors = [one for one in error.details["writeErrors"] if not is_duplicate_id(one)]
        for one in errors:
            _raise_if_unavailable(OperationFailure("", one["code"]))
        return [documents[one["index"]] for one in errors]
    except DocumentTooLarge:
        return documents
    except OperationFailure as error:
        _raise_if_unavailable(error)
        return documents
    return []


def _raise_if_unavailable(error: OperationFailure) -> None:
    if not only_this_is_refused(error):
        raise error


def _refer(
    database: Database[dict[str, Any]], sha256: str, expires: datetime, blob_folder: Path
) -> bool:
    """Have a content stay in GridFS; return false if MongoDB refuses it there.

    Where it is lost, the record is kept without it.
    """
    try:
        gridfs.refer(database, REJECTED, sha256, expires, blob_folder.glob(f"{sha256}.*"))
    except DuplicateKeyError:  # in an index of the user's own; that is counted
        return True
    except OperationFailure as error:
        if code_of_content(error) is None:
            raise
        return False
    except PyMongoError:
        raise
    except BaseException as fault:  # noqa: BLE001  (what passes goes through)
        let_through_what_passes(fault)
        log_fault(fault)
    return True
