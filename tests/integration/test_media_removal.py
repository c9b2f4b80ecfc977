"""Media in GridFS go after the last call that refers to them; what others keep there stays."""

from datetime import UTC, datetime, timedelta

import gridfs
import pytest
from bson import ObjectId
from large_content import IMAGE, MESSAGES, counts, sha256_of, start, stored
from waiting import Call, Calls, Recording, arrived

from llm_audit import SyncLLMCallRepository
from llm_audit.settings.names import REJECTED
from llm_audit.store.gridfs import NEVER
from llm_audit.store.indexes import MEDIA_INDEX, call_indexes
from llm_audit.store.media import find_missing, find_unreferenced, remove, remove_expired

NOW = timedelta(0)

pytestmark = pytest.mark.usefixtures("recording")


def contents(calls: Calls) -> list[list[Call]]:
    """Return everything in the bucket."""
    return [list(calls.database[name].find().sort("_id")) for name in ("fs.files", "fs.chunks")]


def test_media_outlive_the_longest_living_call(recording: Recording, calls: Calls) -> None:
    """An image goes when the last call that refers to it has gone, and not before."""
    calls.create_indexes(call_indexes())
    database = calls.database
    ids = []
    for days in (30, 1):
        recording(retention_days=days)
        ids.append(start())
        arrived(calls, ids[-1])
    now = datetime.now(UTC)

    calls.delete_one({"_id": ids[1]})
    assert remove_expired(database, now + timedelta(days=29)) == 0
    assert remove_expired(database, now + timedelta(days=31)) == 0  # the call is still there
    assert remove_expired(database, now + timedelta(days=31, minutes=59)) == 0
    assert counts(calls) == (1, 2)

    calls.delete_one({"_id": ids[0]})
    assert remove_expired(database, now + timedelta(days=31, minutes=59)) == 0
    assert remove_expired(database, now + timedelta(days=32)) == 1
    assert counts(calls) == (0, 0)
    assert remove_expired(database, now + timedelta(days=99)) == 0


def test_media_of_a_call_kept_for_ever(recording: Recording, calls: Calls) -> None:
    """Among calls with a retention, one without keeps the image."""
    calls.create_indexes(call_indexes())
    for days in (1, None, 1):
        recording(retention_days=days)
        arrived(calls, start())
    calls.delete_many({})

    assert remove_expired(calls.database, NEVER - timedelta(days=1)) == 0
    assert counts(calls) == (1, 2)
    assert [found.sha256 for found in find_unreferenced(calls.database, NOW)] == [sha256_of(IMAGE)]


def test_two_collections_share_media(recording: Recording, calls: Calls) -> None:
    """An image that calls of several collections refer to stays until all have gone."""
    other = calls.database["other_calls"]
    for collection in (calls, other):
        collection.create_indexes(call_indexes())
        recording(retention_days=1, collection=collection.name)
        arrived(collection, start())
    later = datetime.now(UTC) + timedelta(days=2)

    calls.delete_many({})
    assert find_unreferenced(calls.database, NOW) == []
    assert remove_expired(calls.database, later) == 0
    other.delete_many({})
    assert remove_expired(calls.database, later + timedelta(hours=1)) == 1


def test_what_was_refused_keeps_its_media(recording: Recording, calls: Calls) -> None:
    """An image that only a refused record refers to stays until that has arrived or expired."""
    recording(retention_days=1, create_collection=True)
    database = calls.database
    rule = {"messages": {"$exists": False}}
    database.create_collection(calls.name, validator=rule)
    calls.create_indexes(call_indexes())
    arrived(calls, start())
    later = datetime.now(UTC) + timedelta(days=2)

    calls.delete_many({})
    assert find_unreferenced(database, NOW) == []
    assert remove_expired(database, later) == 0
    database[REJECTED].delete_many({})
    assert remove_expired(database, later + timedelta(hours=1)) == 1
    assert counts(calls) == (0, 0)


def test_without_the_index_expired_media_stay(
    recording: Recording, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no index says which calls refer to media, none are removed, and the log says why."""
    recording(retention_days=1)
    arrived(calls, start())
    for _ in range(2):
        assert remove_expired(calls.database, datetime.now(UTC) + timedelta(days=2)) == 0

    assert caplog.text.count(MEDIA_INDEX) == 1
    assert counts(calls) == (1, 2)


def test_found_but_referred_to_since(calls: Calls) -> None:
    """What a call refers to again after it was found is not removed."""
    arrived(calls, start())
    calls.delete_many({})
    found = find_unreferenced(calls.database, NOW)
    call_id = start()
    arrived(calls, call_id)

    assert len(found) == 1
    assert remove(calls.database, found) == 0
    assert stored(calls, sha256_of(IMAGE)) == IMAGE.encode()


def test_entries_of_other_applications_are_left_alone(calls: Calls) -> None:
    """What others keep in the same bucket, be it the same content, is left as it is."""
    calls.create_indexes(call_indexes())
    database = calls.database
    bucket = gridfs.GridFSBucket(database, chunk_size_bytes=100_000)
    bucket.upload_from_stream("theirs", b"1" * 500_000, metadata={"expires_at": datetime.now(UTC)})
    bucket.upload_from_stream_with_id(sha256_of(IMAGE), "the same", IMAGE.encode())
    unfinished = {"_id": ObjectId(), "files_id": sha256_of("other"), "n": 0, "data": b"theirs"}
    database["fs.chunks"].insert_one(unfinished)
    before = contents(calls)

    call_id = start()
    arrived(calls, call_id)
    call = SyncLLMCallRepository(calls).get(call_id, with_media=True)
    assert call
    assert call.messages == MESSAGES
    assert find_missing(calls) == {}
    calls.delete_many({})
    assert remove_expired(database, NEVER) == 0
    assert remove(database, find_unreferenced(database, NOW)) == 0
    assert contents(calls) == before
