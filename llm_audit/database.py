"""Bind Beanie to the database in the settings, for everyone who reads."""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import Any, cast

from beanie import init_beanie
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from llm_audit.documents import LLMCall
from llm_audit.errors import log, log_once
from llm_audit.settings import Settings, get_settings
from llm_audit.store.answers.plain_errors import explained, plain_errors
from llm_audit.store.ensure import ensure_async, going_on_without
from llm_audit.store.indexes import declared_indexes
from llm_audit.store.loops import LoopClient, client_of_loop

START_PATIENCE_SECONDS = 5.0  # what the start of an app can bear
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

# By event loop and target; an event loop alone may let go of a task that runs.
_builds: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[bool]] = {}


async def init() -> AsyncDatabase[dict[str, Any]]:
    """Bind `LLMCall` to the database in the settings, and create what is missing there.

    Call it where an app starts, e.g. in its lifespan. Apps with documents of their own may instead
    name LLMCall in their own `init_beanie`.

    The server may be away: then a warning says what is wrong, queries say the same, and what is
    missing is created when the server is there. Indexes are built while others read and write. If
    that takes more than five seconds, it goes on in the background. One that conflicts with an
    existing index is left out, and a warning names it and how to fix it.

    Returns:
        The database, for `init_beanie` of further documents. Its connection ends with the event
        loop, or with `await database.client.close()`.

    Raises:
        ConfigurationError: A setting names what cannot be: mongo_url, database or collection.
    """
    settings = get_settings()
    with plain_errors(settings):
        client = client_of_loop(settings)
        database = client[settings.database]
        LLMCall.Settings.name = database[settings.collection].name  # unless it cannot be one
        bound = cast("AsyncDatabase[dict[str, Any]]", _WithoutServer(database))
        await init_beanie(database=bound, document_models=[LLMCall], skip_indexes=True)
        LLMCall.get_settings().pymongo_db = database  # where Beanie keeps what it was given
    if settings.create_collection:
        await _begin_to_create(client, settings)
    return database


class _WithoutServer:
    """A database that answers what Beanie asks the server when it binds a document."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._database = database
        self.client = database.client

    def __getitem__(self, name: str) -> Any:
        return self._database[name]

    async def command(self, *_: object) -> dict[str, str]:
        return {"version": "6.0.0"}  # the oldest that is supported

    async def list_collection_names(self, **_: object) -> list[str]:
        return []


async def _begin_to_create(client: LoopClient, settings: Settings) -> None:
    """Have what is missing created, and wait for it only so long as the start of an app can."""
    key = (asyncio.get_running_loop(), settings.target("thread"))
    if key in _builds:
        return  # begun by an init() before this one
    tried = asyncio.Event()
    build = asyncio.create_task(_create_what_is_missing(client, settings, tried))
    _builds[key] = build
    build.add_done_callback(lambda _: _builds.pop(key, None))
    with suppress(TimeoutError):
        async with asyncio.timeout(START_PATIENCE_SECONDS):
            await tried.wait()
    if build.done():
        build.result()
        return
    if not tried.is_set():
        log(
            logging.WARNING,
            "Indexes in the database %s are still being built, in the background: until then, "
            "queries that need them are slow. `llm-audit indexes` shows them.",
            settings.database,
        )
    build.add_done_callback(partial(_say_how_it_ended, settings.database))


async def _create_what_is_missing(
    client: LoopClient, settings: Settings, tried: asyncio.Event
) -> bool:
    """Try until everything is there, or the client is closed.

    Args:
        client: Of the running event loop.
        settings: What to create, and where.
        tried: Set after the first try, however it ends.

    Returns:
        Whether everything is there that can be.
    """
    pause = FIRST_PAUSE_SECONDS
    try:
        while not _is_over(client):
            try:
                await _create(client[settings.database], settings)
            except PyMongoError as error:
                if not _is_over(client):
                    problem = explained(settings, error)
                    log_once(f"{problem} Indexes are created as soon as that is over.")
            else:
                return True
            tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await client.closed.wait()
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    finally:
        tried.set()
    return False


def _is_over(client: LoopClient) -> bool:
    """Tell whether the client was closed or the task cancelled, which PyMongo may swallow."""
    task = asyncio.current_task()
    return client.closed.is_set() or bool(task and task.cancelling())


async def _create(database: AsyncDatabase[dict[str, Any]], settings: Settings) -> None:
    for name, indexes in declared_indexes(settings).items():
        with going_on_without(name) as conflicts:
            conflicts.extend(await ensure_async(database, name, indexes))


def _say_how_it_ended(database: str, build: asyncio.Task[bool]) -> None:
    """Log the end of what nobody waits for."""
    if build.cancelled():
        return  # with its event loop; the server goes on without us
    if error := build.exception():
        log(
            logging.WARNING,
            "Whether the indexes in the database %s were built is unknown (%s): run "
            "llm_audit.init() again.",
            database,
            type(error).__name__,
        )
    elif build.result():
        log(logging.INFO, "The indexes in the database %s are built.", database)
