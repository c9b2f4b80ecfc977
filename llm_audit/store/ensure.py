"""Have a collection with its indexes: what is missing is created, what is there is compared.

What MongoDB is told is the same in sync and async code: `_steps` yields commands and is sent their
answers, `ensure` and `ensure_async` carry them. Any number of processes may do so at once.

What a server refuses that is nearly MongoDB is done without, one thing at a time: compression, the
condition of an index, the index.
"""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from pymongo.errors import OperationFailure

from llm_audit.errors import log_once
from llm_audit.store.answers.codes import (
    BUSY,
    INDEX_KEY_SPECS_CONFLICT,
    INDEX_NOT_FOUND,
    INDEX_OPTIONS_CONFLICT,
    NAMESPACE_EXISTS,
    NAMESPACE_NOT_FOUND,
    NOT_ON_A_VIEW,
    UNAUTHORIZED,
    only_this_is_refused,
)
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import going_on, note_indexes
from llm_audit.store.index_states import IndexDocument, IndexState, state_of, unconditional

# zstd halves what the default takes for conversations, which repeat their history every turn.
_STORAGE_ENGINE = {"wiredTiger": {"configString": "block_compressor=zstd"}}

# Others create or drop the same at this moment: what is there now is another thing than before.
_CHANGED = BUSY | {
    INDEX_NOT_FOUND,
    INDEX_OPTIONS_CONFLICT,
    INDEX_KEY_SPECS_CONFLICT,
    NAMESPACE_NOT_FOUND,
}
_TRIES = 10  # until what others do at the same time counts as an answer


class Conflict(NamedTuple):
    """An index that cannot be built, and the name of the existing one that it conflicts with."""

    declared: str
    existing: str


_Command: TypeAlias = dict[str, Any]
_Answer: TypeAlias = dict[str, Any] | OperationFailure
_Conflicts: TypeAlias = Generator[_Command, _Answer, list[Conflict]]
_Refusal: TypeAlias = Generator[_Command, _Answer, OperationFailure | None]


def ensure(
    database: Database[dict[str, Any]],
    collection: str,
    declared: Sequence[IndexModel],
    *,
    only_if_empty: bool = False,
) -> list[Conflict]:
    """Create a collection if it is missing, and build those of its indexes that are missing.

    What the server refuses for good is noted, see `shortfalls`.

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
    steps = _steps(database.name, collection, declared, only_if_empty=only_if_empty)
    try:
        command = next(steps)
        while True:
            answer: _Answer
            try:
                answer = database.command(command)
            except OperationFailure as error:
                answer = error
            command = steps.send(answer)
    except StopIteration as end:
        return list(end.value)


async def ensure_async(
    database: AsyncDatabase[dict[str, Any]], collection: str, declared: Sequence[IndexModel]
) -> list[Conflict]:
    """Do what `ensure` does, in async code."""
    steps = _steps(database.name, collection, declared)
    try:
        command = next(steps)
        while True:
            answer: _Answer
            try:
                answer = await database.command(command)
            except OperationFailure as error:
                answer = error
            command = steps.send(answer)
    except StopIteration as end:
        return list(end.value)


def _steps(
    database: str, collection: str, declared: Sequence[IndexModel], *, only_if_empty: bool = False
) -> _Conflicts:
    existing = yield from _existing(collection)
    if not existing:
        # createIndexes would create it too, without compression; another process may be faster
        yield from _create(database, collection)
        existing = yield from _existing(collection)
    elif only_if_empty:
        found = yield {"find": collection, "projection": {"_id": 1}, "limit": 1}
        if isinstance(found, OperationFailure):
            raise found
        if found["cursor"]["firstBatch"]:
            return []
    for tries_left in reversed(range(_TRIES)):
        missing, conflicts = _compared(declared, existing)
        refusal = (yield from _build(collection, missing)) if missing else None
        if refusal is None:
            break
        if refusal.code not in _CHANGED or not tries_left:
            if not _is_for_good(refusal):
                raise refusal
            yield from _build_one_by_one(database, collection, missing)
            break
        existing = yield from _existing(collection)
    return conflicts


def _compared(
    declared: Iterable[IndexModel], existing: Sequence[IndexDocument]
) -> tuple[list[IndexDocument], list[Conflict]]:
    """Return the indexes that are missing, and those that conflict with what is there."""
    missing: list[IndexDocument] = []
    conflicts = []
    for index in declared:
        state, rival = state_of(index, existing)
        if state == IndexState.MISSING:
            missing.append(index.document)
        elif state == IndexState.CONFLICTING and rival:
            conflicts.append(Conflict(index.document["name"], rival["name"]))
    return missing, conflicts


def _existing(collection: str) -> Generator[_Command, _Answer, list[IndexDocument]]:
    """Return the indexes that there are; none if there is no collection, or it cannot be known."""
    answer = yield {"listIndexes": collection}
    if isinstance(answer, OperationFailure):
        if answer.code != NAMESPACE_NOT_FOUND and not _is_for_good(answer):
            raise answer
        return []
    return list(answer["cursor"]["firstBatch"])


def _create(database: str, collection: str) -> Generator[_Command, _Answer, None]:
    refusal = yield from _refusal_of({"create": collection, "storageEngine": _STORAGE_ENGINE})
    if refusal is None:
        return
    if not _is_for_good(refusal):
        raise refusal
    log_once(
        f"MongoDB refuses to compress {database} with zstd "
        f"({told(refusal, of_ours=True)}): its collections are as the server makes them by itself.",
        key=f"compression {database}",
    )
    refusal = yield from _refusal_of({"create": collection})
    if refusal is not None and not _is_for_good(refusal):  # else its first index creates it
        raise refusal


def _build_one_by_one(
    database: str, collection: str, missing: Sequence[IndexDocument]
) -> Generator[_Command, _Answer, None]:
    """Build the indexes that the server takes, and note those that it refuses."""
    refused: defaultdict[int | None, list[IndexDocument]] = defaultdict(list)
    reasons: dict[int | None, str] = {}
    for index in missing:
        refusal = yield from _build(collection, [index])
        plain = unconditional(index)
        if refusal is not None and plain != index and _is_for_good(refusal):
            condition, refusal = refusal, (yield from _build(collection, [plain]))
            if refusal is None:
                log_once(
                    "MongoDB refuses conditions in indexes "
                    f"({told(condition, of_ours=True)}): ours in {database} are without, and "
                    "hold every document.",
                    key=f"conditions {database}",
                )
        if refusal is not None:
            if not _is_for_good(refusal):
                raise refusal
            refused[refusal.code].append(index)
            reasons.setdefault(refusal.code, told(refusal, of_ours=True))
    for code, indexes in refused.items():
        note_indexes(database, collection, indexes, reasons[code])


def _build(collection: str, indexes: Sequence[IndexDocument]) -> _Refusal:
    return (yield from _refusal_of({"createIndexes": collection, "indexes": list(indexes)}))


def _refusal_of(command: _Command) -> _Refusal:
    answer = yield command
    if isinstance(answer, OperationFailure) and answer.code != NAMESPACE_EXISTS:
        return answer
    return None


def _is_for_good(error: OperationFailure) -> bool:
    """Tell whether the server does not do this, whoever asks and however often."""
    return only_this_is_refused(error) and error.code not in (UNAUTHORIZED, NOT_ON_A_VIEW)


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
    what = f"The collection {collection} could not be created with its indexes"
    with going_on(what, fix="let an administrator run `llm-audit indexes --create`."):
        yield conflicts
    for declared, existing in conflicts:
        log_once(
            f"The index {declared} of {collection} was not created, because it conflicts with the "
            f'existing {existing}: drop that one (db.{collection}.dropIndex("{existing}")) and run '
            "`llm-audit indexes --create`."
        )
