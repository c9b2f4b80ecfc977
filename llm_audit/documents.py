"""LLMCall, the Beanie document: the fields of a call with the store side added."""

from typing import TYPE_CHECKING, ClassVar

from beanie import Document
from pydantic import BaseModel, Field
from pymongo import AsyncMongoClient, IndexModel

from llm_audit.call import CallFields
from llm_audit.errors import log_once
from llm_audit.settings import get_settings
from llm_audit.store.connection import readable
from llm_audit.store.indexes import call_indexes
from llm_audit.store.loops import AsyncDocuments, in_this_loop
from llm_audit.tolerant import TolerantModel


class LLMCall(TolerantModel, CallFields, Document):
    """One recorded LLM call.

    `LLMCall.find(...)` and `LLMCall.aggregate(...)` work as on any Beanie document, after
    `await llm_audit.init()` or an `init_beanie` of your own that names it.
    """

    # Beanie declares an ObjectId; ours are UUIDv7 strings
    id: str  # type: ignore[assignment]

    media_problems: dict[str, str] = Field(
        default_factory=dict,
        description="by sha256, what of `media` could not be put back in its place, and why",
    )

    # Beanie's refuses to build a document before there is a database
    if not TYPE_CHECKING:
        __init__ = BaseModel.__init__

    class Settings:
        """Where Beanie finds the calls, and by which indexes."""

        name = "llm_calls"
        indexes: ClassVar[list[IndexModel]] = call_indexes()

    @classmethod
    def get_pymongo_collection(cls) -> AsyncDocuments:
        """Return the collection; after `init()`, on a client of the running event loop.

        Raises:
            NotInitializedError: After an `init_beanie` in another event loop.
        """
        return readable(in_this_loop(super().get_pymongo_collection()))

    @classmethod
    async def custom_init(cls) -> None:
        """Say once if what is read is not what is recorded; Beanie calls this when it binds."""
        bound = super().get_pymongo_collection()
        settings = get_settings()
        recorded = f"{settings.database}.{settings.collection}"
        is_real = issubclass(type(bound.database.client), AsyncMongoClient)  # not one in memory
        if is_real and bound.full_name != recorded:
            log_once(
                f"LLMCall reads {bound.full_name}, but calls are recorded into {recorded}: bind it "
                "to that, or set LLM_AUDIT_DATABASE and LLM_AUDIT_COLLECTION, or their arguments "
                "of llm_audit.configure(), before it is bound."
            )
