"""Content too large for a document: a file beside the journal first, then an entry in GridFS.

An entry of the bucket `fs` has the content's sha256 as `_id`, and as metadata

    collections     whose calls refer to it
    expires_at      when the longest-living of these calls expires; year 9999 if one never does
    referenced_at   when a call was last shipped with it, by the server's clock
    uploads         whose chunks it owns: each chunk names in `upload` who last wrote or took it

An upload is done only when the entry is there and owns every chunk; a removal takes the entry away
first, and then only chunks that it owned. So neither harms the other, two uploads go on with each
other's chunks, and whatever is killed leaves at worst chunks without an entry (see `media.py`).
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bson import Int64, ObjectId
from pymongo import ReadPreference, ReturnDocument, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from llm_audit.errors import log_once
from llm_audit.journal.blob_files import open_blob
from llm_audit.runtime.transient import is_transient
from llm_audit.settings.names import CHUNKS, FILES
from llm_audit.store.answers.codes import DUPLICATE_KEY
from llm_audit.store.connection import Documents
from llm_audit.store.ensure import ensure, going_on_without
from llm_audit.store.indexes import media_indexes

NEVER = datetime(9999, 12, 31, tzinfo=UTC)  # later than any date, so that $max keeps it
CHUNK_BYTES = 255 * 1024  # for good: an upload goes on with the chunks of a killed one
CHUNKS_AT_ONCE = 16
OURS = {"metadata.uploads": {"$exists": True}}  # other applications may use the bucket too


class Bucket(NamedTuple):
    """The two collections of GridFS, read from the primary only."""

    files: Documents
    chunks: Documents

    @classmethod
    def of(cls, database: Database[dict[str, Any]]) -> "Bucket":
        """Return the bucket `fs` of a database."""
        primary = database.with_options(read_preference=ReadPreference.PRIMARY)
        return cls(primary[FILES], primary[CHUNKS])


def refer(
    database: Database[dict[str, Any]],
    collection: str,
    sha256: str,
    expires: datetime,
    paths: Iterable[Path],
) -> bool:
    """Have a content in GridFS, for calls that refer to it.

    Args:
        database: Where the calls are; its write concern counts.
        collection: The calls' collection.
        sha256: The content.
        expires: When the longest-living of the calls expires, or NEVER.
        paths: Files in the spool with this content.

    Returns:
        Whether it is there; false, which is logged, if none of the files can be read.

    Raises:
        PyMongoError: Not now; call again.
        OSError: Not now, as long as the process has no file descriptor or memory to spare.
    """
    bucket = Bucket.of(database)
    reference: dict[str, dict[str, Any]] = {
        "$max": {"metadata.expires_at": expires},
        "$addToSet": {"metadata.collections": collection},
        "$currentDate": {"metadata.referenced_at": True},
    }
    if bucket.files.update_one({"_id": sha256, **OURS}, reference).matched_count:
        return True
    file = _open_first(paths, sha256)
    if file is None:
        return False
    with file:
        _upload(bucket, sha256, file, reference)
    return True


def take_away(bucket: Bucket, condition: Mapping[str, Any]) -> bool:
    """Remove an entry of ours if it meets a condition when it goes, and then its chunks."""
    entry = bucket.files.find_one_and_delete({**OURS, **condition}, {"metadata.uploads": 1})
    if entry is None:
        return False
    bucket.chunks.delete_many(
        {"files_id": entry["_id"], "upload": {"$in": entry["metadata"]["uploads"]}}
    )
    return True


def _open_first(paths: Iterable[Path], sha256: str) -> BufferedReader | None:
    """Open the first of some files that holds what it should."""
    for path in paths:
        try:
            file = open_blob(path)
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return file
            file.close()
            problem = "damaged"
        except OSError as error:
            if is_transient(error):
                raise
            problem = str(error.strerror)
        log_once(
            f"Media of a call cannot be read from the spool ({problem}): {path}.",
            key=f"media {problem}",
        )
    return None


def _upload(
    bucket: Bucket, sha256: str, file: BinaryIO, reference: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write chunks and entry until the entry owns every chunk: nearly always once."""
    for name, indexes in media_indexes().items():
        with going_on_without(name) as conflicts:
            conflicts.extend(ensure(bucket.files.database, name, indexes))
    length = os.fstat(file.fileno()).st_size
    upload = ObjectId()
    entry = {
        "filename": sha256,
        "length": Int64(length),
        "chunkSize": CHUNK_BYTES,
        "uploadDate": datetime.now(UTC),
    }
    update = {
        **reference,
        "$setOnInsert": entry,
        "$addToSet": {**reference["$addToSet"], "metadata.uploads": upload},
    }
    # else another application stores the same content, and decides how long
    while not bucket.files.count_documents({"_id": sha256, "metadata.uploads": None}, limit=1):
        _write_chunks(bucket.chunks, sha256, file, upload)
        try:
            owner = bucket.files.find_one_and_update(
                {"_id": sha256, **OURS},
                update,
                {"metadata.uploads": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError as error:
            if set((error.details or {}).get("keyPattern", {"_id": 1})) != {"_id"}:
                raise  # an index of the user's own does not let it be
            continue  # somebody else made the entry in this very moment
        if owner is not None:
            owned = {"files_id": sha256, "upload": {"$in": owner["metadata"]["uploads"]}}
            if bucket.chunks.count_documents(owned) >= -(-length // CHUNK_BYTES):
                return


def _write_chunks(chunks: Documents, sha256: str, file: BinaryIO, upload: ObjectId) -> None:
    """Write every chunk that is not there, and take those that are: equal names, equal content."""
    file.seek(0)
    numbered = enumerate(iter(lambda: file.read(CHUNK_BYTES), b""))
    while some := list(islice(numbered, CHUNKS_AT_ONCE)):
        statements = [
            UpdateOne(
                {"files_id": sha256, "n": number},
                {"$set": {"upload": upload}, "$setOnInsert": {"data": data}},
                upsert=True,
            )
            for number, data in some
        ]
        try:
            chunks.bulk_write(statements, ordered=False)
        except BulkWriteError as error:
            codes = {one["code"] for one in error.details["writeErrors"]}
            # another upload wrote one first: whose it is, is looked at in the end
            if codes != {DUPLICATE_KEY} or error.details["writeConcernErrors"]:
                raise
