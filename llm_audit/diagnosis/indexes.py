"""Which indexes there are, what they weigh, and whether anything uses them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from llm_audit.call import UTCDatetime
from llm_audit.settings import get_settings
from llm_audit.store.answers.codes import INDEX_NOT_FOUND, NAMESPACE_NOT_FOUND, UNAUTHORIZED
from llm_audit.store.answers.shortfalls import is_unsupported
from llm_audit.store.index_states import IndexDocument, IndexState, state_of
from llm_audit.store.indexes import declared_indexes, media_indexes, purpose_of, view_indexes

_ID_INDEX = "_id_"


class IndexReport(BaseModel):
    """One index: one that is declared, or one that is there and is not."""

    collection: str
    name: str
    state: IndexState
    purpose: str | None = Field(None, description="what it serves; None for one that is not ours")
    keys: dict[str, Any] = Field(description="1 is ascending, -1 descending")
    conflicts_with: str | None = Field(
        None, description="the name of the existing index whose size and use these are"
    )
    building: bool = False
    size_bytes: int | None = Field(None, description="None if missing, or the user may not know")
    uses: int | None = Field(
        None, description="operations that it served; None if missing, or the user may not know"
    )
    uses_since: UTCDatetime | None = Field(
        None, description="since when they are counted: the server's start, or the index's"
    )


def examine_indexes(database: Database[dict[str, Any]]) -> list[IndexReport]:
    """Compare the indexes of calls, processes and media with those declared.

    Args:
        database: Where they are; the settings say how the collection of calls is called.

    Returns:
        For each collection those that are declared, in the order of their declaration, then those
        that are not. The index that comes with the views is among them only where it exists, those
        of media where there are media. Uses are those that the server asked has counted: on a
        replica set, the others have their own.

    Raises:
        pymongo.errors.PyMongoError: MongoDB cannot be reached, or does not let us.
    """
    settings = get_settings()
    media = media_indexes()
    reports: list[IndexReport] = []
    for name, declared in {**declared_indexes(settings), **media}.items():
        existing = list(database[name].list_indexes())
        if existing or name not in media:
            optional = view_indexes() if name == settings.collection else []
            reports += _examine(database[name], existing, declared, optional)
    return reports


def _examine(
    collection: Collection[dict[str, Any]],
    existing: Sequence[IndexDocument],
    declared: list[IndexModel],
    optional: list[IndexModel],
) -> Iterator[IndexReport]:
    measures = _measures(collection)
    judged = set()
    for index in [*declared, *optional]:
        state, document = state_of(index, existing)
        if state == IndexState.MISSING and index in optional:
            continue
        found = document["name"] if document else None
        judged.add(found)
        name = index.document["name"]
        yield IndexReport(
            collection=collection.name,
            name=name,
            state=state,
            purpose=purpose_of(name),
            keys=dict(index.document["key"]),
            conflicts_with=found if state == IndexState.CONFLICTING else None,
            **measures.get(found, {}),
        )
    for document in existing:
        if document["name"] not in judged:
            own = document["name"] == _ID_INDEX
            yield IndexReport(
                collection=collection.name,
                name=document["name"],
                state=IndexState.THERE if own else IndexState.EXTRA,
                purpose=purpose_of(_ID_INDEX) if own else None,
                keys=dict(document["key"]),
                **measures.get(document["name"], {}),
            )


def _measures(collection: Collection[dict[str, Any]]) -> dict[str | None, dict[str, Any]]:
    """Return size and use of each index, summed up over the shards where there are some."""
    sizes: Counter[str] = Counter()
    for shard in _statistics(collection, {"$collStats": {"storageStats": {}}}):
        sizes.update(shard["storageStats"]["indexSizes"])
    uses: Counter[str] = Counter()
    since: dict[str, datetime] = {}
    building = set()
    for shard in _statistics(collection, {"$indexStats": {}}):
        name, accesses = shard["name"], shard["accesses"]
        uses[name] += int(accesses["ops"])
        since[name] = max(accesses["since"], since.get(name, accesses["since"]))
        if shard.get("building"):
            building.add(name)
    return {
        name: {
            "size_bytes": sizes.get(name),
            "uses": uses.get(name),
            "uses_since": since.get(name),
            "building": name in building,
        }
        for name in {*sizes, *uses}
    }


def _statistics(
    collection: Collection[dict[str, Any]], stage: dict[str, Any]
) -> list[dict[str, Any]]:
    while True:
        try:
            return list(collection.aggregate([stage]))
        except OperationFailure as error:
            if error.code in {UNAUTHORIZED, NAMESPACE_NOT_FOUND} or is_unsupported(error):
                return []
            if error.code != INDEX_NOT_FOUND:  # else a build has ended, or began, at this moment
                raise
