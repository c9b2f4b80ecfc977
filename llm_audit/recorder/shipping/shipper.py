"""The thread that brings the journal to MongoDB, this process's own and those of the dead."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llm_audit import causes, prices
from llm_audit.errors import let_through, log_once
from llm_audit.journal import complaints
from llm_audit.journal.segments.memory import give_up, unsaved
from llm_audit.journal.spool.agents import has_left
from llm_audit.journal.spool.folder import ProcessFolder, free_bytes, used_bytes
from llm_audit.journal.writer import Journal
from llm_audit.recorder import exits, uwsgi
from llm_audit.recorder.captured import end_dropped
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.open_calls import OpenCalls
from llm_audit.recorder.recovery import Recovery
from llm_audit.recorder.shipping.acknowledged import Acknowledged, FlushResult
from llm_audit.recorder.shipping.availability import IN_THE_JOURNAL, Availability
from llm_audit.recorder.shipping.backlog import Backlog
from llm_audit.recorder.shipping.chores import Every, do
from llm_audit.recorder.shipping.heartbeat import Heartbeat
from llm_audit.recorder.shipping.shipment import Shipment
from llm_audit.recorder.shipping.upkeep import Upkeep
from llm_audit.recorder.signals import Signal
from llm_audit.runtime import clock
from llm_audit.settings import Settings
from llm_audit.settings.fields import AGENT
from llm_audit.store.answers.shortfalls import noted
from llm_audit.store.connection import Connection

# Each look at the journal competes with the threads that record, for the interpreter and caches.
LOOK_SECONDS = 0.25
POLL_SECONDS = 0.1
IDLE_SEGMENT_SECONDS = 30.0
SPOOL_SECONDS = 1.0
AWAITED_SECONDS = 0.5


class Shipper:
    """Reads one process's journal and sends it, in a daemon thread that is started once.

    Args:
        settings: Where to ship, and how.
        journal: This process's journal.
        folder: This process's folder in the spool.
        open_calls: The calls of this process.
        stats: Returns what the process's document says of it.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        folder: ProcessFolder,
        open_calls: OpenCalls,
        stats: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._folder = folder
        self._open_calls = open_calls
        self._connection = Connection(settings)
        self.heartbeat = Heartbeat(settings, self._connection, folder.nonce, stats)
        beat_seconds = settings.beat_seconds()
        self.life = Every(beat_seconds, self._show_life)
        self._room = Every(beat_seconds, self._measure_room)
        self.own = Shipment(
            settings,
            self._connection,
            folder,
            journal.segments,
            journal.losses,
            before_delete=lambda _, segment: journal.deleted(segment),
            between=self.life,
            # whoever waits for MongoDB wants no start to wait for its outcome first
            pending_after_seconds=0
            if settings.durability == "acknowledged"
            else settings.pending_after_seconds,
        )
        target_folder = folder.path.parent
        self.closing = Closing(settings, self._connection, self.own.delivery, target_folder)
        ways = settings, target_folder, self._connection, self.closing
        self.recovery = Recovery(*ways, self.life, others=self._left_by_agents)
        self.upkeep = Upkeep(
            settings,
            self._connection,
            self.closing,
            [target_folder],
            nonce=folder.nonce,
            answered=self._mongodb_answered,
        )
        self._chores = (
            Every(SPOOL_SECONDS, self._look_after_spool),
            Every(SPOOL_SECONDS, exits.listen),  # a server may be imported late
            Every(SPOOL_SECONDS, end_dropped),
            self.life,
            *self.upkeep.chores,
        )
        self.backlog = Backlog()
        self._mongodb = Availability(
            settings, self._connection, self._look_out, self._where_calls_wait
        )
        self.ended_well = False
        # re-entrant: who wakes us may be interrupted by a signal handler that does, too
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.acknowledged = Acknowledged(lambda: self._wakes.put(False))  # noqa: FBT003
        self._over = Signal()
        self._stopping = False
        self._losses_seen = 0
        self.look = None  # the thread does that
        self._thread = threading.Thread(target=self._run, name="llm-audit-shipper", daemon=True)

    @property
    def unavailable(self) -> str | None:
        """Why nothing can be sent now; None if MongoDB answers, as far as is known."""
        return self._mongodb.unavailable

    @property
    def through(self) -> int:
        """The number of the operation up to which everything is in MongoDB."""
        return self.acknowledged.through

    def start(self) -> None:
        """Start the thread; at the end of the interpreter, when none can be, do without.

        The journal then waits for the next process that records on this machine.
        """
        if uwsgi.is_master():
            self._mongodb.unavailable = uwsgi.WORKERS_DELIVER
            self.acknowledged.end()
            return
        if uwsgi.runs_no_threads():
            log_once(uwsgi.NO_THREADS)
        self._connection.open()
        try:
            self._thread.start()
        except RuntimeError as error:
            let_through(error)
            log_once(f"The shipper could not be started ({error}): {self._where_calls_wait()}.")
            self.acknowledged.end()

    def recover(self, timeout_seconds: float) -> bool:
        """Look at the journals of the dead, and retry, now; tell whether nothing is left in time.

        Args:
            timeout_seconds: How long to wait for it at the most.
        """
        began = clock.monotonic()
        self.recovery.look_now()
        self._wakes.put(True)  # noqa: FBT003
        while not self.recovery.left_nothing(began):
            if clock.monotonic() - began >= timeout_seconds:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def flush(self, timeout_seconds: float) -> FlushResult:
        """Wait until everything recorded before now is acknowledged, or the time is over."""
        target = self._journal.last_seq
        if self.acknowledged.wait(target, timeout_seconds):
            return FlushResult(0)
        missing = max(1, target - self.acknowledged.through)
        return FlushResult(missing, self.unavailable or "time is over")

    async def arrives(self, seq: int) -> None:
        """Wait in the running event loop until operation `seq` is acknowledged."""
        await self.acknowledged.arrives(seq)

    def expect_death(self) -> None:
        """Look often for a while for the dead."""
        self.recovery.look_often()

    def deliver(self, timeout_seconds: float, *, waits: bool) -> FlushResult:  # noqa: ARG002
        """Flush, and finish what children of this process have left: nobody else may be there."""
        deadline = clock.monotonic() + timeout_seconds
        result = self.flush(timeout_seconds)
        self.recovery.look_for_children()
        while self.recovery.expects_more() and clock.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return result

    def forget(self) -> None:
        """Close inherited descriptors in a forked child; its parent goes on shipping, or cannot."""
        if self.unavailable == uwsgi.WORKERS_DELIVER:
            self._folder.hand_over()
        self.recovery.forget()

    def stats(self) -> dict[str, Any]:
        """Return what has become of the journal."""
        recorded, acknowledged = self._journal.last_seq, self.through
        own = self.own
        return {
            "acked_through": acknowledged,
            "backlog_bytes": sum(segment.end for segment in own.reader.unfinished),
            "backlog_age_seconds": round(self.backlog.age_seconds(recorded, acknowledged), 3),
            "superseded": own.delivery.superseded,
            "of_no_call": own.delivery.of_no_call,
            "closed_for_the_dead": self.closing.closed,
            "rejected": own.rejected.counted.entries(),
            "dropped": self._journal.losses.entries(),
            "done_without": noted(self._settings.database),
        }

    def stop(self, timeout_seconds: float) -> int:
        """End the thread after the batch it is at; what is left stays in the journal.

        Args:
            timeout_seconds: How long to wait for it.

        Returns:
            How many operations are lost, because they were in memory only.
        """
        over = self._over = Signal()
        self._stopping = True
        self._wakes.put(True)  # noqa: FBT003
        if self._thread.ident is None:
            self._leave_folder()
        elif over.wait(timeout_seconds):
            self._thread.join(timeout_seconds)
        return give_up(self._journal.segments, self._journal.losses)

    def _run(self) -> None:
        self._try(prices.preload)  # what the first end of a call needs
        while not self._stopping:
            try:
                self._pause(self._try(self._work_once))
            except (NameError, AttributeError):
                continue  # `%autoreload` has cleared a module of ours, and fills it again
        if self.unavailable is None:
            self._try(self.recovery.finish_if_shipped)
        self.recovery.release()
        self.acknowledged.end()
        if self.unavailable is None and self.own.empty:
            self._try(self._say_goodbye)
        self._try(self._connection.close)
        self._try(self._leave_folder)
        self._over.give()

    def _try(self, work: Callable[[], object]) -> float:
        return self._mongodb.attempt(work, LOOK_SECONDS)

    def _work_once(self) -> bool:
        """Do what is due, and send one batch of our own journal and one of a dead process's."""
        recorded = self._journal.last_seq > 0
        self._note_backlog()
        if recorded and not self.heartbeat.shown:
            self.life.soon()
        do(self._chores)
        sent = recorded and self._ship()  # no call arrives before the document of its process
        return self.recovery.step() or sent

    def _ship(self) -> bool:
        """Send one batch of our own journal; return whether there was any."""
        recorded = self._journal.last_seq
        sent = self.own.step(everything=self.acknowledged.is_awaited)
        if sent:
            self._mongodb.came_back()
        empty = self.own.empty
        # numbers without a record, dropped ones, are behind us once everything else is
        self.acknowledged.advance(recorded if empty else self.own.reader.acknowledged_through)
        self._note_backlog()
        if empty and not sent:
            full = self._journal.full  # then its room is wanted
            self._journal.close_segment(older_than_seconds=0 if full else IDLE_SEGMENT_SECONDS)
            self._close_unrecorded()
        return sent

    def _pause(self, seconds: float) -> None:
        """Wait until there is something to do; who waits for MongoDB does not end every pause."""
        end = clock.monotonic() + seconds
        patience_ends = clock.monotonic() + (AWAITED_SECONDS if self.unavailable else 0)
        while (left := end - clock.monotonic()) > 0 and not self._stopping:
            try:
                if self._wakes.get(timeout=left):
                    break
            except queue.Empty:
                return
            end = min(end, patience_ends)
        while not self._wakes.empty():  # we are awake
            self._wakes.get()

    def _look_after_spool(self) -> None:
        """Keep the folder in place, what was in memory on disk, and the count of what is lost."""
        self._journal.ensure_folder()
        if self._journal.full:
            self._room.soon()
        self._room()
        if not self._journal.disk_refuses:
            self._journal.save_memory()
        self._journal.note_losses()

    def _measure_room(self) -> None:
        reserved = self._journal.room.reserved_bytes
        beside = used_bytes(self._settings.spool_dir, beside=self._folder.path)
        self._journal.measured(beside, reserved, free_bytes(self._settings.spool_dir))

    def _note_backlog(self) -> None:
        self.backlog.note(self._journal.last_seq, self.acknowledged.through)

    def _show_life(self) -> None:
        """Show other kernels, and in MongoDB, that this process lives."""
        self._folder.touch()
        self._note_backlog()  # or a record since the last look would seem as old as that
        self.heartbeat.show()

    def _close_unrecorded(self) -> None:
        """Close the calls the record of whose end was lost, or they would be PENDING for ever.

        Everything else recorded has to be in MongoDB: what is PENDING there still runs, or is one
        of them.
        """
        losses = self._journal.losses.total
        if losses > self._losses_seen:
            nonce, running = self._folder.nonce, self._open_calls.ids()
            self.closing.abandon(nonce, ended_by=causes.RECORD_LOST, but_not=running)
            self._losses_seen = losses

    def _say_goodbye(self) -> None:
        self._close_unrecorded()
        if self._open_calls.ids():  # begun when those open had been ended; nobody looks later
            self.closing.abandon(self._folder.nonce, ended_by=causes.PROCESS_EXIT)
        self.heartbeat.end()
        self.ended_well = True

    def _leave_folder(self) -> None:
        """Remove the folder if all of it has arrived; else leave it to the next who looks."""
        if self.own.empty and (self.ended_well or not self._journal.last_seq):
            self._folder.remove()
        else:
            self._folder.release()

    def _look_out(self) -> None:
        """See soon whether MongoDB is back, though there may be nothing to ship."""
        self.life.soon()
        self.upkeep.others.soon()

    def _left_by_agents(self) -> list[Path]:
        """Return where processes have died whose agent is gone, and shipped to where we do."""
        target_folder = self._settings.spool_dir / self._settings.target(AGENT)
        name = self._settings.target_name("thread")
        return [target_folder] if has_left(target_folder, name) else []

    def _mongodb_answered(self) -> None:
        if self.own.empty:  # else sending says more: beats may pass where calls do not
            self._mongodb.came_back()

    def _where_calls_wait(self) -> str:
        if self._journal.disk_refuses or unsaved(self._journal.segments):
            return complaints.IN_MEMORY_ONLY
        return IN_THE_JOURNAL
