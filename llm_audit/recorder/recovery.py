"""What the dead left: adopt their journals, ship them, then close the calls they left open."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pymongo.errors import OperationFailure

from llm_audit.errors import log_once
from llm_audit.journal import spool
from llm_audit.journal.adoption import OtherKernels, adopt_dead, waiting_elsewhere
from llm_audit.journal.losses import Tally, find_left, find_progress, leave_progress
from llm_audit.journal.reader import Backlog
from llm_audit.journal.segments import find_segments
from llm_audit.journal.spool import ProcessFolder
from llm_audit.recorder.closing import Closing, find_verdicts
from llm_audit.recorder.processes import note_recovered
from llm_audit.settings import Settings
from llm_audit.store import rejected
from llm_audit.store.codes import describe
from llm_audit.store.connection import Connection, reaching
from llm_audit.store.delivery import Delivery


@dataclass(eq=False, slots=True)
class Adopted:
    """A dead process's folder, ours until everything in it is in MongoDB."""

    folder: ProcessFolder
    backlog: Backlog
    delivery: Delivery
    losses: Tally

    def leave_progress(self) -> None:
        """Write down what the journal told so far, for whoever goes on with what is left of it."""
        try:
            leave_progress(
                self.folder.path,
                last_read_seq=self.backlog.last_read_seq,
                missing=self.backlog.missing,
                unreadable=self.losses.entries(),
                refused=self.delivery.rejected.entries(),
                damaged=sorted(self.backlog.damaged),
            )
        except OSError as error:
            log_once(f"How far {self.folder.path} is recovered cannot be noted ({error.strerror}).")


class Recovery:
    """Finds the folders of dead processes, now and then, and finishes what they began.

    Args:
        settings: How often to look, and how long a lease is.
        target_folder: The spool's folder for this target.
        connection: To ship.
        closing: Closes the calls that were left open.
        between: Called between the parts of a long delivery.
    """

    def __init__(
        self,
        settings: Settings,
        target_folder: Path,
        connection: Connection,
        closing: Closing,
        between: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._target_folder = target_folder
        self._connection = connection
        self._closing = closing
        self._between = between
        self._adopted: Adopted | None = None
        self._dead: Iterator[ProcessFolder] = iter(())
        self._other_kernels = OtherKernels(
            settings.lease_seconds, min(settings.lease_seconds, 2 * settings.beat_seconds())
        )
        self._left_alone: set[str] = set()
        self._looked_at = 0.0  # on the monotonic clock: when a look began that came to its end
        self._look_began = 0.0
        self._next_look = 0.0
        self._paused_until = 0.0

    def look_now(self) -> None:
        """Look for dead processes at the next opportunity instead of at the next interval."""
        self._next_look = self._paused_until = 0.0

    def left_nothing(self, since: float) -> bool:
        """Tell whether a look has come to its end, and nothing of a dead process is there now.

        Args:
            since: When the look must have begun at the earliest, on the monotonic clock.
        """
        return self._looked_at >= since and not any(
            owner.has_ended() for _, owner in spool.owners(self._target_folder)
        )

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
        for verdict in find_verdicts(adopted.folder.path):
            self._closing.carry_out(verdict)
        self._closing.abandon(nonce, ended_by="worker_lost")
        adopted.folder.remove()
        self._adopted = None

    def finish_if_shipped(self) -> None:
        """Finish the adopted folder if nothing of it is left to ship.

        Raises:
            UnavailableError: MongoDB cannot be reached now; the next process that looks finishes.
        """
        if self._adopted is not None and self._adopted.backlog.empty:
            self.finish()

    def has_left_alone(self, nonce: str) -> bool:
        """Tell whether a folder waits for a process that can deal with it."""
        return nonce in self._left_alone

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
            self._leave(self._adopted.folder, reason)
            self._adopted = None

    def _leave(self, folder: ProcessFolder, reason: str) -> None:
        log_once(f"{folder.path} is left alone: {reason}.")
        self._left_alone.add(folder.nonce)
        folder.release()

    def _report_waiting_elsewhere(self) -> None:
        settings = self._settings
        target = self._target_folder.name
        for folder in waiting_elsewhere(settings.spool_dir, target, self._other_kernels):
            log_once(
                f"{folder.path} holds calls for {folder.owner().get('target')}: only a process "
                f"with those settings ships them. If they belong to {settings.target_name()}, "
                f"move it into {self._target_folder}."
            )

    def _adopt_next(self) -> Adopted | None:
        if time.monotonic() >= self._next_look:
            self._report_waiting_elsewhere()
            self._look_began = time.monotonic()
            self._next_look = self._look_began + self._settings.recovery_interval_seconds
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
            except Exception as error:  # noqa: BLE001  (whatever lies there; others look too)
                self._leave(folder, f"{type(error).__name__} in reading it")
        self._looked_at = self._look_began
        return None

    def _adopt(self, folder: ProcessFolder) -> Adopted:
        settings = self._settings
        progress = find_progress(folder.path)
        losses = Tally(progress.get("unreadable", ()))
        backlog = Backlog(
            find_segments(folder.path),
            pending_after_seconds=0,
            batch_size=settings.batch_size,
            losses=losses,
            on_delete=lambda _: adopted.leave_progress(),
            on_loss=lambda _: adopted.leave_progress(),
            last_read_seq=progress.get("last_read_seq", 0),
            missing=progress.get("missing", 0),
            damaged=progress.get("damaged", ()),
        )
        # a file of its own for what is refused: the dead one may have died in the middle of writing
        nonce = f"{folder.nonce}.{uuid4()}"
        delivery = Delivery(
            settings,
            self._connection,
            self._target_folder,
            nonce,
            losses,
            between=self._between,
            refused=progress.get("refused", ()),
            kept=rejected.kept(self._target_folder, folder.nonce),
        )
        adopted = Adopted(folder, backlog, delivery, losses)
        return adopted
