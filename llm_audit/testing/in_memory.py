"""An in-memory MongoDB for unit tests: mongomock-ng, in the shape of PyMongo Async.

mongomock-ng imitates the synchronous PyMongo. The classes here give it the coroutines that Beanie
and PyMongo Async's users await, take off what BSON would (enums and other subclasses of str), and
turn everything it cannot do into one error that says what can.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from enum import Enum
from itertools import islice
from typing import Any, ClassVar, Self, cast

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from llm_audit.errors import LLMAuditError

SERVER_VERSION = "6.0.0"  # the oldest that llm-audit supports; Beanie asks

_WITHOUT_EFFECT = frozenset({"comment", "hint", "maxTimeMS", "allowDiskUse", "batchSize"})
# What mongomock-ng knows, and answers otherwise than MongoDB does.
_ANSWERED_WRONGLY = frozenset({"$out", "$merge", "$sortByCount", "$reduce"})
_NOTHING = "<NOTHING>"  # how it shows the value of a missing field
_CHAINED = frozenset({"batch_size", "limit", "rewind", "skip", "sort"})
_CHAINED_WITHOUT_EFFECT = frozenset({"allow_disk_use", "comment", "hint", "max_time_ms"})


class NotInMemoryError(LLMAuditError, NotImplementedError):
    """The in-memory database cannot do this; a real one can: the fixture `llm_audit_mongod`."""


def in_memory_client(*, tz_aware: bool = False) -> AsyncMongoClient[dict[str, Any]]:
    """Return a client whose server is a few dictionaries of its own, empty at first.

    `client["app"]` is what `init_beanie` takes. Finding, counting, sorting, writing, indexes and
    much of the aggregation give what MongoDB gives, at least to Beanie's and to the repository's
    queries; sessions, transactions, change streams and GridFS are not there.

    Args:
        tz_aware: As `AsyncMongoClient` has it: whether datetimes come back with their zone.

    Raises:
        NotInMemoryError: mongomock-ng is not installed; later, from whatever it cannot do.
    """
    try:
        import mongomock_ng
    except ImportError:
        raise NotInMemoryError(
            "The in-memory database needs mongomock-ng: pip install 'llm-audit[testing]'."
        ) from None
    client = _Client(mongomock_ng.MongoClient(tz_aware=tz_aware))
    return cast("AsyncMongoClient[dict[str, Any]]", client)


class _Imitation:
    """Does what its counterpart in PyMongo Async does, as far as mongomock-ng can."""

    counterpart: ClassVar[type]
    coroutines: ClassVar[frozenset[str]]

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # for those who ask isinstance(), as GridFS does
        return self.counterpart

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self.coroutines:
            return _coroutine(name, getattr(self._engine, name))
        if hasattr(self.counterpart, name):
            raise _refusal(f"{self.counterpart.__name__}.{name}")
        return self[name]

    def __getitem__(self, name: str) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"in-memory {self._engine!r}"


class _Client(_Imitation):
    counterpart = AsyncMongoClient
    coroutines = frozenset({"drop_database", "list_database_names", "server_info"})

    def __getitem__(self, name: str) -> "_Database":
        return _Database(self._engine[name], self)

    def get_database(self, name: str) -> "_Database":
        return self[name]

    def append_metadata(self, *_: object) -> None: ...  # Beanie tells the server its name

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Database(_Imitation):
    counterpart = AsyncDatabase
    coroutines = frozenset({"drop_collection"})

    def __init__(self, engine: Any, client: _Client) -> None:
        super().__init__(engine)
        self.client = client
        self.name: str = engine.name

    def __getitem__(self, name: str) -> "_Collection":
        return _Collection(self._engine[name], self)

    def get_collection(self, name: str, **_options: object) -> "_Collection":
        return self[name]

    async def create_collection(self, name: str, **options: object) -> "_Collection":
        if refused := sorted(options.keys() - {"storageEngine"}):
            raise _refusal(f"create_collection({', '.join(refused)}=...)")
        with _refusing("AsyncDatabase.create_collection"):
            self._engine.create_collection(name)
        return self[name]

    async def list_collection_names(self, **options: Any) -> list[str]:
        with _refusing("AsyncDatabase.list_collection_names"):
            return list(self._engine.list_collection_names(_plain(options.get("filter"))))

    async def command(self, command: str | Mapping[str, Any], **_options: object) -> dict[str, Any]:
        name = command if isinstance(command, str) else next(iter(command))
        if name.lower() == "buildinfo":
            return {"version": SERVER_VERSION, "ok": 1.0}
        if name == "ping":
            return {"ok": 1.0}
        raise _refusal(f"the command {name}")


class _Collection(_Imitation):
    counterpart = AsyncCollection
    coroutines = frozenset(
        {
            *("bulk_write", "count_documents", "create_index", "create_indexes", "delete_many"),
            *("delete_one", "distinct", "drop", "drop_index", "drop_indexes"),
            *("estimated_document_count", "find_one", "find_one_and_delete"),
            *("find_one_and_replace", "find_one_and_update", "index_information", "insert_many"),
            *("insert_one", "options", "replace_one", "update_many", "update_one"),
        }
    )

    def __init__(self, engine: Any, database: _Database) -> None:
        super().__init__(engine)
        self.database = database
        self.name: str = engine.name
        self.full_name: str = engine.full_name
        self.codec_options = CodecOptions[Any](tz_aware=engine.codec_options.tz_aware)

    def __getitem__(self, name: str) -> "_Collection":
        return self.database[f"{self.name}.{name}"]

    def with_options(self, **_options: object) -> "_Collection":
        return self

    def find(self, *arguments: Any, **options: Any) -> "_Cursor":
        if "collation" in options:
            raise _refusal("find(collation=...)")
        with _refusing("AsyncCollection.find"):
            return _Cursor(self._engine.find(*_plain(arguments), **_effective(options)))

    async def aggregate(self, pipeline: Any, **options: Any) -> "_Cursor":
        # It knows no option, and would take no notice of one. To it an operator that it does not
        # know is a mistake of the caller's, like a wrong one: no error of its is let through.
        effective = _effective(options)
        if effective:
            raise _refusal(f"aggregate({', '.join(effective)}=...)")
        stages = [part for stage in _plain(pipeline) for part in _uncounted(stage)]
        stages = _with_dates(stages, UTC if self.codec_options.tz_aware else None)
        names = set(_keys(stages))
        wrong = sorted(_ANSWERED_WRONGLY & names)
        if "$facet" in names and "$count" in names:
            wrong.append("$count in $facet")
        if wrong:
            raise _refusal(f"an aggregation with {', '.join(wrong)}")
        with _refusing("this aggregation", but=()):
            rows = list(self._engine.aggregate(stages))
        if _NOTHING in repr(rows) and _NOTHING not in repr(list(self._engine.find())):
            raise _refusal("an aggregation over a field that is missing")
        return _Cursor(iter(rows))

    async def list_indexes(self) -> "_Cursor":
        return _Cursor(iter(list(self._engine.list_indexes())))


class _Cursor(_Imitation):
    """Of `find`, over one of mongomock-ng's; of anything else, over rows."""

    counterpart = AsyncCursor
    coroutines = frozenset({"distinct"})

    def __getattr__(self, name: str) -> Any:
        def chained(*arguments: Any) -> "_Cursor":
            if name in _CHAINED:
                with _refusing(f"AsyncCursor.{name}"):
                    getattr(self._engine, name)(*_plain(arguments))
            return self

        if name in _CHAINED | _CHAINED_WITHOUT_EFFECT:
            return chained
        return super().__getattr__(name)

    def clone(self) -> "_Cursor":
        return _Cursor(self._engine.clone())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        with _refusing("this query"):
            for row in self._engine:
                return row
        raise StopAsyncIteration

    next = __anext__

    async def to_list(self, length: int | None = None) -> list[Any]:
        with _refusing("this query"):
            return list(islice(self._engine, length))

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _coroutine(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*arguments: Any, **options: Any) -> Any:
        with _refusing(name):
            return method(*_plain(arguments), **_effective(options))

    return call


def _effective(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options that change no result; None is what PyMongo takes for not given."""
    return {
        name: _plain(value)
        for name, value in options.items()
        if value is not None and name not in _WITHOUT_EFFECT
    }


def _of_none(stage: dict[str, Any]) -> dict[str, Any]:
    """Let no documents make no group: mongomock-ng makes one, unless its key is made like this."""
    group = stage.get("$group")
    if isinstance(group, dict) and group.get("_id", "") is None:
        group["_id"] = {"$literal": None}
    return stage


def _with_dates(value: Any, zone: tzinfo | None) -> Any:
    """Return stages with the dates that they name as they can be compared with those stored."""
    if isinstance(value, list):
        return [_with_dates(item, zone) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(date := value.get("$toDate"), str) and not date.startswith("$"):
        return datetime.fromisoformat(date).replace(tzinfo=zone)
    return {key: _with_dates(item, zone) for key, item in value.items()}


def _without_missing(expression: dict[str, Any]) -> dict[str, Any]:
    """Let the greatest of a number and of fields be found as MongoDB does: of those that exist."""
    for name, least in (("$max", -math.inf), ("$min", math.inf)):
        values = expression.get(name)
        if isinstance(values, list) and any(isinstance(value, int | float) for value in values):
            expression[name] = [{"$ifNull": [value, least]} for value in values]
    return expression


def _uncounted(stage: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what counts documents as MongoDB does: of none, nothing is said."""
    if "$count" not in stage:
        return [stage]
    group = {"_id": {"$literal": None}, stage["$count"]: {"$sum": 1}}
    return [{"$group": group}, {"$project": {"_id": 0}}]


def _keys(value: Any) -> Iterator[str]:
    """Yield every name in stages, however deep."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)


def _plain(value: Any) -> Any:
    """Return a copy of an argument as BSON would have carried it to a server."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, str):
        return str.__str__(value)  # Beanie's fields and our references are subclasses
    if isinstance(value, Mapping):
        plain = {_plain(key): _plain(item) for key, item in value.items()}
        return _without_missing(_of_none(plain))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "_add_to_bulk"):  # InsertOne, UpdateOne ...
        operation = copy.copy(value)
        for name in ("_doc", "_filter"):
            if hasattr(operation, name):
                setattr(operation, name, _plain(getattr(operation, name)))
        return operation
    return value


@contextmanager
def _refusing(what: str, but: type[Exception] | tuple[()] = PyMongoError) -> Iterator[None]:
    """Turn what mongomock-ng raises for what it cannot do into one clear error.

    What a MongoDB would raise too, for a duplicate key say, is let through as `but`.
    """
    try:
        yield
    except but:
        raise
    except Exception as error:
        raise _refusal(what, f" ({type(error).__name__}: {error})") from error


def _refusal(what: str, why: str = "") -> NotInMemoryError:
    return NotInMemoryError(
        f"The in-memory database cannot do {what}{why}. A real MongoDB can: test this with the "
        "fixture llm_audit_mongod."
    )
