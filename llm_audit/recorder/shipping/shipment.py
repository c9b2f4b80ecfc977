"""One way out of a journal: read it, send it, forget what has arrived, whoever recorded it."""

from collections import deque
from collections.abc import Callable
from functools import partial

from llm_audit.journal.losses import NOTHING_COUNTED, Account, Counted, Losses
from llm_audit.journal.reader import JournalReader
from llm_audit.journal.segments.segment import Segment
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.recorder.shipping.stage import Stage
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.refused.rejected import Rejected

DAMAGED_MAX = 1_000  # names of segments in a process's document


class Shipment:
    """A journal on its way into MongoDB.

    Args:
        settings: Where to, and how much at once.
        connection: To MongoDB.
        folder: What holds the journal, and the media that its records name.
        segments: The journal's, oldest first; more may come while it is shipped.
        losses: Is told of what can no longer be read.
        before_delete: Called with this shipment and each segment that has arrived, before that is
            deleted; what it raises keeps the segment.
        between: Called between the parts of a long delivery.
        pending_after_seconds: How long a start waits for its outcome before it is sent alone.
        known: What an earlier shipment of the same journal has learned.
        counted: What was counted of it before.
        adopted: Whether another process recorded it.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        folder: ProcessFolder,
        segments: deque[Segment],
        losses: Losses,
        *,
        before_delete: "Callable[[Shipment, Segment], None]",
        between: Callable[[], None],
        pending_after_seconds: float = 0.0,
        known: Account | None = None,
        counted: Counted = NOTHING_COUNTED,
        adopted: bool = False,
    ) -> None:
        self.folder = folder
        self.losses = losses
        self._begun_before = counted.begun
        self.reader = JournalReader(
            segments,
            pending_after_seconds=pending_after_seconds,
            batch_size=settings.batch_size,
            losses=losses,
            before_delete=partial(before_delete, self),
            known=known,
            counted_through=counted.recorded,
            stage=Stage(settings) if settings.redact_in_shipper else None,
        )
        self.rejected = Rejected(
            settings,
            connection,
            folder,
            losses,
            counted=known["refused"] if known else (),
        )
        nonce = folder.nonce if folder.names_who_began else None
        self.delivery = Delivery(
            settings,
            connection,
            self.rejected,
            losses,
            nonce=nonce,
            adopted=adopted,
            between=between,
        )
        self.delivery.superseded = counted.superseded
        self.delivery.of_no_call = counted.of_no_call
        self.closed_before = counted.closed_for_the_dead

    @property
    def empty(self) -> bool:
        """Whether everything that the journal holds so far is in MongoDB."""
        return self.reader.empty

    def step(self, *, everything: bool) -> bool:
        """Send what is due, and forget it; return whether there was anything.

        Args:
            everything: Send starts alone too that could still wait for their outcome.

        Raises:
            UnavailableError: MongoDB cannot be reached now; the next step goes on from here.
        """
        batch = self.reader.next_batch(everything=everything)
        if batch is not None:
            with self.reader.reading_ahead():
                self.delivery.send(batch.writes, self.folder.path)
        self.reader.acknowledge()
        return batch is not None

    @property
    def begun(self) -> int:
        """How many calls began in it, at least: parts of it may be gone."""
        return self._begun_before + self.reader.begun

    def account(self) -> Account:
        """Return what was learned of the journal, for whoever goes on with the rest of it."""
        return {
            "last_read_seq": self.reader.last_read_seq,
            "acked_through": self.reader.acknowledged_through,
            "missing": self.reader.gaps.count,
            "gaps": self.reader.gaps.ranges,
            "unreadable": self.losses.entries(),
            "refused": self.rejected.counted.entries(),
            "damaged": sorted(self.reader.damaged)[:DAMAGED_MAX],
        }
