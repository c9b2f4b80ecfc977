"""The sign of life that a process gives in MongoDB, and its look at the others'.

A process is taken for dead when its beat counter has not changed for its whole lease while this one
looked, connected, beat after beat: not by any clock, or the first process back after an outage
would abandon all the others.
"""

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from llm_audit.journal.spool.owners import boot_id
from llm_audit.journal.spool.sightings import Sightings
from llm_audit.runtime import clock
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection, Documents
from llm_audit.store.processes import KEPT, KEPT_AFTER_ALL_ARRIVED, ProcessState, documents

NAME_MAX_CHARACTERS = 256
_NUMBERS = ["int", "long", "double"]  # that Python compares; decimals it does not
MISSED_BEATS = 2.5  # as many without a look, and watching begins anew


class Silent(NamedTuple):
    """A process whose lease has expired, and the beat at which it fell silent."""

    nonce: str
    beat: int


class Heartbeat:
    """One process's sign of life, and its view of the others.

    Args:
        settings: How often to beat, and how long a lease is.
        connection: To MongoDB.
        nonce: Names this process.
        stats: Returns what the document says of recording and delivery.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        nonce: str,
        stats: Callable[[], Mapping[str, Any]],
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
            for name, value in identity.items()
            if value is not None
        }
        self._started_at = datetime.now(UTC)
        self._settings = settings
        self._connection = connection
        self._nonce = nonce
        self._stats = stats
        self._beats = Sightings()
        self._last_look = 0.0
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

    def look(self) -> list[Silent]:
        """Return the processes whose lease has expired.

        Raises:
            UnavailableError: MongoDB cannot be reached.
        """
        with documents(self._connection) as processes:
            return self._find_silent(processes)
        return []

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

    def _find_silent(self, processes: Documents) -> list[Silent]:
        """Find who has been silent for a while, by the server's clock, and watch these."""
        now = self._connection.clock.now()
        silence = timedelta(seconds=2 * self._settings.beat_seconds())
        query = {
            "state": ProcessState.ALIVE,
            "beat_at": {"$lt": now - silence},
            "collection": self._settings.collection,
            "_id": {"$ne": self._nonce, "$type": "string"},
            "beat": {"$type": _NUMBERS},
            "lease_seconds": {"$type": _NUMBERS},
        }
        silent = list(processes.find(query, {"beat": 1, "lease_seconds": 1}))
        # now that the answer is here: this process may have been frozen while it was on its way
        if clock.monotonic() - self._last_look > MISSED_BEATS * self._settings.beat_seconds():
            self._beats.keep(())  # nobody looked for a while: begin anew
        self._beats.keep(process["_id"] for process in silent)
        expired = [
            Silent(process["_id"], process["beat"])
            for process in silent
            if self._beats.unchanged_seconds(process["_id"], process["beat"])
            >= process["lease_seconds"]
        ]
        self._last_look = clock.monotonic()
        return expired
