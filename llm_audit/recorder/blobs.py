"""Content too large for a document: a file beside the journal first, then an entry in GridFS."""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import gridfs
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from uuid_utils import uuid4

from llm_audit.errors import log_once
from llm_audit.recorder.encode import Blob

SUFFIX = ".blob"


def write_blobs(folder: Path, blobs: Iterable[Blob]) -> list[str]:
    """Write blobs to the disk, each under a name of its own, and return the names.

    Raises:
        OSError: The spool cannot be written.
    """
    names = []
    for blob in blobs:
        # its own, so that no other record's segment takes it along when it goes
        name = f"{blob.sha256}.{uuid4()}{SUFFIX}"
        names.append(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(folder / name, flags, 0o600), "wb") as file:  # noqa: PTH123  (the mode)
            file.write(blob.data)
    return names


def upload(database: Database[dict[str, Any]], path: Path, expires: datetime | None) -> None:
    """Bring one blob into GridFS under its sha256, unless it is there already.

    Args:
        database: Where the calls are.
        path: The file in the spool.
        expires: When the call that names it expires; the blob outlives every such call.
    """
    sha256 = path.name.partition(".")[0]
    files = database["fs.files"]
    if not files.count_documents({"_id": sha256}, limit=1):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            log_once(f"Media of a call is missing from the spool: {path}.")
            return
        _upload_new(database, sha256, data)
    if expires is not None:
        files.update_one({"_id": sha256}, {"$max": {"metadata.expires_at": expires}})


def _upload_new(database: Database[dict[str, Any]], sha256: str, data: bytes) -> None:
    bucket = gridfs.GridFSBucket(database)
    try:
        bucket.upload_from_stream_with_id(sha256, sha256, data)
    except (gridfs.errors.FileExists, DuplicateKeyError):
        if database["fs.files"].count_documents({"_id": sha256}, limit=1):
            return  # another process uploaded the same content meanwhile
        # chunks of a process that was killed before it could finish the file
        database["fs.chunks"].delete_many({"files_id": sha256})
        bucket.upload_from_stream_with_id(sha256, sha256, data)
