"""The thread that brings the journal to MongoDB, this process's own and those of the dead."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from llm_audit.errors import UnavailableError, log, log_once
from llm_audit.journal.reader import Backlog
from llm_audit.journal.records import JournalVersionError
from llm_audit.journal.spool import TRANSIENT, ProcessFolder
from llm_audit.journal.writer import Journal
from llm_audit.providers import pricing
from llm_audit.recorder.acknowledged import Acknowledged
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.heartbeat import Heartbeat
from llm_audit.recorder.open_calls import OpenCalls
from llm_audit.recorder.recovery import Recovery
from llm_audit.recorder.upkeep import Upkeep
from llm_audit.recorder.verdicts import Verdicts
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection
from llm_audit.store.delivery import Delivery

POLL_SECONDS = 0.1
IDLE_SEGMENT_SECONDS = 30.0
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0
AWAITED_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class FlushResult:
    """What `flush()` reached: true if MongoDB has acknowledged everything recorded before it."""

    unacknowledged_operations: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.unacknowledged_operations == 0


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
        self._connection = Connection(settings)
        target_folder = folder.path.parent
        self.heartbeat = Heartbeat(settings, self._connection, folder.nonce, stats)
        self.upkeep = Upkeep(settings, self._connection, journal, folder, self.heartbeat)
        show_life = self.upkeep.show_life
        self.delivery = Delivery(
            settings,
            self._connection,
            target_folder,
            folder.nonce,
            journal.losses,
            between=show_life,
        )
        self.closing = Closing(settings, self._connection, self.delivery, target_folder)
        self.recovery = Recovery(settings, target_folder, self._connection, self.closing, show_life)
        self.verdicts = Verdicts(target_folder, self.closing, self.recovery)
        self.backlog = Backlog(
            journal.segments,
            # whoever waits for MongoDB wants no start to wait for its outcome first
            pending_after_seconds=0
            if settings.durability == "acknowledged"
            else settings.pending_after_seconds,
            batch_size=settings.batch_size,
            losses=journal.losses,
            on_delete=journal.deleted,
        )
        self.unavailable: str | None = None
        self.ended_well = False
        self._settings = settings
        self._journal = journal
        self._folder = folder
        self._open_calls = open_calls
        # re-entrant: who wakes us may be interrupted by a signal handler that does, too
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self.acknowledged = Acknowledged(lambda: self._wakes.put(False))  # noqa: FBT003
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._stopping = False
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="llm-audit-shipper", daemon=True)

    def start(self) -> None:
        """Start the thread; at the end of the interpreter, when none can be, do without.

        The journal then waits for the next process that records on this machine.
        """
        self._connection.open()
        try:
            self._thread.start()
        except RuntimeError as error:
            log_once(f"The shipper could not be started ({error}): calls stay in the journal.")
            self.acknowledged.end()

    def wake(self) -> None:
        """Look at the journals of the dead, and retry now instead of after the pause."""
        self.recovery.look_now()
        self._wakes.put(True)  # noqa: FBT003

    def dead_left_nothing(self, since: float) -> bool:
        """Tell whether a look for dead processes, begun since then, found that none left anything.

        Args:
            since: On the monotonic clock.
        """
        return self.recovery.left_nothing(since)

    def flush(self, timeout_seconds: float) -> FlushResult:
        """Wait until everything recorded before now is acknowledged, or the time is over."""
        target = self._journal.last_seq
        if self.acknowledged.wait(target, timeout_seconds):
            return FlushResult(0)
        missing = max(1, target - self.acknowledged.through)
        return FlushResult(missing, self.unavailable or "time is over")

    def stop(self, timeout_seconds: float) -> None:
        """End the thread after the batch it is at; what is left stays in the journal."""
        self._stopping = True
        self._wakes.put(True)  # noqa: FBT003
        if self._thread.ident is None:
            self.leave_folder()
        else:
            with suppress(Empty):
                self._ended.get(timeout=timeout_seconds)
                if not self._open_calls.ids():  # else it still shows that they run
                    self._thread.join(timeout_seconds)

    def _run(self) -> None:
        self._preload()
        while not self._stopping:
            try:
                busy = self._work_once()
                pause = 0.0 if busy else POLL_SECONDS
            except UnavailableError as error:
                pause = self._went_away(str(error))
            except Exception as error:  # noqa: BLE001
                # a fault of ours must not end shipping: the journal still holds everything
                pause = self._failed(error)
            if pause:
                self._pause(pause)
            while not self._wakes.empty():  # we are awake
                self._wakes.get()
        self._end_recovery()
        self.acknowledged.end()
        self._keep_lease_of(self._open_calls.ids())
        try:
            self._say_goodbye()
            self._connection.close()
            self.leave_folder()
        except Exception as error:  # noqa: BLE001  (whoever waits for the end must not miss it)
            self._failed(error)
        self._ended.put(None)

    def _end_recovery(self) -> None:
        """Finish a dead process's folder if all of it is shipped, and leave it otherwise."""
        try:
            if self.unavailable is None:
                self.recovery.finish_if_shipped()
        except UnavailableError as error:
            self._went_away(str(error))
        except Exception as error:  # noqa: BLE001  (whoever waits for the end must not miss it)
            self._failed(error)
        self.recovery.release()

    def _keep_lease_of(self, call_ids: set[str]) -> None:
        """Show life as long as calls begun here run, though now under other settings."""
        if call_ids:
            self._ended.put(None)  # nobody has to wait for them
        while call_ids & self._open_calls.ids():
            try:
                self.upkeep.show_life()
            except UnavailableError as error:
                self._went_away(str(error))
            time.sleep(POLL_SECONDS)

    def _pause(self, seconds: float) -> None:
        """Wait until there is something to do; who waits for MongoDB does not end every pause."""
        end = time.monotonic() + seconds
        patience_ends = time.monotonic() + (AWAITED_SECONDS if self.unavailable else 0)
        while (left := end - time.monotonic()) > 0 and not self._stopping:
            try:
                if self._wakes.get(timeout=left):
                    return
            except Empty:
                return
            end = min(end, patience_ends)

    def _preload(self) -> None:
        """Load what the first end of a call needs, while the provider still thinks about it."""
        try:
            pricing.preload()
        except Exception as error:  # noqa: BLE001  (without prices there is no cost; go on)
            self._failed(error)

    def _work_once(self) -> bool:
        """Send one batch of our own journal and one of a dead process's; return whether any."""
        self.upkeep.look_after_spool()
        if self.heartbeat.is_due():
            self._beat()
        recorded = self._journal.last_seq
        sent = self._send_batch(
            self.delivery,
            self.backlog,
            self._journal.folder,
            everything=self.acknowledged.is_awaited,
        )
        # numbers without a record, dropped ones, are behind us once everything else is
        through = recorded if self.backlog.empty else self.backlog.acknowledged_through
        self.acknowledged.advance(through)
        if not sent and self.backlog.empty:
            full = self._journal.full  # then its room is wanted
            self._journal.close_segment(older_than_seconds=0 if full else IDLE_SEGMENT_SECONDS)
            self.backlog.delete_finished_segments()
            self.upkeep.close_unrecorded(self.closing, self._open_calls)
        if not sent:
            self.upkeep.clean_media()
        recovering = self._recover_once()
        self.verdicts.carry_out(self.acknowledged.through)
        return recovering or sent

    def _beat(self) -> None:
        """Show life in MongoDB, and close the calls of those who have shown none for a lease."""
        try:
            for silent in self.heartbeat.beat():
                self.closing.abandon(silent.nonce, ended_by="lease_expired")
                self.heartbeat.lost(silent)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever others' documents hold, ours go on)
            self._failed(error)
        if self.backlog.empty:  # else sending says more: beats may pass where calls do not
            self._came_back()

    def leave_folder(self) -> None:
        """Remove the folder if all of it has arrived; else leave it to whoever looks next.

        The lock is freed by that, or when the process ends: it says that calls begun here run.
        """
        if self.backlog.empty and (self.ended_well or not self._journal.last_seq):
            self._folder.remove()
        else:
            self._folder.release()

    def _say_goodbye(self) -> None:
        if self.unavailable is None and self.backlog.empty:
            try:
                self.upkeep.close_unrecorded(self.closing, self._open_calls)
                self.heartbeat.end()
                self.ended_well = True
            except UnavailableError as error:
                self._went_away(str(error))

    def _recover_once(self) -> bool:
        """Go one step on with a dead process's folder; faults of it hold up no call of ours."""
        try:
            adopted = self.recovery.current()
            if adopted is None:
                return False
            if not self._send_batch(
                adopted.delivery, adopted.backlog, adopted.folder.path, everything=True
            ):
                self.recovery.finish()
        except JournalVersionError:
            self.recovery.leave_alone("a newer llm-audit wrote it")
        except UnavailableError as error:
            log_once(f"A dead process's journal could not be shipped ({error}): later.")
            self.recovery.pause()
            return False
        except Exception as error:  # noqa: BLE001
            self._failed(error)
            if isinstance(error, OSError) and error.errno in TRANSIENT:
                self.recovery.pause()
                return False
            self.recovery.leave_alone(f"reading it failed with {type(error).__name__}")
        return True

    def _send_batch(
        self, delivery: Delivery, backlog: Backlog, blob_folder: Path, *, everything: bool
    ) -> bool:
        batch = backlog.next_batch(everything=everything)
        if batch is None:
            return False
        delivery.send(batch.writes, blob_folder)
        if backlog is self.backlog:
            self._came_back()
        backlog.acknowledge()
        return True

    def _went_away(self, reason: str) -> float:
        if self.unavailable is None:
            log(
                logging.WARNING,
                "MongoDB is not available at %s (%s): calls stay in the journal. "
                "Start it; if it is elsewhere, set LLM_AUDIT_MONGO_URL.",
                self._settings.hosts() or "mongo_url",
                reason,
            )
        self.unavailable = reason
        self._failures += 1
        return float(min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(self._failures, 6)))

    def _failed(self, error: Exception) -> float:
        """Log where a fault happened, without its text, which may hold recorded content."""
        frames = "".join(traceback.format_tb(error.__traceback__))
        log_once(
            f"The shipper failed with {type(error).__name__} and will try again:\n{frames}",
            level=logging.ERROR,
        )
        return BACKOFF_MAX_SECONDS

    def _came_back(self) -> None:
        if self.unavailable is not None:
            log(logging.WARNING, "MongoDB is available again: the journal is being shipped.")
        self.unavailable = None
        self._failures = 0
