"""What whoever ships does for everybody: the silent, what was refused, media that have expired."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from llm_audit import causes
from llm_audit.errors import UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.spool import aside
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.shipping.chores import Every
from llm_audit.recorder.shipping.silence import Silence
from llm_audit.settings import Settings
from llm_audit.store import media
from llm_audit.store.connection import Connection, reaching
from llm_audit.store.processes import note_lost
from llm_audit.store.refused import waiting

CLEANING_SECONDS = 3600.0


class Upkeep:
    """Chores for MongoDB and the spool, of which each process that ships does its part.

    Args:
        settings: How often.
        connection: To MongoDB.
        closing: Closes the calls of those who have fallen silent.
        target_folders: The spool's folders from which is shipped.
        nonce: Names this process.
        answered: Called when MongoDB has answered.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        closing: Closing,
        target_folders: Sequence[Path],
        *,
        nonce: str,
        answered: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._closing = closing
        self.silence = Silence(settings, connection, nonce)
        self._target_folders = target_folders
        self._answered = answered
        self.others = Every(settings.beat_seconds(), self._close_calls_of_the_silent)
        # not all processes clean at once
        first_cleaning = CLEANING_SECONDS * random.SystemRandom().random()
        self.chores = (
            self.others,
            Every(settings.recovery_interval_seconds, self._bring_in_refused),
            Every(CLEANING_SECONDS, self._clean_media, first_after_seconds=first_cleaning),
        )

    def _close_calls_of_the_silent(self) -> None:
        """Close the calls of processes that have shown no life for a whole lease."""
        for silent in self.silence.look():
            try:
                self._closing.abandon(silent.nonce, ended_by=causes.LEASE_EXPIRED)
                with reaching():
                    note_lost(self._connection.processes(), *silent)
            except UnavailableError:
                raise
            except BaseException as fault:  # noqa: BLE001  (whatever is wrong with it, others follow)
                let_through(fault)
                log_fault(fault)
        self._answered()

    def _bring_in_refused(self) -> None:
        """Bring into MongoDB what it refused, and would not keep either at the time."""
        for target_folder in self._target_folders:
            if waiting.files(target_folder):
                with reaching():
                    waiting.bring_in(self._connection, target_folder)
            aside.remove_old(target_folder, self._settings.spool_max_bytes)

    def _clean_media(self) -> None:
        """Remove media whose calls have all expired, which no TTL index can do for GridFS."""
        try:
            with reaching():
                now = self._connection.clock.now()
                media.remove_expired(self._connection.calls().database, now)
        except UnavailableError as error:
            if not self._connection.does_without_retries(error):
                log_once(f"Expired media could not be looked for ({error}).")
