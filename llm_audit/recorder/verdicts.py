"""What this process knows of how tasks of others ended, until their calls can be closed.

A worker's main process knows why it ended a child, but not which calls were open in it: that is in
the child's journal first, then in MongoDB. So a verdict waits until the child's folder is gone from
the spool: the child has delivered everything itself, or whoever adopted its folder has. Where this
process has to end first, it leaves the verdict in that folder.
"""

import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bson.errors import BSONError

from llm_audit.errors import UnavailableError, log_once
from llm_audit.journal.spool import Owner, owners
from llm_audit.recorder.closing import Closing, Verdict, leave_verdicts
from llm_audit.recorder.recovery import Recovery

PATIENCE_SECONDS = 10.0  # with a process that lives, and may go on for long
PAUSE_SECONDS = 5.0
WAITING_MAX = 10_000  # beyond it the oldest go: their calls end by inference
POLL_SECONDS = 0.05

_Journals = list[tuple[Path, Owner]]


class _Waiting(NamedTuple):
    verdict: Verdict
    since: float  # on the monotonic clock
    last_seq: int  # what this process itself had recorded by then


class Verdicts:
    """Verdicts that wait for the calls they are about.

    Args:
        target_folder: The spool's folder for this target.
        closing: Carries them out.
        recovery: Ships the journals of the dead.
    """

    def __init__(self, target_folder: Path, closing: Closing, recovery: Recovery) -> None:
        self._target_folder = target_folder
        self._closing = closing
        self._recovery = recovery
        self._waiting: deque[_Waiting] = deque(maxlen=WAITING_MAX)
        self._paused_until = 0.0

    def add(self, verdict: Verdict, last_seq: int) -> None:
        """Take note of a verdict; also from a signal handler.

        Args:
            verdict: On a task of this process or of another one.
            last_seq: The number of this process's last operation.
        """
        self._waiting.append(_Waiting(verdict, time.monotonic(), last_seq))

    def carry_out(self, acknowledged_through: int) -> None:
        """Close the calls of each task whose process has nothing more to deliver.

        Args:
            acknowledged_through: How far this process has itself delivered.
        """
        all_waiting = tuple(self._waiting)
        if not all_waiting or time.monotonic() < self._paused_until:
            return
        journals = self._journals()
        for waiting in all_waiting:
            if not self._is_due(waiting, acknowledged_through, journals):
                continue
            try:
                self._closing.carry_out(waiting.verdict)
            except UnavailableError as error:
                log_once(f"How a task ended could not be said in MongoDB ({error}): later.")
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                return
            except Exception as error:  # noqa: BLE001  (the next must not wait for this one)
                log_once(f"How a task ended could not be said: {type(error).__name__}.")
            with suppress(ValueError):  # too many were waiting
                self._waiting.remove(waiting)

    def wait(self, timeout_seconds: float) -> None:
        """Wait until all are carried out, or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while self._waiting and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if self._waiting:
            self._leave()

    def _leave(self) -> None:
        """Leave what could not be said beside the journals that it is about."""
        waiting = [one.verdict for one in tuple(self._waiting)]
        for path, owner in self._journals():
            ours = [one for one in waiting if one.pid == owner.pid]
            if not ours:
                continue
            try:
                leave_verdicts(path, ours)
            except (OSError, BSONError) as error:
                log_once(f"How some tasks ended could not be left in the spool ({error}).")

    def _journals(self) -> _Journals:
        """Return the folders of this machine's processes in the spool."""
        return [found for found in owners(self._target_folder) if found[1].of_this_machine]

    def _is_due(self, waiting: _Waiting, acknowledged_through: int, journals: _Journals) -> bool:
        out_of_patience = time.monotonic() - waiting.since > PATIENCE_SECONDS
        if waiting.verdict.pid == os.getpid():
            return out_of_patience or acknowledged_through >= waiting.last_seq
        mine = [found for found in journals if found[1].pid == waiting.verdict.pid]
        return not mine or not self._is_expected(*mine[0], out_of_patience=out_of_patience)

    def _is_expected(self, path: Path, owner: Owner, *, out_of_patience: bool) -> bool:
        """Tell whether the journal of a process is still to be shipped; if it is dead, ask for it.

        That one which lives may go on for long is no reason to wait; what a dead one left will come
        as soon as MongoDB is there.
        """
        if not owner.lives:
            self._recovery.look_now()
        elif out_of_patience and not owner.has_ended():
            return False
        return not self._recovery.has_left_alone(path.name)
