"""What the dead left: adopt their journals, ship them, then close the calls they left open."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from llm_audit.errors import UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.records import JournalVersionError
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.adoption import OtherKernels, adopt_dead, waiting_elsewhere
from llm_audit.journal.spool.agents import START_IT
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.shipping.chores import Every
from llm_audit.recorder.shipping.other_process import OtherProcess
from llm_audit.runtime import clock
from llm_audit.runtime.transient import is_transient
from llm_audit.settings import Settings
from llm_audit.settings.fields import AGENT, WITH_STAGE
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.isolation import StuckError

DYING_SECONDS = 10.0  # how long a process may take to end, once it is told to


class Recovery:
    """Finds the folders of dead processes, now and then, and finishes what they began.

    Args:
        settings: How often to look, and how long a lease is.
        target_folder: The spool's folder for this target.
        connection: To ship.
        closing: Closes the calls that were left open.
        between: Called between the parts of a long delivery.
        others: Returns the folders for other targets whose dead are to be finished, too.
    """

    def __init__(
        self,
        settings: Settings,
        target_folder: Path,
        connection: Connection,
        closing: Closing,
        between: Callable[[], None],
        *,
        others: Callable[[], Iterable[Path]] = lambda: (),
    ) -> None:
        self._settings = settings
        self._others = others
        self._target_folder = target_folder
        self._connection = connection
        self._closing = closing
        self._between = between
        self._other_kernels = OtherKernels(
            settings.lease_seconds, min(settings.lease_seconds, 2 * settings.beat_seconds())
        )
        self._found: Iterator[ProcessFolder] = iter(())
        self._dead: OtherProcess | None = None  # adopted: ours until all of it is in MongoDB
        self._left_alone: set[str] = set()
        self._look = Every(settings.recovery_interval_seconds, self._begin_look)
        self._targets = [target_folder]  # at the last look
        self._look_began = 0.0  # on the monotonic clock
        self._looked_at = 0.0  # when a look began that came to its end
        self._often_until = 0.0
        self._paused_until = 0.0

    def look_now(self) -> None:
        """Look for dead processes at the next opportunity instead of at the next interval."""
        self._look.soon()
        self._paused_until = 0.0

    def look_often(self) -> None:
        """Look at every opportunity for a while: a process is just being ended."""
        self._often_until = clock.monotonic() + DYING_SECONDS

    def look_for_children(self) -> None:
        """Look often, if a child of this process has ended without delivering all of its own."""
        owners = (owner for _, owner in looking.owners(self._target_folder))
        if any(owner.is_child and owner.has_ended() for owner in owners):
            self.look_often()

    def expects_more(self) -> bool:
        """Tell whether a process that was just ended has left what is still to be done."""
        return clock.monotonic() < self._often_until and any(
            owner.has_ended() and path.name not in self._left_alone
            for path, owner in looking.owners(self._target_folder)
        )

    def left_nothing(self, since: float) -> bool:
        """Tell whether a look has come to its end, and nothing of a dead process is there now.

        Args:
            since: When the look must have begun at the earliest, on the monotonic clock.
        """
        return self._looked_at >= since and not any(
            looking.is_crowded(target)  # else not all was looked at
            or any(owner.has_ended() for _, owner in looking.owners(target))
            for target in self._targets
        )

    def step(self) -> bool:
        """Go one step on with what a dead process left; return whether there was anything to do.

        A fault of it holds up no call of ours.
        """
        if clock.monotonic() < self._paused_until:
            return False
        try:
            self._dead = self._dead or self._adopt_next()
            if self._dead is None:
                return False
            if not self._dead.step(everything=True):
                self._finish(self._dead)
        except JournalVersionError:
            self._leave_alone("a newer llm-audit wrote it")
        except StuckError as error:
            self._leave_alone(str(error))
        except UnavailableError as error:
            if self._connection.does_without_retries(error):
                return True
            log_once(f"A dead process's journal could not be shipped ({error}): later.")
            return self._pause()
        except BaseException as error:  # noqa: BLE001
            let_through(error)
            log_fault(error)
            if is_transient(error) or self._dead is None:
                return self._pause()
            self._leave_alone(f"reading it failed with {type(error).__name__}")
        return True

    def finish_if_shipped(self) -> None:
        """Finish the adopted folder if nothing of it is left to ship.

        Raises:
            UnavailableError: MongoDB cannot be reached now; the next process that looks finishes.
        """
        if self._dead is not None and self._dead.empty:
            self._finish(self._dead)

    def release(self) -> None:
        """Leave the adopted folder to the next process that looks."""
        if self._dead is not None:
            self._dead.folder.release()
            self._dead = None

    def forget(self) -> None:
        """Close inherited descriptors in a forked child; the parent goes on with its work."""
        if self._dead is not None:
            self._dead.folder.forget()

    def _begin_look(self) -> None:
        settings = self._settings
        targets = self._targets = [self._target_folder, *self._others()]
        names = {target.name for target in targets}
        self._other_kernels.forget_removed()
        for folder in waiting_elsewhere(settings.spool_dir, names, self._other_kernels):
            theirs, ours = str(folder.owner().get("target")), settings.target_name("thread")
            if folder.owner().get("shipper") == AGENT:
                log_once(f"{folder.path} holds calls for {theirs}: {START_IT}.")
                continue
            is_redacted = theirs.endswith(WITH_STAGE)  # where it was moved to, nobody would do that
            move = f" If they belong to {ours}, move it into {self._target_folder}."
            log_once(
                f"{folder.path} holds calls for {theirs}: only a process with those settings ships "
                f"them.{'' if is_redacted else move}"
            )
        self._look_began = clock.monotonic()
        self._found = chain.from_iterable(
            adopt_dead(target, self._other_kernels) for target in targets
        )

    def _adopt_next(self) -> OtherProcess | None:
        if clock.monotonic() < self._often_until:
            self._look.soon()
        self._look()
        for folder in self._found:
            if folder.nonce not in self._left_alone:
                ways = self._settings, self._connection, self._closing
                try:
                    return OtherProcess(*ways, folder, between=self._between)
                except BaseException:
                    folder.release()  # else nobody would ever look at it again
                    raise
            folder.release()
        self._looked_at = self._look_began
        return None

    def _finish(self, dead: OtherProcess) -> None:
        dead.finish()
        self._dead = None

    def _pause(self) -> bool:
        """Go on only after the usual interval."""
        self._paused_until = clock.monotonic() + self._settings.recovery_interval_seconds
        return False

    def _leave_alone(self, reason: str) -> None:
        """Leave the adopted folder to a process that can deal with it."""
        if self._dead is not None:
            log_once(f"{self._dead.folder.path} is left alone: {reason}.")
            self._left_alone.add(self._dead.folder.nonce)
            self.release()
