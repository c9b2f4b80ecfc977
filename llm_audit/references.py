"""What the recording functions return: a call's id, which may also be awaited."""

import asyncio
from collections.abc import Generator
from typing import Any

from llm_audit.errors import let_through, log_once
from llm_audit.recorder import process
from llm_audit.settings import get_settings


class CallReference(str):
    """A call's id: a plain `str` that may also be awaited, which gives the same id.

    Awaiting returns at once or, with `durability="acknowledged"`, when MongoDB has acknowledged
    what was recorded; after `acknowledged_timeout_seconds` at the latest, and without an error.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, "CallReference"]:
        if get_settings().durability == "acknowledged":
            yield from _acknowledged().__await__()
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (str(self),))

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until MongoDB has acknowledged what this process recorded so far, this included.

        Args:
            timeout_seconds: How long at the most; by default the setting
                `acknowledged_timeout_seconds`.

        Returns:
            Whether it has; if not, the record is in the journal and will be shipped.
        """
        if timeout_seconds is None:
            timeout_seconds = get_settings().acknowledged_timeout_seconds
        return bool(process.flush(timeout_seconds, self))


async def _acknowledged() -> None:
    """Wait without blocking the event loop until what was recorded so far is acknowledged."""
    running = process.running()
    if running is None:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        let_through(error)
        log_once("Awaiting a call waits for MongoDB only in asyncio: here it returns at once.")
        return
    try:
        async with asyncio.timeout(get_settings().acknowledged_timeout_seconds) as limit:
            await running.shipper.arrives(running.journal.last_seq)
    except TimeoutError:
        if not limit.expired():  # else ours: the record is in the journal, and will be shipped
            raise
