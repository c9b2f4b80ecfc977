"""How the calls' collection is stored, and its indexes.

Ids are UUIDv7 strings, so `_id` is the order of time: every index ends in it, and serves an
equality filter together with newest-first, keyset paging and a time range.
"""

from pymongo import ASCENDING, DESCENDING, IndexModel

# zstd halves what the default takes for conversations, which repeat their history every turn.
STORAGE_ENGINE = {"wiredTiger": {"configString": "block_compressor=zstd"}}

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
            for field in FILTERED_FIELDS
        ),
        IndexModel(
            [("process_nonce", ASCENDING)],
            name="open_calls",
            partialFilterExpression={"status": "PENDING"},
        ),
        IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
    ]
