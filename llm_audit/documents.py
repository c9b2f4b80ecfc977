"""LLMCall, the Beanie document: the fields of a call with the store side added."""

from typing import ClassVar

from beanie import Document
from pymongo import IndexModel

from llm_audit.call import CallFields
from llm_audit.store.indexes import call_indexes


class LLMCall(CallFields, Document):
    """One recorded LLM call.

    `LLMCall.find(...)` and `LLMCall.aggregate(...)` work as on any Beanie document, after
    `await llm_audit.init()` or an `init_beanie` of your own that names it.
    """

    # Beanie declares an ObjectId; ours are UUIDv7 strings
    id: str  # type: ignore[assignment]

    class Settings:
        """Where Beanie finds the calls, and by which indexes."""

        name = "llm_calls"
        indexes: ClassVar[list[IndexModel]] = call_indexes()
