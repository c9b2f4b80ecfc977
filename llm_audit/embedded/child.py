"""A program as a child process that never outlives us."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from llm_audit.embedded import supervisor

LOG_TAIL_LINES = 15


class Child:
    """A program that runs until it is killed, or until this process ends in whatever way.

    Args:
        command: The program and its arguments.
        folder: Removed should this process be killed.
        log: Where the program's output goes.
        environment: Instead of this process's.

    Attributes:
        pid: The program's; None if it could not be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        script = [sys.executable, "-I", "-S", supervisor.__file__]
        self._log = log
        with log.open("wb") as output:
            self._supervisor = subprocess.Popen(  # noqa: S603 - our own command line
                [*script, str(os.getpid()), str(folder), *command],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            )
        pid = self._supervisor.stdout.readline() if self._supervisor.stdout else ""
        self.pid = int(pid) if pid else None

    def has_ended(self) -> bool:
        """Tell whether it has ended."""
        return self._supervisor.poll() is not None

    def stop(self, number: signal.Signals, seconds: float) -> None:
        """Ask it to end with a signal, and kill it if it has not done so in time."""
        if self.pid is not None:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(self.pid, number)
                self._supervisor.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End it with SIGKILL, if it has not ended."""
        self._supervisor.communicate("stop")

    def log(self) -> str:
        """Return what it has printed."""
        return self._log.read_text(errors="replace")

    def log_tail(self) -> str:
        """Return the last lines of that."""
        return "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])
