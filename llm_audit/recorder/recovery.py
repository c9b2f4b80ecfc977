"""What the dead left: adopt their journals, ship them, then close the calls they left open."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import bson

from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import log_once
from llm_audit.recorder.backlog import Backlog
from llm_audit.recorder.delivery import Delivery
from llm_audit.recorder.journal import (
    OTHER,
    Journal,
    JournalClosedError,
    find_segments,
    record_fields,
)
from llm_audit.recorder.precedence import Rank, outcome_key
from llm_audit.recorder.spool import ProcessFolder, adopt_dead, waiting_elsewhere
from llm_audit.settings import Settings


@dataclass(eq=False, slots=True)
class Adopted:
    """A dead process's folder, ours until everything in it is in MongoDB."""

    folder: ProcessFolder
    backlog: Backlog


class Recovery:
    """Finds the folders of dead processes, now and then, and finishes what they began.

    Args:
        settings: How often to look, and how long a lease is.
        target_folder: The spool's folder for this target.
        delivery: To ask which calls were left open.
        journal: This process's journal, through which those calls are closed.
    """

    def __init__(
        self, settings: Settings, target_folder: Path, delivery: Delivery, journal: Journal
    ) -> None:
        self.closed = 0
        self._settings = settings
        self._target_folder = target_folder
        self._delivery = delivery
        self._journal = journal
        self._adopted: Adopted | None = None
        self._dead: Iterator[ProcessFolder] = iter(())
        self._left_alone: set[str] = set()
        self._next_look = 0.0
        self._paused_until = 0.0

    def look_now(self) -> None:
        """Look for dead processes at the next opportunity instead of at the next interval."""
        self._next_look = self._paused_until = 0.0

    def current(self) -> Adopted | None:
        """Return the dead process's folder being worked on, adopting the next if there is one."""
        if time.monotonic() < self._paused_until:
            return None
        if self._adopted is None:
            self._adopted = self._adopt_next()
        return self._adopted

    def close_calls(self) -> None:
        """Close the calls that the adopted folder's owner left open, then remove the folder.

        They are closed through our own journal, so nothing is lost if we die meanwhile; and only
        now, so a start that never reached MongoDB has been shipped first.

        Raises:
            UnavailableError: MongoDB cannot be asked now; call again later.
        """
        adopted = self._adopted
        if adopted is None:
            return
        for call_id in self._delivery.find_pending(adopted.folder.nonce):
            try:
                self._journal.append(_abandon(call_id))
            except JournalClosedError:
                self.release()  # we are stopping: the next process that looks goes on from here
                return
            self.closed += 1
        adopted.folder.remove()
        self._adopted = None

    def pause(self) -> None:
        """Go on with the adopted folder only after the usual interval."""
        self._paused_until = time.monotonic() + self._settings.recovery_interval_seconds

    def release(self) -> None:
        """Leave the adopted folder to the next process that looks."""
        if self._adopted is not None:
            self._adopted.folder.release()
            self._adopted = None

    def forget(self) -> None:
        """Close inherited descriptors in a forked child; the parent goes on with its work."""
        if self._adopted is not None:
            self._adopted.folder.forget()

    def leave_alone(self, reason: str) -> None:
        """Leave the adopted folder to a process that can deal with it.

        Args:
            reason: Why this one cannot.
        """
        if self._adopted is not None:
            log_once(f"{self._adopted.folder.path} is left alone: {reason}.")
            self._left_alone.add(self._adopted.folder.nonce)
            self.release()

    def _report_waiting_elsewhere(self) -> None:
        settings = self._settings
        waiting = waiting_elsewhere(
            settings.spool_dir, self._target_folder.name, settings.lease_seconds
        )
        for folder in waiting:
            log_once(
                f"{folder} holds calls for another mongo_url, database or collection than "
                f"{settings.hosts()}, {settings.database}, {settings.collection}: only a process "
                "with those settings ships them."
            )

    def _adopt_next(self) -> Adopted | None:
        if time.monotonic() >= self._next_look:
            self._report_waiting_elsewhere()
            self._next_look = time.monotonic() + self._settings.recovery_interval_seconds
            self._dead = adopt_dead(self._target_folder, self._settings.lease_seconds)
        for folder in self._dead:
            if folder.nonce in self._left_alone:
                folder.release()
                continue
            try:
                segments = find_segments(folder.path)
            except OSError as error:
                log_once(f"{folder.path} cannot be read ({error.strerror}).")
                folder.release()
                continue
            backlog = Backlog(
                segments, pending_after_seconds=0, batch_size=self._settings.batch_size
            )
            return Adopted(folder, backlog)
        return None


def _abandon(call_id: str) -> bytes:
    """Return the record that closes a call whose process is dead."""
    now = datetime.now(UTC)
    key = outcome_key(Rank.INFERENCE, now.timestamp())
    outcome = {
        "status": LLMCallStatusEnum.ABANDONED,
        "outcome_key": key,
        "ended_by": "worker_lost",
        "error_type": "WorkerLost",
        "error_message": "The process that made this call died before the call ended.",
        "completed_at": now,
    }
    return bson.encode(record_fields(OTHER, call_id, key, outcome))
