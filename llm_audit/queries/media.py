"""A call as it was recorded: its large content fetched from GridFS and put back in its place."""

from collections.abc import Mapping
from typing import Any

import gridfs
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

from llm_audit.encoding.encode import restore
from llm_audit.errors import MediaMissingError

_GONE = (gridfs.errors.NoFile, gridfs.errors.CorruptGridFile)


class _NotFetchedError(Exception):
    """A content is needed that has not been fetched yet."""


async def restore_media(
    call: Mapping[str, Any], database: AsyncDatabase[dict[str, Any]]
) -> dict[str, Any]:
    """Return a call with its large content in place.

    Args:
        call: A document as read from MongoDB.
        database: Where it was read.

    Raises:
        MediaMissingError: Some of it is not in GridFS, or not whole.
    """
    bucket = gridfs.AsyncGridFSBucket(database)
    contents: dict[str, bytes] = {}

    def fetched(sha256: str) -> bytes:
        if sha256 not in contents:
            raise _NotFetchedError(sha256)
        return contents[sha256]

    wanted = list(call.get("media", ()))
    while True:
        for sha256 in wanted:
            try:
                contents[sha256] = await (await bucket.open_download_stream(sha256)).read()
            except _GONE:
                raise _missing(call, sha256) from None
        try:
            return dict(restore(call, fetched))
        except _NotFetchedError as error:  # `media` was not written yet when the call was read
            wanted = [str(error)]


def restore_media_sync(
    call: Mapping[str, Any], database: Database[dict[str, Any]]
) -> dict[str, Any]:
    """Do the same as `restore_media` with plain PyMongo."""
    bucket = gridfs.GridFSBucket(database)

    def fetch(sha256: str) -> bytes:
        try:
            return bucket.open_download_stream(sha256).read()
        except _GONE:
            raise _missing(call, sha256) from None

    return dict(restore(call, fetch))


def _missing(call: Mapping[str, Any], sha256: str) -> MediaMissingError:
    return MediaMissingError(
        f"Content of the call {call['_id']} is missing from GridFS, or not whole: {sha256}. "
        "Without its media the call can be read."
    )
