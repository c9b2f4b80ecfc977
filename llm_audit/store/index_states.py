"""How an index that is declared here stands to those that a collection has."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from pymongo import TEXT, IndexModel

IndexDocument: TypeAlias = Mapping[str, Any]

# What an index can do without, for a server that refuses it: the index then is larger.
_CONDITIONS = ("partialFilterExpression", "sparse")

# Two indexes that agree in these cannot be in one collection, whatever they are called; nor can
# two of text.
_SIGNATURE = ("unique", "sparse", "partialFilterExpression")
_OPTIONS = (*_SIGNATURE, "expireAfterSeconds", "hidden")


class IndexState(StrEnum):
    """How an index in the database stands to those that this library declares."""

    THERE = "there"
    MISSING = "missing"
    CONFLICTING = "conflicting"  # another one has its name, or has its keys under another name
    EXTRA = "extra"  # not ours


def state_of(
    index: IndexModel, existing: Iterable[IndexDocument]
) -> tuple[IndexState, IndexDocument | None]:
    """Do what `compare` does, but let pass what was made without a condition: it serves as well."""
    state, document = compare(index, existing)
    wanted = index.document
    if document is not None and document["name"] == wanted["name"]:
        plain = _described(unconditional(wanted), _OPTIONS)
        if _described(document, _OPTIONS) == plain:
            state = IndexState.THERE
    return state, document


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


def unconditional(index: IndexDocument) -> IndexDocument:
    """Return an index without what a server may refuse of it."""
    return {name: value for name, value in index.items() if name not in _CONDITIONS}


def _described(index: IndexDocument, options: Iterable[str]) -> list[Any]:
    # a flag that is false is as good as none, but 0 seconds to live are not
    values = (index.get(name) for name in options)
    keys = list(index["key"].items())
    if "_fts" in index["key"]:  # as MongoDB lists an index of text
        keys = [(field, TEXT) for field in index["weights"]]
    return [keys, *(None if value is False else value for value in values)]
