"""Bind Beanie to the database in the settings, for everyone who reads."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from beanie import init_beanie
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from llm_audit.documents import LLMCall
from llm_audit.errors import log
from llm_audit.settings import get_settings
from llm_audit.store.ensure import Conflict, ensure_async, going_on_without
from llm_audit.store.indexes import declared_indexes
from llm_audit.store.loops import client_of_loop

BUILD_PATIENCE_SECONDS = 5.0  # what the start of an app can bear

# an event loop alone may let go of a task that runs
_builds: set[asyncio.Task[list[Conflict]]] = set()


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
        for collection, indexes in declared_indexes(settings).items():
            await _build(database, collection, indexes)
    LLMCall.Settings.name = settings.collection
    await init_beanie(database=database, document_models=[LLMCall], skip_indexes=True)
    return database


async def _build(
    database: AsyncDatabase[dict[str, Any]], collection: str, indexes: Sequence[IndexModel]
) -> None:
    """Create what is missing, and wait for it only so long as an app can."""
    build = asyncio.create_task(ensure_async(database, collection, indexes))
    _builds.add(build)
    build.add_done_callback(_builds.discard)
    await asyncio.wait({build}, timeout=BUILD_PATIENCE_SECONDS)
    if build.done():
        with going_on_without(collection) as conflicts:
            conflicts.extend(build.result())  # raises what it raised
        return
    log(
        logging.WARNING,
        "The indexes of %s are still being built, in the background: until then, queries that "
        "need them are slow.",
        collection,
    )
    build.add_done_callback(partial(_say_how_it_ended, collection))


def _say_how_it_ended(collection: str, build: asyncio.Task[list[Conflict]]) -> None:
    """Log the end of a build that nobody waits for."""
    if build.cancelled():
        return  # with its event loop; the server goes on without us
    if error := build.exception():
        log(
            logging.WARNING,
            "Whether the indexes of %s were built is unknown (%s): run llm_audit.init() again.",
            collection,
            type(error).__name__,
        )
    else:
        log(logging.INFO, "The indexes of %s are built.", collection)
