"""One process for which the agent ships: while it lives, and to its end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llm_audit.agent.job import Job
from llm_audit.errors import let_through, log_fault, log_once
from llm_audit.journal.losses import Account, find_left
from llm_audit.journal.reader import READ_BYTES
from llm_audit.journal.spool.agent_state import NOTHING, Figures
from llm_audit.journal.spool.progress import (
    LOST_ENDS,
    Progress,
    Wanted,
    read_progress,
    read_stats,
    write_progress,
)
from llm_audit.journal.spool.watched import WatchedFolder
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.shipping.backlog import Backlog
from llm_audit.recorder.shipping.chores import Every, do
from llm_audit.recorder.shipping.heartbeat import Heartbeat
from llm_audit.recorder.shipping.other_process import OtherProcess
from llm_audit.recorder.shipping.shipment import Shipment
from llm_audit.runtime import clock
from llm_audit.settings import Settings
from llm_audit.settings.fields import AGENT
from llm_audit.store.answers.shortfalls import noted
from llm_audit.store.connection import Connection

# More often makes many small batches, of which each waits for MongoDB's own journal.
SEND_SECONDS = 0.25
TELL_SECONDS = 0.05
_SAID = ("host", "pid", "boot_id", "service", "environment")


class Neighbour(Job):
    """A process that leaves shipping to the agent.

    Args:
        settings: Where to ship, and how.
        connection: To MongoDB.
        closing: Closes the calls that it leaves open.
        folder: Its folder in the spool.
        window_bytes: Returns how much of its journal may be in memory.
        everything: Send starts alone too that could still wait for their outcome.

    Attributes:
        finished: Whether it is dead, and all of it is in MongoDB.
        figures: What became of what it recorded.
        arrived: Whether all that its journal held when it was read last is in MongoDB.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        closing: Closing,
        folder: WatchedFolder,
        window_bytes: Callable[[], int],
        *,
        everything: bool = False,
    ) -> None:
        self.folder = folder
        self.finished = False
        self.arrived = False
        self.figures = NOTHING
        owner = folder.owner()
        self.service = str(owner.get("service") or "")
        self._database = settings.database
        self._window_bytes = window_bytes
        self._everything = everything
        self._process = OtherProcess(settings, connection, closing, folder, lives=True)
        self._wanted = Wanted(folder.path)
        self._begun_with = NOTHING  # what others had shipped before
        said = {name: owner.get(name) for name in _SAID} | {"shipped_by": AGENT}
        self._heartbeat = Heartbeat(
            self._process.settings, connection, folder.nonce, self._stats, said
        )
        self._life = Every(settings.beat_seconds(), self._show_life)
        self._backlog = Backlog()
        self._lost_there = 0  # what the process itself has said
        self._unread = _Unread(0, clock.monotonic())
        self._progress = Progress()
        self._told, self._told_at = Progress(), 0.0
        self._sent_at = 0.0
        self._lost_ends: frozenset[str] = frozenset()  # as its process has said
        self._closed_ends: frozenset[str] = frozenset()
        self._closed = 0

    @property
    def is_dead(self) -> bool:
        """Whether its process has died, and its folder is ours."""
        return self.folder.is_taken

    @property
    def is_awaited(self) -> bool:
        """Whether somebody in its process waits for MongoDB."""
        return self._wanted.look() > self._progress.through

    def is_due(self, now: float) -> bool:
        """Look at its journal, and whether it lives."""
        if self.finished:
            return False
        if self.folder.take():
            self._process.died()  # again, if it has failed
        if self.is_dead or now >= self._life.due_at:
            return True
        self._process.journal.look()
        unread = sum(segment.end - segment.read for segment in self._process.journal.segments)
        self.arrived = self.arrived and not unread
        if self.arrived:
            return False
        return unread >= READ_BYTES or now - self._sent_at >= SEND_SECONDS or self.is_awaited

    def do(self) -> bool:
        """Send a batch of what it has recorded; finish it, if it is dead and nothing is left."""
        shipment = self._shipment()
        if not self._heartbeat.shown and self._process.journal.segments:
            self._life.soon()  # no call arrives before the document of its process
        do((self._life,))
        self._sent_at = clock.monotonic()
        sent = self._process.step(everything=self._everything or self.is_dead or self.is_awaited)
        self.arrived = shipment.empty
        if self.arrived:
            self._close_unrecorded()
        self._note(shipment)
        if self.is_dead and self.arrived and not sent:
            self._process.finish()
            self.finished = True
        return sent

    def _close_unrecorded(self) -> None:
        """Close the calls the record of whose end was lost, or they would be open while it lives.

        What its process had recorded before it said so, such as that they began, has arrived.
        """
        lost = self._lost_ends
        if lost != self._closed_ends:
            self._closed += self._process.close_unrecorded(lost - self._closed_ends)
            self._closed_ends = lost

    @property
    def name(self) -> str:
        """Its folder."""
        return str(self.folder.path)

    def take_stock(self) -> None:
        """See what waits, also while nothing can be sent; not while it is being done."""
        if not self.is_dead:
            self._process.journal.look()
        segments = tuple(self._process.journal.segments)
        read, end = (sum(getattr(each, name) for each in segments) for name in ("read", "end"))
        now = clock.monotonic()
        if read == end or read != self._unread.read:
            self._unread = _Unread(read, now)
        through = self._progress.through
        self._backlog.note(self._progress.read, through)
        waiting = [each for each in segments if each.read < each.end or each.unacknowledged]
        self.figures = self.figures._replace(
            backlog_bytes=sum(each.end for each in waiting),
            oldest_seconds=max(
                now - self._unread.since, self._backlog.age_seconds(self._progress.read, through)
            ),
        )

    def tell(self, measured: Mapping[str, Any], *, at_once: bool = False) -> None:
        """Tell the process how far its journal is, if that has changed.

        Args:
            measured: What is to be told beside it: of the spool, and whether MongoDB answers.
            at_once: Do it however short it is since the last time.
        """
        progress = self._progress._replace(**measured)
        now = clock.monotonic()
        if progress == self._told or self.finished:
            return
        if not at_once and now - self._told_at < TELL_SECONDS:
            return
        self._told, self._told_at = progress, now
        try:
            write_progress(self.folder.path, progress)
        except OSError as error:
            let_through(error)
            log_once(f"A process cannot be told how far its journal is ({error.strerror}).")
        except BaseException as fault:  # noqa: BLE001  (whatever is wrong with one, others go on)
            let_through(fault)
            log_fault(fault)

    def _shipment(self) -> Shipment:
        is_first = not self._process.is_on_its_way
        shipment = self._process.shipment
        shipment.reader.window_bytes = self._window_bytes()
        if is_first:  # what others have shipped of it, as they noted there or here
            self._lost_there = _counted(find_left(self.folder.path).get("dropped", []))
            known, told = shipment.account(), read_progress(self.folder.path)
            through = max(known["acked_through"], told.through)
            delivery = shipment.delivery  # the document may be as old as a beat
            delivery.superseded = max(delivery.superseded, told.superseded)
            delivery.of_no_call = max(delivery.of_no_call, told.of_no_call)
            self._closed += max(shipment.closed_before, told.closed)
            self._begun_with = self._figures(known)._replace(recorded=through, shipped=through)
        return shipment

    def _note(self, shipment: Shipment) -> None:
        """Take note of how far it is, for whoever asks meanwhile."""
        account, delivery = shipment.account(), shipment.delivery
        through, read = account["acked_through"], account["last_read_seq"]
        segments = shipment.reader.unfinished
        refused, unreadable = account["refused"], account["unreadable"]
        self._backlog.note(read, through)
        self._progress = Progress(
            through=through,
            read=read,
            superseded=delivery.superseded,
            of_no_call=delivery.of_no_call,
            closed=self._closed,
            refused=refused,
            unreadable=unreadable,
        )
        now = self._figures(account)
        counts = (max(0, one - before) for one, before in zip(now, self._begun_with, strict=True))
        self.figures = Figures._make(counts)._replace(
            backlog_bytes=sum(segment.end for segment in segments),
            oldest_seconds=self._backlog.age_seconds(read, through),
        )

    def _figures(self, account: Account) -> Figures:
        return Figures(
            recorded=account["last_read_seq"],
            shipped=account["acked_through"],
            refused=_counted(account["refused"]),
            dropped=_counted(account["unreadable"]) + self._lost_there,
        )

    def _show_life(self) -> None:
        self.folder.touch()
        self._heartbeat.show()

    def _stats(self) -> dict[str, Any]:
        """Return what the document of its process says."""
        shipment = self._process.shipment
        account = shipment.account()
        left, said = find_left(self.folder.path), read_stats(self.folder.path)
        self._lost_there = _counted(left.get("dropped", []))
        self._lost_ends = frozenset(said.pop(LOST_ENDS, ()))
        read, through = account["last_read_seq"], account["acked_through"]
        is_something_there = any(segment.end for segment in self._process.journal.segments)
        recorded = max(read, left.get("recorded", 0), said.get("recorded", 0), is_something_there)
        return {
            **said,
            "recorded": recorded,
            "begun": max(shipment.begun, said.get("begun", 0)),
            "acked_through": through,
            "backlog_bytes": sum(segment.end for segment in shipment.reader.unfinished),
            "backlog_age_seconds": round(self._backlog.age_seconds(read, through), 3),
            "not_journaled": max(left.get("not_journaled", 0), said.get("not_journaled", 0)),
            "superseded": shipment.delivery.superseded,
            "of_no_call": shipment.delivery.of_no_call,
            "closed_for_the_dead": self._closed,
            "rejected": account["refused"],
            "dropped": [*left.get("dropped", []), *account["unreadable"]],
            "done_without": noted(self._database),
            "recovery": account,
        }


class _Unread(NamedTuple):
    """How far a journal was read when it was looked at last, and since when that has been so."""

    read: int
    since: float


def _counted(entries: Sequence[dict[str, Any]]) -> int:
    return sum(entry["count"] for entry in entries)
