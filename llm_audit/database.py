"""Bind Beanie to the database in the settings, for everyone who reads."""

import asyncio
import logging
from functools import partial
from typing import Any

from beanie import init_beanie
from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid

from llm_audit.documents import LLMCall
from llm_audit.errors import log, log_once
from llm_audit.settings import get_settings
from llm_audit.store.indexes import (
    PROCESSES,
    STORAGE_ENGINE,
    IndexState,
    call_indexes,
    compare,
    process_indexes,
)
from llm_audit.store.loops import client_of_loop

BUILD_PATIENCE_SECONDS = 5.0  # what the start of an app can bear

_builds: set[asyncio.Task[list[str]]] = set()  # an event loop alone may let go of a task that runs


async def init() -> AsyncDatabase[dict[str, Any]]:
    """Bind `LLMCall` to the database in the settings, and create what is missing there.

    Call it once, e.g. in an app's lifespan; it serves every event loop of the process. Apps with
    documents of their own may instead name LLMCall in their own `init_beanie`.

    Indexes that are missing are built while others read and write. Where that takes more than five
    seconds it goes on in the background, which is logged. One that conflicts with an existing index
    is left out, and a warning names it and the mend.

    Returns:
        The database, for `init_beanie` of further documents in this event loop. Its client is
        closed with the loop, or before by `await database.client.close()`.

    Raises:
        pymongo.errors.PyMongoError: MongoDB cannot be reached, or does not let us.
    """
    settings = get_settings()
    database = client_of_loop(settings)[settings.database]
    if settings.create_collection:
        await _create_collection(database, settings.collection)
        await _create_collection(database, PROCESSES)
        declared = call_indexes(text=settings.text_index)
        await _create_indexes(database[settings.collection], declared)
        await _create_indexes(database[PROCESSES], process_indexes())
    LLMCall.Settings.name = settings.collection
    await init_beanie(database=database, document_models=[LLMCall], skip_indexes=True)
    return database


async def _create_collection(database: AsyncDatabase[dict[str, Any]], name: str) -> None:
    """Create a collection before its indexes do, which know no compression."""
    if await database.list_collection_names(filter={"name": name}):
        return
    try:
        await database.create_collection(name, storageEngine=STORAGE_ENGINE)
    except CollectionInvalid:
        return  # a shipper was a moment faster


async def _create_indexes(
    collection: AsyncCollection[dict[str, Any]], indexes: list[IndexModel]
) -> None:
    """Create those that are missing, and wait for it only so long as an app can."""
    existing = [index async for index in await collection.list_indexes()]
    missing = []
    for index in indexes:
        state, rival = compare(index, existing)
        if state == IndexState.MISSING:
            missing.append(index)
        elif state == IndexState.CONFLICTING and rival:
            log_once(
                f"The index {index.document['name']} of {collection.name} was not created, because "
                f"it conflicts with the existing {rival['name']}: drop that one "
                f'(db.{collection.name}.dropIndex("{rival["name"]}")) and run llm_audit.init() '
                "again."
            )
    if missing:
        await _build(collection, missing)


async def _build(collection: AsyncCollection[dict[str, Any]], indexes: list[IndexModel]) -> None:
    names = ", ".join(index.document["name"] for index in indexes)
    build = asyncio.create_task(collection.create_indexes(indexes))
    _builds.add(build)
    build.add_done_callback(_builds.discard)
    await asyncio.wait({build}, timeout=BUILD_PATIENCE_SECONDS)
    if build.done():
        build.result()  # raises what it raised
        return
    log(
        logging.WARNING,
        "The indexes %s of %s are still being built, in the background: until then, queries that "
        "need them are slow.",
        names,
        collection.name,
    )
    build.add_done_callback(partial(_say_how_it_ended, names, collection.name))


def _say_how_it_ended(names: str, collection: str, build: asyncio.Task[list[str]]) -> None:
    """Log the end of a build that nobody waits for."""
    if build.cancelled():
        return  # with its event loop; the server goes on without us
    if error := build.exception():
        log(
            logging.WARNING,
            "Whether the indexes %s of %s were built is unknown (%s): run llm_audit.init() again.",
            names,
            collection,
            type(error).__name__,
        )
    else:
        log(logging.INFO, "The indexes %s of %s are built.", names, collection)
