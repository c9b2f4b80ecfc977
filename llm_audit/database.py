"""Bind Beanie to the database in the settings, for everyone who reads."""

from typing import Any

from beanie import init_beanie
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid

from llm_audit.documents import LLMCall
from llm_audit.indexes import PROCESSES, STORAGE_ENGINE, process_indexes
from llm_audit.settings import get_settings


async def init() -> AsyncDatabase[dict[str, Any]]:
    """Bind `LLMCall` to the database in the settings, and create what is missing there.

    A client belongs to one event loop: call this once in each, e.g. in an app's lifespan. Apps with
    documents of their own may instead name LLMCall in their own `init_beanie`.

    Returns:
        The database, for `init_beanie` of further documents; `await database.client.close()` ends
        its connection.

    Raises:
        pymongo.errors.PyMongoError: MongoDB cannot be reached, or an index conflicts with an
            existing one.
    """
    settings = get_settings()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        settings.mongo_url,
        appname="llm-audit",
        serverSelectionTimeoutMS=5000,
        tz_aware=True,
        uuidRepresentation="standard",
    )
    database = client[settings.database]
    if settings.create_collection:
        await _create_collection(database, settings.collection)
        await _create_collection(database, PROCESSES)
        await database[PROCESSES].create_indexes(process_indexes())
    LLMCall.Settings.name = settings.collection
    await init_beanie(
        database=database, document_models=[LLMCall], skip_indexes=not settings.create_collection
    )
    return database


async def _create_collection(database: AsyncDatabase[dict[str, Any]], name: str) -> None:
    """Create a collection before its indexes do, which know no compression."""
    if await database.list_collection_names(filter={"name": name}):
        return
    try:
        await database.create_collection(name, storageEngine=STORAGE_ENGINE)
    except CollectionInvalid:
        return  # a shipper was a moment faster
