"""The thread that brings the journal to MongoDB, this process's own and those of the dead."""

import logging
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from llm_audit import pricing
from llm_audit.errors import log_once, logger
from llm_audit.recorder.backlog import Backlog
from llm_audit.recorder.delivery import Delivery, UnavailableError
from llm_audit.recorder.journal import Journal, JournalVersionError
from llm_audit.recorder.recovery import Recovery
from llm_audit.recorder.spool import ProcessFolder
from llm_audit.settings import Settings

POLL_SECONDS = 0.1
IDLE_SEGMENT_SECONDS = 30.0
HEARTBEAT_SECONDS = 10.0
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0


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
        folder: This process's folder in the spool; None where the spool cannot be written.
        target_folder: The spool's folder for this target.
        nonce: Names this process.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        folder: ProcessFolder | None,
        target_folder: Path,
        nonce: str,
    ) -> None:
        self.delivery = Delivery(settings, target_folder, nonce)
        self.recovery = Recovery(settings, target_folder, self.delivery, journal)
        self.backlog = Backlog(
            journal.segments,
            pending_after_seconds=settings.pending_after_seconds,
            batch_size=settings.batch_size,
            journal=journal,
        )
        self.unavailable: str | None = None
        self._settings = settings
        self._journal = journal
        self._folder = folder
        self._acknowledged = threading.Condition()
        self._wake = threading.Event()
        self.acknowledged_through = 0
        self._flush_through = 0
        self._stopping = False
        self._failures = 0
        self._next_heartbeat = 0.0
        self._thread = threading.Thread(target=self._run, name="llm-audit-shipper", daemon=True)

    def start(self) -> None:
        """Start the thread; at the end of the interpreter, when none can be, do without.

        The journal then waits for the next process that records on this machine.
        """
        self.delivery.open()
        try:
            self._thread.start()
        except RuntimeError as error:
            log_once(f"The shipper could not be started ({error}): calls stay in the journal.")

    def wake(self) -> None:
        """Look at the journals of the dead, and retry now instead of after the pause."""
        self.recovery.look_now()
        self._wake.set()

    def flush(self, timeout_seconds: float) -> FlushResult:
        """Wait until everything recorded before now is acknowledged, or the time is over."""
        target = self._journal.last_seq
        deadline = time.monotonic() + timeout_seconds
        with self._acknowledged:
            self._flush_through = max(self._flush_through, target)
            self._wake.set()
            while (through := self.acknowledged_through) < target:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return FlushResult(target - through, self.unavailable or "time is over")
                self._acknowledged.wait(min(left, POLL_SECONDS))
        return FlushResult(0)

    def stop(self, timeout_seconds: float) -> None:
        """End the thread after the batch it is at; what is left stays in the journal."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
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
                self._wake.wait(pause)
                self._wake.clear()
        self.recovery.release()
        self.delivery.close()

    def _preload(self) -> None:
        """Load what the first end of a call needs, while the provider still thinks about it."""
        try:
            pricing.preload()
        except Exception as error:  # noqa: BLE001  (without prices there is no cost; go on)
            self._failed(error)

    def _work_once(self) -> bool:
        """Send one batch of our own journal and one of a dead process's; return whether any."""
        self._heartbeat()
        flushing = self._flush_through > self.acknowledged_through
        sent = self._send_batch(self.backlog, self._journal.folder, everything=flushing)
        with self._acknowledged:
            self.acknowledged_through = self.backlog.acknowledged_through
            self._acknowledged.notify_all()
        if not sent and self.backlog.empty:
            self._journal.close_segment(older_than_seconds=IDLE_SEGMENT_SECONDS)
            self.backlog.delete_finished_segments()
        return self._recover_once() or sent

    def _recover_once(self) -> bool:
        """Go one step on with a dead process's folder; faults of it hold up no call of ours."""
        adopted = None
        try:
            adopted = self.recovery.current()
            if adopted is None:
                return False
            if not self._send_batch(adopted.backlog, adopted.folder.path, everything=True):
                self.recovery.close_calls()
                self._came_back()
        except JournalVersionError:
            self.recovery.leave_alone("a newer llm-audit wrote it")
        except UnavailableError as error:
            self._went_away(str(error))
            self.recovery.pause()
            return False
        except Exception as error:  # noqa: BLE001
            self._failed(error)
            self.recovery.leave_alone(f"reading it failed with {type(error).__name__}")
        return True

    def _send_batch(self, backlog: Backlog, blob_folder: Path, *, everything: bool) -> bool:
        batch = backlog.next_batch(everything=everything)
        if batch is None:
            return False
        self.delivery.send(batch.writes, blob_folder)
        self._came_back()
        backlog.acknowledge()
        return True

    def _heartbeat(self) -> None:
        now = time.monotonic()
        if self._folder is not None and now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            self._folder.touch()

    def _went_away(self, reason: str) -> float:
        if self.unavailable is None:
            logger.warning(
                "MongoDB is not available at %s (%s): calls stay in the journal. "
                "LLM_AUDIT_MONGO_URL says where it is.",
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
            logger.log(logging.WARNING, "MongoDB is available again: the journal is being shipped.")
        self.unavailable = None
        self._failures = 0
