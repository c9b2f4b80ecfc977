"""Uploads and removals of one content, stopped before each of their commands in turn."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import gridfs
import pymongo
import pytest
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from pymongo.monitoring import CommandListener, CommandStartedEvent
from waiting import PATIENCE, until

from llm_audit import embedded
from llm_audit.store import gridfs as uploads
from llm_audit.store.gridfs import NEVER, refer
from llm_audit.store.indexes import MEDIA_INDEX, call_indexes
from llm_audit.store.media import find_unreferenced, remove, remove_expired

AnyDatabase = Database[dict[str, Any]]
Work = Callable[[AnyDatabase], object]
Stop = Callable[[int, str], bool]

CALLS = "llm_calls"
CHUNKS = 3
AT_LEAST = 5  # commands that an upload sends
PAST = datetime(2020, 1, 1, tzinfo=UTC)


class Stops(CommandListener):
    """Stops a client once, before the command that a condition names, until it is let go on."""

    def __init__(self, stop: Stop) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._stop = stop
        self._count = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Stop here, if this is the command."""
        if not self.reached.is_set() and self._stop(self._count, event.command_name):
            self.reached.set()
            self.go_on.wait(PATIENCE)
        self._count += 1

    def succeeded(self, event: object) -> None:
        """Nothing to do."""

    def failed(self, event: object) -> None:
        """Nothing to do."""


class Content:
    """A content in the spool, new with each instance."""

    numbers = count()

    def __init__(self, folder: Path) -> None:
        start = f"{next(self.numbers)} ".encode()
        self.data = start.ljust(uploads.CHUNK_BYTES * CHUNKS - 1000, b"x")
        self.sha256 = hashlib.sha256(self.data).hexdigest()
        self.path = folder / f"{self.sha256}.blob"
        self.path.write_bytes(self.data)

    def upload(self, database: AnyDatabase) -> None:
        """Refer to it for ever."""
        refer(database, CALLS, self.sha256, NEVER, [self.path])

    def upload_expired(self, database: AnyDatabase) -> None:
        """Refer to it by a call that has already expired."""
        refer(database, CALLS, self.sha256, PAST, [self.path])

    def assert_whole(self, database: AnyDatabase) -> None:
        """Assert that all of it is there, and goes with its entry."""
        stream = gridfs.GridFSBucket(database).open_download_stream(self.sha256)
        assert stream.read() == self.data
        chunks = {"files_id": self.sha256}
        assert database["fs.chunks"].count_documents(chunks) == CHUNKS
        assert clean(database) == 1
        assert database["fs.files"].count_documents({}) == 0


@pytest.fixture(autouse=True)
def one_chunk_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an upload a command for each chunk."""
    monkeypatch.setattr(uploads, "CHUNKS_AT_ONCE", 1)


@pytest.fixture(autouse=True)
def index(database: AnyDatabase) -> None:
    """Create the one index that removing needs."""
    database[CALLS].create_indexes(
        [index for index in call_indexes() if index.document["name"] == MEDIA_INDEX]
    )


def expire(database: AnyDatabase) -> None:
    remove_expired(database, datetime.now(UTC))


def clean(database: AnyDatabase) -> int:
    return remove(database, find_unreferenced(database, timedelta(0)))


def before(number: int) -> Stop:
    """Name one of the commands by its number."""
    return lambda at, _: at == number


@contextmanager
def stopped(url: str, name: str, work: Work, stop: Stop) -> Iterator[bool]:
    """Run something in a thread, stopped for the length of the block; say if it was stopped."""
    listener = Stops(stop)
    client: pymongo.MongoClient[dict[str, Any]]
    with (
        pymongo.MongoClient(url, tz_aware=True, event_listeners=[listener]) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        running = pool.submit(work, client[name])
        until(lambda: listener.reached.is_set() or running.done())
        try:
            yield listener.reached.is_set()
        finally:
            listener.go_on.set()
        running.result(PATIENCE)


@pytest.mark.parametrize("other", ["upload", "upload_expired", "expire", "clean", "come and go"])
def test_an_upload_is_stopped(
    mongod: embedded.Mongod, database: AnyDatabase, tmp_path: Path, other: str
) -> None:
    """Whatever others do between two commands of an upload, in the end the content is whole."""
    for number in count():
        content = Content(tmp_path)
        works: dict[str, list[Work]] = {
            "upload": [content.upload],
            "upload_expired": [content.upload_expired],
            "expire": [expire],
            "clean": [clean],
            "come and go": [content.upload_expired, expire],
        }
        with stopped(mongod.url, database.name, content.upload, before(number)) as reached:
            for work in works[other] if reached else ():
                work(database)
        content.assert_whole(database)
        if not reached:
            break
    assert number > AT_LEAST


def test_another_application_is_faster(
    mongod: embedded.Mongod, database: AnyDatabase, tmp_path: Path
) -> None:
    """An entry that somebody else makes between two commands of an upload stays as it is."""
    theirs = 0
    for number in count():
        content = Content(tmp_path)
        with stopped(mongod.url, database.name, content.upload, before(number)) as reached:
            entry = {"_id": content.sha256, "length": 1, "metadata": {"expires_at": PAST}}
            with suppress(DuplicateKeyError):
                database["fs.files"].insert_one(entry)
                theirs += 1
        if not reached:
            break
        if theirs > number:
            assert database["fs.files"].find_one({"_id": content.sha256}) == entry
    assert theirs > AT_LEAST


def test_a_removal_begun_during_an_upload(
    mongod: embedded.Mongod, database: AnyDatabase, tmp_path: Path
) -> None:
    """A removal of somebody else's entry that ends after an upload takes nothing from it."""
    for number in count():
        content = Content(tmp_path)
        upload = stopped(mongod.url, database.name, content.upload, before(number))
        removal = stopped(mongod.url, database.name, expire, lambda _, name: name == "delete")
        # the upload ends first, while the removal has its chunks still to delete
        with ExitStack() as until_the_end, upload as reached:
            content.upload_expired(database)
            until_the_end.enter_context(removal)
        content.assert_whole(database)
        if not reached:
            break
    assert number > AT_LEAST


@pytest.mark.parametrize("left", ["expired", "unreferenced", "without an entry"])
def test_a_removal_is_stopped(
    mongod: embedded.Mongod, database: AnyDatabase, tmp_path: Path, left: str
) -> None:
    """A content that is referred to between two commands of its removal is whole in the end."""
    for number in count():
        content = Content(tmp_path)
        content.upload_expired(database)
        if left == "without an entry":
            database["fs.files"].delete_one({})
        found = find_unreferenced(database, timedelta(0))
        removal = expire if left == "expired" else lambda stopping, it=found: remove(stopping, it)
        with stopped(mongod.url, database.name, removal, before(number)) as reached:
            if reached:
                content.upload(database)
        if not reached:
            break
        content.assert_whole(database)
    assert number > 1
    assert database["fs.chunks"].count_documents({}) == 0
