"""A real Celery worker: prefork, two children, a subprocess that never outlives the demo."""

import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from llm_audit.embedded.child import Child
from llm_audit.errors import LLMAuditError

CHILDREN = 2
NAME = "demo@localhost"
STOP_SECONDS = 10.0


class WorkerEndedError(LLMAuditError, RuntimeError):
    """The worker is gone although nobody stopped it; the message ends with its log."""


class Worker:
    """The worker of the demo's app, for the length of a `with` block.

    Args:
        folder: Takes the log and the worker's own temporary files; removed should this process be
            killed before it can clean up.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        """Start it; it is not ready yet."""
        command = [
            *(sys.executable, "-m", "celery", "-A", "llm_audit.demo.tasks:app", "worker"),
            *("--pool", "prefork", "--concurrency", str(CHILDREN), "--hostname", NAME),
            *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
        ]
        environment = {**os.environ, "TMPDIR": str(self._folder)}  # billiard puts a folder there
        self._child = Child(command, self._folder, self._folder / "worker.log", environment)
        return self

    @property
    def pid(self) -> int | None:
        """The worker's main process."""
        return self._child.pid

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            WorkerEndedError: It does not.
        """
        if self._child.has_ended():
            raise WorkerEndedError(f"The worker ended. Its log ends with:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        return self._child.log_tail()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop it: warmly, or without waiting for its tasks when the demo is interrupted."""
        self._child.stop(signal.SIGTERM if error is None else signal.SIGQUIT, STOP_SECONDS)
