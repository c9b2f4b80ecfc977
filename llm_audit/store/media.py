"""What becomes of media in GridFS: removed after their last call, found where they belong nowhere.

A TTL index could remove entries, but not their chunks. Who writes them, and why removing never
harms an upload: `gridfs.py`.
"""

import hashlib
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database
from pymongo.errors import InvalidName, OperationFailure, PyMongoError

from llm_audit.call import in_utc
from llm_audit.errors import let_through, log_fault, log_once
from llm_audit.store.answers.codes import BAD_VALUE, INVALID_NAMESPACE
from llm_audit.store.answers.shortfalls import is_unsupported
from llm_audit.store.connection import Documents, server_time
from llm_audit.store.gridfs import NEVER, OURS, Bucket, take_away
from llm_audit.store.indexes import MEDIA_INDEX

EXPIRED_AT_ONCE = 100
SAMPLE = 10
LOOK_AGAIN_AFTER = timedelta(hours=1)
_SHA256 = {"$regex": re.compile("^[0-9a-f]{64}$")}

AnyDatabase = Database[dict[str, Any]]


class Unreferenced(NamedTuple):
    """Media that no call refers to.

    Attributes:
        sha256: The content.
        size_bytes: How much of it is stored.
        referenced_at: When a call was last shipped with it; None if its upload was never finished.
        uploads: Who wrote its chunks.
    """

    sha256: str
    size_bytes: int
    referenced_at: datetime | None
    uploads: tuple[ObjectId, ...]


class Altered(NamedTuple):
    """Media that are not what was recorded.

    Attributes:
        by_call: Their sha256, by call; of each content, the newest ten calls.
        checked: How many contents were read.
        unchecked: How many were not.
    """

    by_call: dict[str, list[str]]
    checked: int
    unchecked: int


def remove_expired(database: AnyDatabase, now: datetime) -> int:
    """Remove media whose calls have all expired, about a hundred at the most.

    Media that a call still refers to stay, whatever their own date says: MongoDB deletes expired
    calls some time later, and a user may have prolonged them.

    Args:
        database: Where the calls are.
        now: In UTC.

    Returns:
        How many were removed.

    Raises:
        PyMongoError: MongoDB does not answer; what is left is found the next time.
    """
    bucket = Bucket.of(database)
    expired = {"metadata.expires_at": {"$lte": now}}
    entries = bucket.files.find({"_id": _SHA256, **OURS, **expired}, {"metadata.collections": 1})
    removed = 0
    for entry in entries.sort("metadata.expires_at", ASCENDING).limit(EXPIRED_AT_ONCE).to_list():
        try:
            removed += _remove_expired(bucket, entry, now)
        except BaseException as fault:
            names_none = isinstance(fault, InvalidName) or (
                isinstance(fault, OperationFailure) and fault.code == INVALID_NAMESPACE
            )
            if isinstance(fault, PyMongoError) and not names_none:
                raise
            let_through(fault)
            log_fault(fault)
            _look_later(bucket, entry, now + LOOK_AGAIN_AFTER)
    return removed


def _remove_expired(bucket: Bucket, entry: dict[str, Any], now: datetime) -> bool:
    """Remove an entry that has expired, if that is so of all its calls."""
    try:
        call = _any_call_with(bucket.files.database, entry)
    except OperationFailure as error:
        if error.code != BAD_VALUE:
            raise
        log_once(
            f"Expired media stay in GridFS, for a collection of calls lacks the index "
            f"{MEDIA_INDEX}: run llm_audit.init() once."
        )
        return False
    if call is None:
        return take_away(bucket, {"_id": entry["_id"], "metadata.expires_at": {"$lte": now}})
    expires = call.get("expires_at") or NEVER
    _look_later(bucket, entry, max(in_utc(expires), now + LOOK_AGAIN_AFTER))
    return False


def _look_later(bucket: Bucket, entry: dict[str, Any], at: datetime) -> None:
    later = {"$max": {"metadata.expires_at": at}}
    bucket.files.update_one({"_id": entry["_id"], **OURS}, later)


def find_unreferenced(database: AnyDatabase, older_than: timedelta) -> list[Unreferenced]:
    """Find media of ours that no call refers to, and what unfinished uploads have left.

    Both come from a process that was killed and whose spool was lost before the call arrived, or
    from calls that somebody deleted.

    Args:
        database: Where the calls are.
        older_than: How long nobody must have referred to them or gone on uploading: longer than
            a process takes from the upload to the call.

    Returns:
        What `remove` takes.
    """
    bucket = Bucket.of(database)
    before = server_time(database) - older_than
    return [*_entries_without_calls(database, bucket, before), *_unfinished(bucket, before)]


def remove(database: AnyDatabase, found: Iterable[Unreferenced]) -> int:
    """Remove what `find_unreferenced` found, unless somebody has referred to it since.

    Returns:
        How many were removed.
    """
    bucket = Bucket.of(database)
    removed = 0
    for media in found:
        if media.referenced_at is not None:
            unchanged = {"_id": media.sha256, "metadata.referenced_at": media.referenced_at}
            removed += take_away(bucket, unchanged)
        else:
            removed += _remove_chunks(bucket, media)
    return removed


def find_missing(calls: Documents) -> dict[str, list[str]]:
    """Find calls whose media are not in GridFS, or not whole.

    Args:
        calls: The calls' collection.

    Returns:
        By call, the sha256 of what it lacks; of each content, the newest ten calls.
    """
    bucket = Bucket.of(calls.database)
    wrong = (sha256 for sha256 in _contents(calls) if not _is_whole(bucket, sha256))
    return _by_call(calls, wrong)


def find_altered(calls: Documents, max_bytes: float) -> Altered:
    """Read media of calls, and find those whose content is not what their sha256 says.

    Each time it begins somewhere else, so that in the end all of them are read.

    Args:
        calls: The calls' collection.
        max_bytes: How much to read, or a little more.
    """
    bucket = Bucket.of(calls.database)
    altered: list[str] = []
    read = checked = unchecked = 0
    begin = secrets.token_hex(32)
    for sha256 in chain(_contents(calls, {"$gte": begin}), _contents(calls, {"$lt": begin})):
        if read >= max_bytes:
            unchecked += 1
        elif _is_whole(bucket, sha256):
            found, size = _sha256_in(bucket, sha256)
            altered += [sha256] if found != sha256 else []
            read += size
            checked += 1
    return Altered(_by_call(calls, altered), checked, unchecked)


def _contents(calls: Documents, some: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield what calls have in GridFS, each once; in order, if only some of it is wanted."""
    contents: list[dict[str, Any]] = [
        {"$match": {"media": {"$exists": True}}},
        {"$project": {"_id": 0, "media": 1}},
        {"$unwind": "$media"},
        {"$match": {"media": {**_SHA256, **(some or {})}}},
        {"$group": {"_id": "$media"}},
        *([{"$sort": {"_id": 1}}] if some else []),
    ]
    for row in calls.aggregate(contents, allowDiskUse=True):
        yield row["_id"]


def _by_call(calls: Documents, contents: Iterable[str]) -> dict[str, list[str]]:
    """Return contents by the calls that have them, the newest ten of each."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for sha256 in contents:
        newest = calls.find({"media": sha256}, {"_id": 1}).sort("_id", DESCENDING)
        for call in newest.limit(SAMPLE):
            found[call["_id"]].append(sha256)
    return dict(found)


def _sha256_in(bucket: Bucket, sha256: str) -> tuple[str, int]:
    """Return the sha256 of what is stored under another, and how much that is."""
    digest, size = hashlib.sha256(), 0
    for chunk in bucket.chunks.find({"files_id": sha256}, {"data": 1}).sort("n", ASCENDING):
        data = chunk.get("data")
        if isinstance(data, bytes):
            digest.update(data)
            size += len(data)
    return digest.hexdigest(), size


def _is_whole(bucket: Bucket, sha256: str) -> bool:
    entry = bucket.files.find_one({"_id": sha256}, {"length": 1, "chunkSize": 1}) or {}
    size, length = entry.get("chunkSize"), entry.get("length")
    if not isinstance(size, int) or not isinstance(length, int):  # none, or an odd one
        return False
    return bucket.chunks.count_documents({"files_id": sha256}) * size >= length


def _entries_without_calls(
    database: AnyDatabase, bucket: Bucket, before: datetime
) -> Iterator[Unreferenced]:
    old = {"_id": _SHA256, **OURS, "metadata.referenced_at": {"$lte": before}}
    for entry in bucket.files.find(old):
        if _call_with(database, entry) is None:
            metadata = entry["metadata"]
            yield Unreferenced(
                entry["_id"], entry["length"], metadata["referenced_at"], tuple(metadata["uploads"])
            )


def _unfinished(bucket: Bucket, before: datetime) -> Iterator[Unreferenced]:
    entry = {"from": bucket.files.name, "localField": "_id", "foreignField": "_id", "as": "entry"}
    without_entry = bucket.chunks.aggregate(
        [
            {"$sort": {"files_id": 1}},
            {"$group": {"_id": "$files_id"}},  # from the index, without reading a chunk
            {"$match": {"_id": _SHA256}},
            {"$lookup": entry},
            {"$match": {"entry": []}},
        ]
    )
    for sha256 in [row["_id"] for row in without_entry]:
        uploads: dict[ObjectId, int] = {}
        ours = {"files_id": sha256, "upload": {"$type": "objectId"}}
        for chunk in bucket.chunks.find(ours, {"upload": 1, "size": {"$binarySize": "$data"}}):
            uploads[chunk["upload"]] = uploads.get(chunk["upload"], 0) + chunk["size"]
        if uploads and max(uploads).generation_time <= in_utc(before):
            yield Unreferenced(sha256, sum(uploads.values()), None, tuple(uploads))


def _any_call_with(database: AnyDatabase, entry: dict[str, Any]) -> dict[str, Any] | None:
    """Look by the index only, which else some call may be without, where the server lets us."""
    try:
        return _call_with(database, entry, hint=MEDIA_INDEX)
    except OperationFailure as error:
        if not is_unsupported(error):
            raise
        return _call_with(database, entry)


def _call_with(
    database: AnyDatabase, entry: dict[str, Any], hint: str | None = None
) -> dict[str, Any] | None:
    """Return any call that refers to an entry."""
    for name in entry["metadata"]["collections"]:
        call = database[name].find_one({"media": entry["_id"]}, {"expires_at": 1}, hint=hint)
        if call is not None:
            return call
    return None


def _remove_chunks(bucket: Bucket, media: Unreferenced) -> bool:
    """Remove chunks without an entry; an upload that goes on with them sees that they are taken."""
    removal = ObjectId()
    bucket.chunks.update_many(
        {"files_id": media.sha256, "upload": {"$in": media.uploads}}, {"$set": {"upload": removal}}
    )
    finished = bucket.files.update_one(
        {"_id": media.sha256, **OURS}, {"$addToSet": {"metadata.uploads": removal}}
    )
    if finished.matched_count:  # meanwhile: then they are its own
        return False
    taken = {"files_id": media.sha256, "upload": removal}
    return bucket.chunks.delete_many(taken).deleted_count > 0
