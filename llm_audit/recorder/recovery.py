"""What the dead left: adopt their journals, ship them, then close the calls they left open."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import bson
from pymongo import ReadPreference
from pymongo.errors import OperationFailure

from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import log_once
from llm_audit.recorder.adoption import OtherKernels, adopt_dead, waiting_elsewhere
from llm_audit.recorder.backlog import Backlog
from llm_audit.recorder.connection import Connection, describe, reaching
from llm_audit.recorder.delivery import Delivery
from llm_audit.recorder.operations import Form, Write
from llm_audit.recorder.precedence import Rank, outcome_key
from llm_audit.recorder.processes import note_recovered
from llm_audit.recorder.records import OTHER, Record
from llm_audit.recorder.segments import find_segments
from llm_audit.recorder.spool import ProcessFolder
from llm_audit.recorder.tally import Tally, find_left
from llm_audit.settings import Settings

_CAUSES = {
    "worker_lost": ("WorkerLost", "The process that made this call died before the call ended."),
    "lease_expired": (
        "LeaseExpired",
        "The process that made this call has shown no sign of life for the length of its lease.",
    ),
    "record_lost": (
        "RecordLost",
        "The call has ended, but the record of how it ended was lost.",
    ),
}


@dataclass(eq=False, slots=True)
class Adopted:
    """A dead process's folder, ours until everything in it is in MongoDB."""

    folder: ProcessFolder
    backlog: Backlog
    delivery: Delivery
    losses: Tally


class Recovery:
    """Finds the folders of dead processes, now and then, and finishes what they began.

    Args:
        settings: How often to look, and how long a lease is.
        target_folder: The spool's folder for this target.
        connection: To ship, and to ask which calls were left open.
        delivery: This process's own, by which those calls are closed.
        between: Called between the parts of a long delivery.
    """

    def __init__(
        self,
        settings: Settings,
        target_folder: Path,
        connection: Connection,
        delivery: Delivery,
        between: Callable[[], None],
    ) -> None:
        self.closed = 0
        self._settings = settings
        self._target_folder = target_folder
        self._connection = connection
        self._delivery = delivery
        self._between = between
        self._adopted: Adopted | None = None
        self._dead: Iterator[ProcessFolder] = iter(())
        self._other_kernels = OtherKernels(
            settings.lease_seconds, min(settings.lease_seconds, 2 * settings.beat_seconds())
        )
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

    def finish(self) -> None:
        """Close the calls that the adopted folder's owner left open, then remove the folder.

        Only now, so a start that never reached MongoDB has been shipped first.

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again later.
        """
        adopted = self._adopted
        if adopted is None:
            return
        nonce = adopted.folder.nonce
        with reaching():
            try:
                note_recovered(
                    self._connection.processes(),
                    self._settings,
                    adopted.folder.path,
                    adopted.folder.owner(),
                    last_seq=adopted.backlog.last_read_seq,
                    missing=adopted.backlog.missing,
                    left=find_left(adopted.folder.path),
                    unreadable=adopted.losses.entries(),
                    refused=adopted.delivery.rejected.entries(),
                )
            except OperationFailure as error:
                log_once(f"That a process was recovered could not be noted ({describe(error)}).")
        self.close_calls(nonce, ended_by="worker_lost")
        adopted.folder.remove()
        self._adopted = None

    def close_calls(self, nonce: str, *, ended_by: str, but_not: Collection[str] = ()) -> None:
        """Close the calls that a process left open; a real outcome still counts more.

        Args:
            nonce: The process.
            ended_by: "worker_lost", "lease_expired" or "record_lost".
            but_not: Calls to leave open.

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again.
        """
        query = {"process_nonce": nonce, "status": LLMCallStatusEnum.PENDING}
        with reaching():
            # the URL may prefer secondaries, which may not have seen the call yet
            calls = self._connection.calls().with_options(read_preference=ReadPreference.PRIMARY)
            pending = [call["_id"] for call in calls.find(query, {"_id": 1})]
        writes = [
            Write(Form.UPDATE_OTHER, _abandon(call_id, ended_by))
            for call_id in pending
            if call_id not in but_not
        ]
        size = self._settings.batch_size
        for first in range(0, len(writes), size):
            self._delivery.send(writes[first : first + size], self._target_folder)
            self.closed += len(writes[first : first + size])

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
        target = self._target_folder.name
        for folder in waiting_elsewhere(settings.spool_dir, target, self._other_kernels):
            log_once(
                f"{folder.path} holds calls for another mongo_url, database or collection than "
                f"{settings.hosts()}, {settings.database}, {settings.collection}: only a process "
                "with those settings ships them."
            )

    def _adopt_next(self) -> Adopted | None:
        if time.monotonic() >= self._next_look:
            self._report_waiting_elsewhere()
            self._next_look = time.monotonic() + self._settings.recovery_interval_seconds
            self._dead = adopt_dead(self._target_folder, self._other_kernels)
        for folder in self._dead:
            if folder.nonce in self._left_alone:
                folder.release()
                continue
            try:
                return self._adopt(folder)
            except OSError as error:
                log_once(f"{folder.path} cannot be read ({error.strerror}).")
                folder.release()
        return None

    def _adopt(self, folder: ProcessFolder) -> Adopted:
        settings = self._settings
        losses = Tally()
        backlog = Backlog(
            find_segments(folder.path),
            pending_after_seconds=0,
            batch_size=settings.batch_size,
            losses=losses,
        )
        # a file of its own for what is refused: the dead one may have died in the middle of writing
        nonce = f"{folder.nonce}.{uuid4()}"
        delivery = Delivery(
            settings, self._connection, self._target_folder, nonce, losses, between=self._between
        )
        return Adopted(folder, backlog, delivery, losses)


def _abandon(call_id: str, ended_by: str) -> Record:
    """Return the record that closes a call whose end nobody has recorded."""
    now = datetime.now(UTC)
    key = outcome_key(Rank.INFERENCE, now.timestamp())
    error_type, error_message = _CAUSES[ended_by]
    outcome = {
        "status": LLMCallStatusEnum.ABANDONED,
        "outcome_key": key,
        "ended_by": ended_by,
        "error_type": error_type,
        "error_message": error_message,
        "completed_at": now,
    }
    return Record(OTHER, call_id, 0, key, bson.encode(outcome), (), ())
