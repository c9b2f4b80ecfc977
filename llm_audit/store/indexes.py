"""The indexes that are declared: of calls, processes, refused records, media and views.

Ids are UUIDv7 strings, so `_id` is the order of time: the index of a field ends in it, and serves
an equality filter together with newest-first, keyset paging and a time range.
"""

from collections.abc import Mapping
from typing import Any

from pymongo import ASCENDING, TEXT, IndexModel

from llm_audit.call import LATER_ATTEMPTS
from llm_audit.settings import Settings
from llm_audit.settings.names import CHUNKS, FILES, PROCESSES, REJECTED, VERDICTS

OUTER_TASK = "task.outer_task_id"  # which calls were made in a task within this one
PROCESS = "process_nonce"
PROCESS_INDEX = "process_nonce_newest"  # which calls a process has begun
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
    "scores.name": "the calls with a score",
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


def declared_indexes(settings: Settings) -> dict[str, list[IndexModel]]:
    """Return the indexes of what is written in recording, by the name of the collection.

    Args:
        settings: How the collection of calls is called, and whether it has an index of every word.
    """
    return {
        settings.collection: call_indexes(text=settings.text_index),
        PROCESSES: process_indexes(),
        VERDICTS: verdict_indexes(),
        REJECTED: rejected_indexes(),
    }


def call_indexes(*, text: bool = False) -> list[IndexModel]:
    """Return every index that a query of this library is served by.

    Most are partial: a call that lacks the field costs the index nothing. All ascend, which is
    cheaper to write than `_id` descending, and read backwards for what is newest.

    Args:
        text: With the one of every word, which a setting asks for.
    """
    return [
        *(_newest(field, {field: {"$exists": True}}) for field in (*LOOKED_UP, "media", PROCESS)),
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


def _newest(field: str, partial: Mapping[str, Any]) -> IndexModel:
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


def verdict_indexes() -> list[IndexModel]:
    """Return the index of the verdicts: by when they may be forgotten."""
    return [IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0)]


def rejected_indexes() -> list[IndexModel]:
    """Return the indexes of refused records: whose they are, their media, and when they expire."""
    return [
        IndexModel([("process_nonce", ASCENDING)], name="of_a_process"),
        IndexModel([("media", ASCENDING)], name=MEDIA_INDEX, sparse=True),
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ]


def media_indexes() -> dict[str, list[IndexModel]]:
    """Return the indexes of GridFS: what it prescribes, and when media of ours expire."""
    by_name = IndexModel([("filename", ASCENDING), ("uploadDate", ASCENDING)])
    expiry = IndexModel(
        [("metadata.expires_at", ASCENDING)],
        name="media_expiry",
        partialFilterExpression={"metadata.expires_at": {"$exists": True}},
    )
    parts = IndexModel([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
    return {FILES: [by_name, expiry], CHUNKS: [parts]}


_PURPOSES = {f"{field}_newest": purpose for field, purpose in LOOKED_UP.items()} | {
    "_id_": "ids; of calls, dates too",
    "task.retries_newest": "what was retried",
    "task.redelivered_newest": "what was redelivered",
    "summed_up": "sums over time",
    "every_word": "search",
    MEDIA_INDEX: "who refers to a content",
    PROCESS_INDEX: "the calls of a process",
    "outer_task": "tasks that ran within a task",
    "open_calls": "left open by dead processes",
    "expiry": "removes what has expired",
    VIEWS_INDEX: "dates in the views",
    "silent": "processes that fell silent",
    "of_a_process": "what was refused of a process",
    "filename_1_uploadDate_1": "GridFS: files by name",
    "media_expiry": "media that have expired",
    "files_id_1_n_1": "GridFS: the parts of a file",
}


def purpose_of(name: str) -> str | None:
    """Return what an index serves, in a few words; None for an index that is not ours."""
    return _PURPOSES.get(name)
