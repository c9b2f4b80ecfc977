"""Have a collection with its indexes: what is missing is created, what is there is compared.

What MongoDB is told is the same in sync and async code: `_steps` yields commands and is sent their
answers, `ensure` and `ensure_async` carry them. Any number of processes may do so at once.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from pymongo import TEXT, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

from llm_audit.errors import log_once
from llm_audit.store.codes import (
    NAMESPACE_EXISTS,
    NAMESPACE_NOT_FOUND,
    going_on,
)

_EXPECTED = (NAMESPACE_NOT_FOUND, NAMESPACE_EXISTS)

# zstd halves what the default takes for conversations, which repeat their history every turn.
_STORAGE_ENGINE = {"wiredTiger": {"configString": "block_compressor=zstd"}}

IndexDocument: TypeAlias = Mapping[str, Any]


class Conflict(NamedTuple):
    """An index that cannot be built, and the name of the existing one that it conflicts with."""

    declared: str
    existing: str


_Steps: TypeAlias = Generator[dict[str, Any], dict[str, Any], list[Conflict]]


def ensure(
    database: Database[dict[str, Any]],
    collection: str,
    declared: Sequence[IndexModel],
    *,
    only_if_empty: bool = False,
) -> list[Conflict]:
    """Create a collection if it is missing, and build those of its indexes that are missing.

    Args:
        database: Where it belongs.
        collection: Its name.
        declared: The indexes that it should have.
        only_if_empty: Leave a collection with documents alone, where a build takes time.

    Returns:
        The indexes that were not built because they conflict with existing ones.

    Raises:
        pymongo.errors.PyMongoError: MongoDB cannot be reached, or does not let us.
    """
    steps = _steps(collection, declared, only_if_empty=only_if_empty)
    try:
        command = next(steps)
        while True:
            command = steps.send(database.command(command, allowable_errors=_EXPECTED))
    except StopIteration as end:
        return list(end.value)


async def ensure_async(
    database: AsyncDatabase[dict[str, Any]], collection: str, declared: Sequence[IndexModel]
) -> list[Conflict]:
    """Do what `ensure` does, in async code."""
    steps = _steps(collection, declared)
    try:
        command = next(steps)
        while True:
            command = steps.send(await database.command(command, allowable_errors=_EXPECTED))
    except StopIteration as end:
        return list(end.value)


def _steps(
    collection: str, declared: Sequence[IndexModel], *, only_if_empty: bool = False
) -> _Steps:
    listed = yield {"listIndexes": collection}
    if listed.get("code") == NAMESPACE_NOT_FOUND:
        # createIndexes would create it too, without compression; another process may be faster
        yield {"create": collection, "storageEngine": _STORAGE_ENGINE}
        listed = yield {"listIndexes": collection}
    elif only_if_empty:
        found = yield {"find": collection, "projection": {"_id": 1}, "limit": 1}
        if found["cursor"]["firstBatch"]:
            return []
    existing = listed.get("cursor", {"firstBatch": []})["firstBatch"]
    missing, conflicts = [], []
    for index in declared:
        state, rival = compare(index, existing)
        if state == IndexState.MISSING:
            missing.append(index.document)
        elif state == IndexState.CONFLICTING and rival:
            conflicts.append(Conflict(index.document["name"], rival["name"]))
    if missing:
        yield {"createIndexes": collection, "indexes": missing}
    return conflicts


@contextmanager
def going_on_without(collection: str) -> Iterator[list[Conflict]]:
    """Log what a collection has to do without, where recording and reading go on all the same.

    Args:
        collection: Its name.

    Yields:
        Takes the conflicts that `ensure` returns.

    Raises:
        pymongo.errors.PyMongoError: MongoDB cannot be reached now, or does not let us in.
    """
    conflicts: list[Conflict] = []
    with going_on(
        f"The collection {collection} could not be created with its indexes",
        "let an administrator run `llm-audit indexes --create`.",
    ):
        yield conflicts
    for declared, existing in conflicts:
        log_once(
            f"The index {declared} of {collection} was not created, because it conflicts with the "
            f'existing {existing}: drop that one (db.{collection}.dropIndex("{existing}")) and run '
            "`llm-audit indexes --create`."
        )


class IndexState(StrEnum):
    """How an index in the database stands to those that this library declares."""

    THERE = "there"
    MISSING = "missing"
    CONFLICTING = "conflicting"  # another one has its name, or has its keys under another name
    EXTRA = "extra"  # not ours


# Two indexes that agree in these cannot be in one collection, whatever they are called; nor can
# two of text.
_SIGNATURE = ("unique", "sparse", "partialFilterExpression")
_OPTIONS = (*_SIGNATURE, "expireAfterSeconds", "hidden")


def compare(
    index: IndexModel, existing: Iterable[IndexDocument]
) -> tuple[IndexState, IndexDocument | None]:
    """Return the state of an index that is declared, and the existing one that decides it.

    Args:
        index: As declared here.
        existing: What `list_indexes` gives. A collation makes no difference: it may be inherited
            from the collection.
    """
    wanted = index.document
    found = {document["name"]: document for document in existing}
    same_name = found.get(wanted["name"])
    if same_name is not None:
        is_it = _described(same_name, _OPTIONS) == _described(wanted, _OPTIONS)
        return IndexState.THERE if is_it else IndexState.CONFLICTING, same_name
    for document in found.values():
        both_text = "_fts" in document["key"] and TEXT in wanted["key"].values()
        if both_text or _described(document, _SIGNATURE) == _described(wanted, _SIGNATURE):
            return IndexState.CONFLICTING, document
    return IndexState.MISSING, None


def _described(index: IndexDocument, options: Iterable[str]) -> list[Any]:
    # a flag that is false is as good as none, but 0 seconds to live are not
    values = (index.get(name) for name in options)
    keys = list(index["key"].items())
    if "_fts" in index["key"]:  # as MongoDB lists an index of text
        keys = [(field, TEXT) for field in index["weights"]]
    return [keys, *(None if value is False else value for value in values)]
