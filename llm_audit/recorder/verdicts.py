"""What this process knows of how tasks of others ended, until their calls can be closed.

A worker's main process knows why it ended a child, but not which calls were open in it: that is in
the child's journal first, then in MongoDB. So a verdict waits until the child's folder is gone from
the spool: the child has delivered everything itself, or whoever adopted its folder has.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from llm_audit.recorder.closing import Closing, Verdict
from llm_audit.recorder.spool import NEW, boot_id, look_at

PATIENCE_SECONDS = 10.0  # after which the process may go on for long
WAITING_MAX = 10_000  # beyond it the oldest go: their calls end by inference
POLL_SECONDS = 0.05


class _Waiting(NamedTuple):
    verdict: Verdict
    since: float  # on the monotonic clock
    last_seq: int  # what this process itself had recorded by then


class Verdicts:
    """Verdicts that wait for the calls they are about.

    Args:
        target_folder: The spool's folder for this target.
        closing: Carries them out.
        look_for_dead: Has dead processes' journals shipped now.
    """

    def __init__(
        self, target_folder: Path, closing: Closing, look_for_dead: Callable[[], None]
    ) -> None:
        self._target_folder = target_folder
        self._closing = closing
        self._look_for_dead = look_for_dead
        self._waiting: deque[_Waiting] = deque(maxlen=WAITING_MAX)

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

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again.
        """
        for waiting in tuple(self._waiting):
            if self._is_due(waiting, acknowledged_through):
                self._closing.carry_out(waiting.verdict)
                self._waiting.remove(waiting)

    def wait(self, timeout_seconds: float) -> None:
        """Wait until all are carried out, or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while self._waiting and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _is_due(self, waiting: _Waiting, acknowledged_through: int) -> bool:
        if time.monotonic() - waiting.since > PATIENCE_SECONDS:
            return True
        if waiting.verdict.pid == os.getpid():
            return acknowledged_through >= waiting.last_seq
        return not self._has_folder(waiting.verdict.pid)

    def _has_folder(self, pid: int) -> bool:
        """Tell whether a process has something in the spool; if it is dead, have it shipped."""
        this_machine = (socket.gethostname(), boot_id())
        try:
            entries = os.scandir(self._target_folder)
            paths = [Path(entry.path) for entry in entries if not entry.name.startswith(NEW)]
        except OSError:
            return False  # no spool, so nothing in it
        for path in paths:
            owner = look_at(path)
            if owner and owner.pid == pid and (owner.host, owner.boot_id) == this_machine:
                if not owner.lives:
                    self._look_for_dead()
                return True
        return False
