"""Clients of PyMongo Async: one for each event loop, closed with it.

Such a client belongs to the loop in which it was first used. Here another loop gets another client,
so two loops, a loop after the one that has ended, and a child after a fork all simply work.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, TypeAlias

from pydantic import SecretStr
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from llm_audit.errors import NotInitializedError, UnavailableError
from llm_audit.settings import Settings
from llm_audit.store.connection import UNUSABLE, client_options

AsyncDocuments: TypeAlias = AsyncCollection[dict[str, Any]]

_Key: TypeAlias = tuple[asyncio.AbstractEventLoop, SecretStr]


class LoopClient(AsyncMongoClient[dict[str, Any]]):
    """A client of the running event loop. Closing it more than once does no harm."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.mongo_url.get_secret_value(), **client_options(settings))
        self.settings = settings
        self.closed = asyncio.Event()
        self.key: _Key = (asyncio.get_running_loop(), settings.mongo_url)
        self.end = _closed_at_the_end(self)

    async def close(self) -> None:
        """Close the connection; who asks later gets another client."""
        self.closed.set()
        if _clients.get(self.key) is self:
            del _clients[self.key]
        await super().close()

    aclose = close


_clients: dict[_Key, LoopClient] = {}


def client_of_loop(settings: Settings) -> LoopClient:
    """Return the client of the running event loop, which is not connected before it is used.

    Args:
        settings: Where MongoDB is.

    Raises:
        UnavailableError: mongo_url cannot be used.
        pymongo.errors.PyMongoError: As well.
    """
    client = _clients.get((asyncio.get_running_loop(), settings.mongo_url))
    if client is None:
        for key in [
            key for key in tuple(_clients) if key[0].is_closed()
        ]:  # nobody else can close these
            _clients.pop(key, None)
        try:
            client = LoopClient(settings)
        except UNUSABLE as error:
            raise UnavailableError(f"mongo_url: {error}") from None
        _clients[client.key] = client
        with suppress(StopIteration):
            client.end.asend(None).send(None)  # from here on, the loop knows of it
    return client


def in_this_loop(collection: AsyncDocuments) -> AsyncDocuments:
    """Return a collection on the client of the running event loop, if its own is one of ours.

    Args:
        collection: Of any client. One that is not ours stays as it is.

    Raises:
        NotInitializedError: Its client is not ours, and belongs to another event loop.
    """
    client = collection.database.client
    running = _running_loop()
    if running is None:
        return collection
    if isinstance(client, LoopClient):
        here = client_of_loop(client.settings)
        return collection if here is client else here[collection.database.name][collection.name]
    if getattr(client, "_loop", None) not in {None, running}:  # PyMongo would say it less clearly
        raise NotInitializedError(
            f"The client that reads {collection.full_name} belongs to another event loop: give "
            "each loop its own, e.g. run init_beanie in each, or use llm_audit.init(), which "
            "serves every loop."
        )
    return collection


async def _closed_at_the_end(client: LoopClient) -> AsyncGenerator[None, None]:
    """Close a client when the loop shuts its generators down, the last thing that it does."""
    try:
        yield
    finally:
        await client.close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
