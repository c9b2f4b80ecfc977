"""The look at other processes' signs of life in MongoDB: who has fallen silent.

A process is taken for dead when its beat counter has not changed for its whole lease while this one
looked, connected, beat after beat: not by any clock, or the first process back after an outage
would abandon all the others.
"""

from datetime import timedelta
from typing import NamedTuple

from llm_audit.journal.spool.sightings import Sightings
from llm_audit.runtime import clock
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection, Documents
from llm_audit.store.processes import ProcessState, documents

_NUMBERS = ["int", "long", "double"]  # that Python compares; decimals it does not
MISSED_BEATS = 2.5  # as many without a look, and watching begins anew


class Silent(NamedTuple):
    """A process whose lease has expired, and the beat at which it fell silent."""

    nonce: str
    beat: int


class Silence:
    """One process's view of the others.

    Args:
        settings: How often to look; and whose calls.
        connection: To MongoDB.
        nonce: Names this process.
    """

    def __init__(self, settings: Settings, connection: Connection, nonce: str) -> None:
        self._settings = settings
        self._connection = connection
        self._nonce = nonce
        self._beats = Sightings()
        self._last_look = 0.0

    def look(self) -> list[Silent]:
        """Return the processes whose lease has expired.

        Raises:
            UnavailableError: MongoDB cannot be reached.
        """
        with documents(self._connection) as processes:
            return self._find_silent(processes)
        return []

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
