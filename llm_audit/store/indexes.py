"""The collections of calls and of processes: how they are stored, and their indexes.

Ids are UUIDv7 strings, so `_id` is the order of time: the index of a field ends in it, and serves
an equality filter together with newest-first, keyset paging and a time range.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from pymongo import ASCENDING, TEXT, IndexModel

from llm_audit.call import LATER_ATTEMPTS

IndexDocument: TypeAlias = Mapping[str, Any]

# zstd halves what the default takes for conversations, which repeat their history every turn.
STORAGE_ENGINE = {"wiredTiger": {"configString": "block_compressor=zstd"}}

PROCESSES = "llm_audit_processes"  # a document for each process that records, see heartbeat.py

OUTER_TASK = "task.outer_task_id"  # which calls were made in a task within this one
MEDIA_INDEX = "media_newest"  # which calls refer to a content
VIEWS_INDEX = "views_created_at"

# Each has an index of its own, so a first page reads no call that it does not return. Fields of a
# few values (provider, call_type, environment, service) have none: going back through the newest
# calls finds a page of them as fast, and recording does not pay for it. See docs/performance.md.
LOOKED_UP = {  # and what for
    "trace_id": "the calls of a trace",
    "session_id": "the calls of a session",
    "task_id": "the calls of a task",
    "user_id": "the calls of a user",
    "company_id": "the calls of a company",
    "parent_call_id": "what a call caused",
    "review_id": "the calls about a review",
    "status": "calls by how they ended",
    "model": "the calls of a model",
    "task.name": "the calls of a task's name",
    "tags": "the calls with a tag",
    "tools_called": "who asked for a tool",
    "task.root_id": "the calls of a canvas",
    "task.group_id": "the calls of a group",
}
# All that sums over time are made of, so that months of calls add up without being read.
SUMMED_UP = (
    *("_id", "created_at", "status", "call_type", "provider", "model", "task.name"),
    *("company_id", "user_id", "environment", "service"),
    *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"),
    *("estimated_cost", "latency_ms", "error_type", "ended_by"),
)


def call_indexes(*, text: bool = False) -> list[IndexModel]:
    """Return every index that a query of this library is served by.

    Most are partial: a call that lacks the field costs the index nothing. All ascend, which is
    cheaper to write than `_id` descending, and read backwards for what is newest.

    Args:
        text: With the one of every word, which a setting asks for.
    """
    return [
        *(_newest(field, {field: {"$exists": True}}) for field in (*LOOKED_UP, "media")),
        *(_newest(field, later) for field, later in LATER_ATTEMPTS.items()),
        IndexModel([(field, ASCENDING) for field in SUMMED_UP], name="summed_up"),
        IndexModel(
            [(OUTER_TASK, ASCENDING)],
            name="outer_task",
            partialFilterExpression={OUTER_TASK: {"$exists": True}},
        ),
        IndexModel(
            [("process_nonce", ASCENDING)],
            name="open_calls",
            partialFilterExpression={"status": "PENDING"},
        ),
        IndexModel(
            [("expires_at", ASCENDING)],
            name="expiry",
            expireAfterSeconds=0,
            partialFilterExpression={"expires_at": {"$exists": True}},
        ),
        *([_every_word()] if text else []),
    ]


def _every_word() -> IndexModel:
    # In no language, as words are of many. By default MongoDB takes a field `language` of whatever
    # is nested in a call for that of its words, and refuses the call if it does not know it.
    return IndexModel(
        [("$**", TEXT)],
        name="every_word",
        default_language="none",
        language_override="language of the words",
    )


def _newest(field: str, partial: IndexDocument) -> IndexModel:
    return IndexModel(
        [(field, ASCENDING), ("_id", ASCENDING)],
        name=f"{field}_newest",
        partialFilterExpression=partial,
    )


def view_indexes() -> list[IndexModel]:
    """Return what `create_views` adds: whoever asks a view names dates, and no range of ids."""
    return [IndexModel([("created_at", ASCENDING)], name=VIEWS_INDEX)]


def process_indexes() -> list[IndexModel]:
    """Return the indexes of the processes' documents: who is silent, and who may be forgotten."""
    return [
        IndexModel([("state", ASCENDING), ("beat_at", ASCENDING)], name="silent"),
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ]


def file_indexes() -> list[IndexModel]:
    """Return the indexes of `fs.files`: what GridFS prescribes, and when media of ours expire."""
    return [
        IndexModel([("filename", ASCENDING), ("uploadDate", ASCENDING)]),
        IndexModel(
            [("metadata.expires_at", ASCENDING)],
            name="media_expiry",
            partialFilterExpression={"metadata.expires_at": {"$exists": True}},
        ),
    ]


def chunk_indexes() -> list[IndexModel]:
    """Return the index of `fs.chunks` that GridFS prescribes."""
    return [IndexModel([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)]


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


_PURPOSES = {f"{field}_newest": purpose for field, purpose in LOOKED_UP.items()} | {
    "_id_": "ids; of calls, dates too",
    "task.retries_newest": "what was retried",
    "task.redelivered_newest": "what was redelivered",
    "summed_up": "sums over time",
    "every_word": "search",
    MEDIA_INDEX: "who refers to a content",
    "outer_task": "tasks that ran within a task",
    "open_calls": "left open by dead processes",
    "expiry": "removes what has expired",
    VIEWS_INDEX: "dates in the views",
    "silent": "processes that fell silent",
    "filename_1_uploadDate_1": "GridFS: files by name",
    "media_expiry": "media that have expired",
    "files_id_1_n_1": "GridFS: the parts of a file",
}


def purpose_of(name: str) -> str | None:
    """Return what an index serves, in a few words; None for an index that is not ours."""
    return _PURPOSES.get(name)
