"""The connection to MongoDB: the calls, and the documents of the processes that record them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from llm_audit.encoding.reading import READ_OPTIONS
from llm_audit.errors import UnavailableError
from llm_audit.runtime.forks import OwnLock
from llm_audit.settings import Settings
from llm_audit.settings.mongo_url import option_names
from llm_audit.settings.names import PROCESSES, REJECTED, VERDICTS
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import RETRIES, note, refuses_retries
from llm_audit.store.ensure import ensure, going_on_without
from llm_audit.store.indexes import declared_indexes
from llm_audit.store.patched import see_patches
from llm_audit.store.server_clock import ServerClock

CLIENT_OPTIONS: dict[str, Any] = {"tz_aware": True, "uuidRepresentation": "standard"}
# A port that is no number, a certificate that is not there; and, where an app has warnings raised,
# an option that the driver would ignore.
UNUSABLE = (ValueError, OSError, UserWarning)
UNLESS_IN_THE_URL: dict[str, Any] = {"appname": "llm-audit", "serverSelectionTimeoutMS": 3000}

Documents = Collection[dict[str, Any]]
Read = TypeVar("Read", Collection[dict[str, Any]], AsyncCollection[dict[str, Any]])


@contextmanager
def reaching() -> Iterator[None]:
    """Turn an error of the driver into one that tells neither documents nor credentials.

    Raises:
        UnavailableError: In place of any PyMongoError.
    """
    try:
        yield
    except PyMongoError as error:
        raise UnavailableError(told(error)) from None


def server_time(database: Database[dict[str, Any]]) -> datetime:
    """Return the time by the server's clock, UTC; by our own, if the server does not tell."""
    answer: dict[str, Any] = {}
    with suppress(OperationFailure, BSONError):
        answer = database.client.admin.command("hello", codec_options=_in_utc(database))
    return _told_time(answer)


async def server_time_async(database: AsyncDatabase[dict[str, Any]]) -> datetime:
    """Return what `server_time` does, in async code."""
    answer: dict[str, Any] = {}
    with suppress(OperationFailure, BSONError):
        answer = await database.client.admin.command("hello", codec_options=_in_utc(database))
    return _told_time(answer)


def _in_utc(database: Database[Any] | AsyncDatabase[Any]) -> CodecOptions[dict[str, Any]]:
    return database.codec_options.with_options(tz_aware=True, tzinfo=UTC)


def _told_time(answer: dict[str, Any]) -> datetime:
    told = answer.get("localTime")
    return told if isinstance(told, datetime) else datetime.now(UTC)


def readable(collection: Read) -> Read:
    """Return a collection whose documents can be read whatever they hold: dates beyond year 9999.

    Args:
        collection: Of any client, sync or async; how it writes stays as it is.
    """
    options = collection.codec_options.with_options(
        document_class=dict,
        tz_aware=True,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
        unicode_decode_error_handler="replace",
    )
    return collection.with_options(codec_options=options)


def readable_only(collection: Read) -> Read:
    """Return the same for whoever only reads: it cannot be asked for UUIDs, but reads all binaries.

    Args:
        collection: Of any client, sync or async.
    """
    options = readable(collection).codec_options.with_options(
        uuid_representation=READ_OPTIONS.uuid_representation,
        type_registry=READ_OPTIONS.type_registry,
    )
    return collection.with_options(codec_options=options)


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the options of every client of ours, sync and async.

    Args:
        settings: Where to. The driver would put these options before those in the URL.
    """
    named = option_names(settings.mongo_url.get_secret_value())
    ours = {name: is_ for name, is_ in UNLESS_IN_THE_URL.items() if name.lower() not in named}
    return CLIENT_OPTIONS | ours


def client_of(settings: Settings, **options: Any) -> MongoClient[dict[str, Any]]:
    """Return a client, which looks for the server in threads of its own.

    Args:
        settings: Where to.
        **options: Of `MongoClient`, beside those that every client of ours has.

    Raises:
        UnavailableError: mongo_url cannot be used.
        PyMongoError: As well.
    """
    ours = client_options(settings)
    see_patches()
    try:
        return MongoClient(settings.mongo_url.get_secret_value(), **ours, **options)
    except UNUSABLE as error:
        raise UnavailableError(f"mongo_url: {error}") from None


class Connection:
    """One client, made when it is first needed; its methods raise PyMongoError.

    Args:
        settings: Where to, and how to acknowledge.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: MongoClient[dict[str, Any]] | None = None
        self._opening = OwnLock()  # an agent sends in several threads
        self._kept: object = None
        self._ready: set[str] = set()
        self.clock = ServerClock(lambda: server_time(self._open_client()[settings.database]))
        self._retries: dict[str, Any] = {}  # the driver's own, as the URL says

    def open(self) -> None:
        """Begin to look for the server, in threads of the client's own, and wait for nothing.

        Called as early as can be: from Python 3.12 no thread can be started any more once a script
        has reached its end.
        """
        url = self._settings.mongo_url.get_secret_value()
        if not url.startswith("mongodb+srv:"):  # that waits for DNS
            # `calls` meets it again, and says so; RuntimeError where no thread can be started
            with suppress(UnavailableError, PyMongoError, RuntimeError):
                self._open_client()

    def calls(self) -> Documents:
        """Return the collection of calls, created with its indexes if missing.

        Raises:
            UnavailableError: mongo_url cannot be used.
        """
        return self._collection(self._settings.collection)

    def primary_calls(self) -> Documents:
        """Return the calls as the primary has them, whatever the URL prefers: the latest.

        Raises:
            UnavailableError: mongo_url cannot be used.
        """
        return self.calls().with_options(read_preference=ReadPreference.PRIMARY)

    def processes(self) -> Documents:
        """Return the collection of processes, created with its indexes if missing.

        Raises:
            UnavailableError: mongo_url cannot be used.
        """
        processes = self._collection(PROCESSES)
        # a secondary that lags would make the living look silent, whatever the URL prefers
        return processes.with_options(read_preference=ReadPreference.PRIMARY)

    def verdicts(self) -> Documents:
        """Return the collection of verdicts, created with its indexes if missing.

        Raises:
            UnavailableError: mongo_url cannot be used.
        """
        return self._collection(VERDICTS).with_options(read_preference=ReadPreference.PRIMARY)

    def rejected(self) -> Documents:
        """Return the collection of refused records, created with its indexes if missing.

        Raises:
            UnavailableError: mongo_url cannot be used.
        """
        return self._collection(REJECTED).with_options(read_preference=ReadPreference.PRIMARY)

    def close(self) -> None:
        """Close the connection, if one was made."""
        if self._client is not None:
            self._client.close()

    def does_without_retries(self, error: Exception) -> bool:
        """Go on without the driver's retryable writes, if these are what the server refuses.

        Nothing is lost by it: whatever is sent here may be sent again, and is.

        Args:
            error: Of the driver, or what `reaching` made of it.

        Returns:
            Whether what failed has to be done again now.
        """
        cause = error.__context__ if isinstance(error, UnavailableError) else error
        if self._retries or not isinstance(cause, PyMongoError) or not refuses_retries(cause):
            return False
        note(
            self._settings.database,
            RETRIES,
            told(cause),
            "recording goes on without them; add retryWrites=false to mongo_url, and no process "
            "has to find that out.",
        )
        self.close()
        self._client = None
        self._retries = {"retryWrites": False}
        return True

    def _open_client(self) -> MongoClient[dict[str, Any]]:
        client = self._client
        return client if client is not None else self._opened()

    def _opened(self) -> MongoClient[dict[str, Any]]:
        with self._opening:
            if self._client is None:
                self._client = self._made()
            return self._client

    def _made(self) -> MongoClient[dict[str, Any]]:
        # not timeoutMS, which is also how long a server that is down is sought
        client = client_of(self._settings, socketTimeoutMS=20_000, **self._retries)
        # In a forked child PyMongo makes another, and leaves weak references to the one that is
        # gone, over which gevent stumbles when it patches there.
        self._kept = getattr(client, "_topology", None)
        return client

    def _collection(self, name: str) -> Documents:
        settings = self._settings
        database = self._open_client()[settings.database]
        if settings.create_collection and name not in self._ready:
            with going_on_without(name) as conflicts:
                declared = declared_indexes(settings)[name]
                conflicts.extend(ensure(database, name, declared, only_if_empty=True))
            self._ready.add(name)
        return database.get_collection(
            name,
            write_concern=WriteConcern(w=settings.write_concern, j=settings.write_journal or None),
        )
