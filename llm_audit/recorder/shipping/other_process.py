"""A process that is not this one: its journal on the way to MongoDB and, once it died, its end."""

from collections.abc import Callable, Collection

from llm_audit import causes
from llm_audit.journal import beliefs
from llm_audit.journal.losses import NOTHING_COUNTED, Losses, find_left
from llm_audit.journal.segments.found import FoundSegments
from llm_audit.journal.segments.segment import Segment
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.shipping.shipment import Shipment
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection
from llm_audit.store.processes import (
    documents,
    find_account,
    find_counted,
    note_progress,
    note_recovered,
)


class OtherProcess:
    """What another process has recorded, and goes on recording while it lives.

    Args:
        settings: Where to ship, and how.
        connection: To MongoDB.
        closing: Closes the calls that it left open.
        folder: Its folder in the spool.
        lives: Whether it may still write there, until `died`.
        between: Called between the parts of a long delivery.

    Attributes:
        settings: Those by which its journal is shipped.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        closing: Closing,
        folder: ProcessFolder,
        *,
        lives: bool = False,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        # as who recorded has wanted it, whatever we want for our own
        kept = folder.owner().get("retention_days", settings.retention_days)
        self.settings = settings.model_copy(update={"retention_days": kept})
        self._connection = connection
        self._closing = closing
        self._between = between
        check = beliefs.of_process(folder.nonce, names_who_began=folder.names_who_began)
        self.journal = FoundSegments(folder.path, check, lives=lives)
        self._lives = self._was_alive = lives
        self._shipment: Shipment | None = None

    @property
    def shipment(self) -> Shipment:
        """Its journal on the way, from where others have left off.

        Raises:
            UnavailableError: MongoDB cannot be reached now, where that is kept.
        """
        if self._shipment is None:
            self._shipment = self._ship()
        return self._shipment

    @property
    def is_on_its_way(self) -> bool:
        """Whether it is known from where others have left off."""
        return self._shipment is not None

    @property
    def empty(self) -> bool:
        """Whether everything that its journal holds so far is in MongoDB, as far as is known."""
        return self._shipment is not None and self._shipment.empty

    def step(self, *, everything: bool) -> bool:
        """Send one batch of what is there by now; return whether there was anything.

        Args:
            everything: Send starts alone too that could still wait for their outcome.

        Raises:
            UnavailableError: MongoDB cannot be reached now; the next step goes on from here.
        """
        shipment = self.shipment
        if self._lives:
            self.journal.look()
        return shipment.step(everything=everything)

    def died(self) -> None:
        """Take in what it has written last; its folder has been taken over.

        Raises:
            OSError: That cannot be listed now; call again later.
        """
        if self._lives:
            self.journal.end()
            self._lives = False  # at last: nothing is finished before all of it was taken in

    def close_unrecorded(self, call_ids: Collection[str]) -> int:
        """Close the calls of which it says that their end was lost; return how many were open.

        Only once all of its journal so far has been shipped.

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again later.
        """
        return self._closing.abandon(self.folder.nonce, ended_by=causes.RECORD_LOST, only=call_ids)

    def finish(self) -> None:
        """Close the calls that it left open, then remove its folder.

        Only once all of its journal has been shipped, so that a start that never reached MongoDB
        has.

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again later.
        """
        folder, shipment = self.folder, self.shipment
        in_order = folder.ended_in_order
        with documents(self._connection) as processes:
            left, account = find_left(folder.path), shipment.account()
            note_recovered(
                *(processes, self.settings, folder, left, account),
                begun=shipment.begun,
                ended=in_order and self._was_alive,
            )
        cause = causes.PROCESS_EXIT if in_order else causes.WORKER_LOST
        self._closing.abandon(folder.nonce, ended_by=cause)
        folder.remove()

    def _ship(self) -> Shipment:
        known, counted = None, NOTHING_COUNTED
        with documents(self._connection) as processes:
            known = find_account(processes, self.folder.nonce)
            counted = find_counted(processes, self.folder.nonce)
        return Shipment(
            self.settings,
            self._connection,
            self.folder,
            self.journal.segments,
            Losses(known["unreadable"] if known else ()),
            before_delete=self._note_progress,
            between=self._between,
            pending_after_seconds=self.settings.pending_after_seconds if self._lives else 0.0,
            known=known,
            counted=counted,
            adopted=True,
        )

    def _note_progress(self, shipment: Shipment, _: Segment) -> None:
        with documents(self._connection) as processes:
            note_progress(
                processes, self.settings, shipment.folder, shipment.account(), shipment.begun
            )
