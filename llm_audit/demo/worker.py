"""A real Celery worker: prefork, two children, a subprocess that never outlives the demo."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from llm_audit.embedded import supervisor
from llm_audit.errors import LLMAuditError

CHILDREN = 2
NAME = "demo@localhost"
STOP_SECONDS = 10.0
LOG_TAIL_LINES = 15


class WorkerEndedError(LLMAuditError, RuntimeError):
    """The worker is gone although nobody stopped it; the message ends with its log."""


class Worker:
    """The worker of the demo's app, for the length of a `with` block.

    Args:
        folder: Takes the log and the worker's own temporary files; removed should this process be
            killed before it can clean up.

    Attributes:
        pid: Of the worker's main process.
    """

    pid: int

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "worker.log"

    def __enter__(self) -> Self:
        """Start it; it is not ready yet."""
        command = [
            *(sys.executable, "-m", "celery", "-A", "llm_audit.demo.tasks:app", "worker"),
            *("--pool", "prefork", "--concurrency", str(CHILDREN), "--hostname", NAME),
            *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
        ]
        script = [sys.executable, "-I", "-S", supervisor.__file__]
        with self._log.open("wb") as log:
            self._supervisor = subprocess.Popen(
                [*script, str(os.getpid()), str(self._folder), *command],
                env={**os.environ, "TMPDIR": str(self._folder)},  # billiard puts a folder there
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            )
        self.pid = int(self._supervisor.stdout.readline() if self._supervisor.stdout else "")
        return self

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            WorkerEndedError: It does not.
        """
        if self._supervisor.poll() is not None:
            raise WorkerEndedError(f"The worker ended. Its log ends with:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop it: warmly, or without waiting for its tasks when the demo is interrupted."""
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.kill(self.pid, signal.SIGTERM if error is None else signal.SIGQUIT)
            self._supervisor.wait(STOP_SECONDS)
        self._supervisor.communicate("stop")
