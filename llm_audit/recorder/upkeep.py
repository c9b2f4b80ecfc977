"""What a process that records owes besides shipping: life shown, its spool kept, others' ends.

The shipper's thread calls these in turn; each knows when it is due.
"""

import random
import time
from datetime import UTC, datetime

from llm_audit.errors import UnavailableError, log_once
from llm_audit.journal.spool import ProcessFolder, used_bytes
from llm_audit.journal.writer import Journal
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.heartbeat import Heartbeat
from llm_audit.recorder.open_calls import OpenCalls
from llm_audit.settings import Settings
from llm_audit.store import media
from llm_audit.store.connection import Connection, reaching

SPOOL_SECONDS = 1.0
CLEANING_SECONDS = 3600.0


class Upkeep:
    """One process's chores.

    Args:
        settings: How often they are due.
        connection: To MongoDB.
        journal: This process's journal.
        folder: This process's folder in the spool.
        heartbeat: This process's sign of life.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        journal: Journal,
        folder: ProcessFolder,
        heartbeat: Heartbeat,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._journal = journal
        self._folder = folder
        self._heartbeat = heartbeat
        self._losses_seen = 0
        self._next_look_at_spool = 0.0
        self._next_touch = 0.0
        lot = random.random()  # noqa: S311  (so that not all processes clean at once)
        self._next_cleaning = time.monotonic() + CLEANING_SECONDS * lot

    def look_after_spool(self) -> None:
        """Keep the folder in place, measure the spool, and show other kernels that we live."""
        now = time.monotonic()
        if now < self._next_look_at_spool:
            return
        self._next_look_at_spool = now + SPOOL_SECONDS
        self._journal.ensure_folder()
        if now >= self._next_touch or self._journal.full:
            self._next_touch = now + self._settings.beat_seconds()
            self._folder.touch()
            written = self._journal.written_bytes
            self._journal.measured(used_bytes(self._settings.spool_dir), written)
        self._journal.note_losses()

    def show_life(self) -> None:
        """Keep the lease while something else takes long.

        Raises:
            UnavailableError: MongoDB cannot be reached.
        """
        if self._heartbeat.is_due():
            self._folder.touch()
            self._heartbeat.show()

    def close_unrecorded(self, closing: Closing, open_calls: OpenCalls) -> None:
        """Close the calls the record of whose end was lost, or they would be PENDING for ever.

        Everything else recorded has to be in MongoDB: what is PENDING there still runs, or is one
        of them.

        Args:
            closing: Closes them.
            open_calls: Those that still run.

        Raises:
            UnavailableError: MongoDB cannot be reached; call again.
        """
        losses = self._journal.losses.total
        if losses > self._losses_seen:
            closing.abandon(self._folder.nonce, ended_by="record_lost", but_not=open_calls.ids())
            self._losses_seen = losses

    def clean_media(self) -> None:
        """Remove media whose calls have all expired, which no TTL index can do for GridFS."""
        now = time.monotonic()
        if now >= self._next_cleaning:
            self._next_cleaning = now + CLEANING_SECONDS
            try:
                with reaching():
                    media.remove_expired(self._connection.calls().database, datetime.now(UTC))
            except UnavailableError as error:
                log_once(f"Expired media could not be looked for ({error}).")
