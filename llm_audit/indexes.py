"""The collections of calls and of processes: how they are stored, and their indexes.

Ids are UUIDv7 strings, so `_id` is the order of time: every index ends in it, and serves an
equality filter together with newest-first, keyset paging and a time range.
"""

from pymongo import ASCENDING, DESCENDING, IndexModel

# zstd halves what the default takes for conversations, which repeat their history every turn.
STORAGE_ENGINE = {"wiredTiger": {"configString": "block_compressor=zstd"}}

PROCESSES = "llm_audit_processes"  # a document for each process that records, see heartbeat.py

MEDIA_INDEX = "media_newest"  # which calls refer to a content
FILTERED_FIELDS = (
    "trace_id",
    "session_id",
    "task_id",
    "user_id",
    "company_id",
    "status",
    "model",
    "parent_call_id",
    "tools_called",
)
WORKFLOW_FIELDS = ("task.root_id", "task.group_id")  # of a Celery canvas


def call_indexes() -> list[IndexModel]:
    """Return every index that a query of this library is served by.

    Each is partial: a call that lacks the field costs the index nothing.
    """
    return [
        *(
            IndexModel(
                [(field, ASCENDING), ("_id", DESCENDING)],
                name=f"{field}_newest",
                partialFilterExpression={field: {"$exists": True}},
            )
            for field in (*FILTERED_FIELDS, *WORKFLOW_FIELDS, "media")
        ),
        IndexModel(
            [("process_nonce", ASCENDING)],
            name="open_calls",
            partialFilterExpression={"status": "PENDING"},
        ),
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ]


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
