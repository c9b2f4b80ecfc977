"""The sign of life of a process in MongoDB: who it is, and how far recording and delivery are."""

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from llm_audit.journal.spool.owners import boot_id
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection
from llm_audit.store.processes import KEPT, KEPT_AFTER_ALL_ARRIVED, ProcessState, documents

NAME_MAX_CHARACTERS = 256


class Heartbeat:
    """One process's sign of life.

    Args:
        settings: How often to beat, and how long a lease is.
        connection: To MongoDB.
        nonce: Names the process.
        stats: Returns what the document says of recording and delivery.
        said: What of its identity is not that of this process, if it is another one.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        nonce: str,
        stats: Callable[[], Mapping[str, Any]],
        said: Mapping[str, Any] | None = None,
    ) -> None:
        identity = {
            "collection": settings.collection,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "boot_id": boot_id(),
            "service": settings.service,
            "environment": settings.environment,
            "heartbeat_seconds": settings.beat_seconds(),
            "lease_seconds": settings.lease_seconds,
            "retention_days": settings.retention_days,
        }
        self._identity = {
            name: value[:NAME_MAX_CHARACTERS] if isinstance(value, str) else value
            for name, value in (identity | dict(said or {})).items()
            if value is not None
        }
        self._started_at = datetime.now(UTC)
        self._connection = connection
        self._nonce = nonce
        self._stats = stats
        self.shown = False

    def show(self) -> None:
        """Show life, if anything was recorded, or should perhaps have been.

        Raises:
            UnavailableError: MongoDB cannot be reached.
        """
        self._write(ProcessState.ALIVE)

    def end(self) -> None:
        """Say goodbye: everything recorded here has arrived, or is known to have not.

        Raises:
            UnavailableError: MongoDB cannot be reached.
        """
        self._write(ProcessState.ENDED)

    def _write(self, state: ProcessState) -> None:
        stats = self._stats()
        if not stats["recorded"] and not stats.get("passed_by"):
            return
        flawless = not stats["rejected"] and not stats["dropped"]
        brief = state is ProcessState.ENDED and flawless
        with documents(self._connection) as processes:
            now = self._connection.clock.look()
            update = {
                "$set": {
                    **self._identity,
                    **stats,
                    "state": state,
                    "clock_ahead_seconds": self._connection.clock.ahead_seconds,
                    "expires_at": now + (KEPT_AFTER_ALL_ARRIVED if brief else KEPT),
                },
                "$inc": {"beat": 1},
                "$currentDate": {"beat_at": True},
                "$setOnInsert": {"started_at": self._started_at},
            }
            processes.update_one({"_id": self._nonce}, update, upsert=True)
        self.shown = True
