"""Processes of a Python that has imported already, which takes most of the time of one.

`start` takes what `subprocess.Popen` takes, and the process is the same to whoever started it: a
child of its own, with its own environment, arguments, folder, session and streams, that ends as
an interpreter does, or by a signal. But it is forked from one that has imported all it needs, and
has done nothing else. What is about a start, or about imports, takes `subprocess` instead.

Two differences remain: all children have one seed of hashes, and what runs at the exit because of
an import comes after what a script has registered before it.
"""

import ctypes
import inspect
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from warm.server import NUMBER

# What a script of ours imports sooner or later, and what a worker of Celery does.
OURS = (
    *("llm_audit.logger", "llm_audit.lifecycle", "llm_audit.recorder.recorder", "gridfs"),
    *("llm_audit.store.delivery.delivery", "pymongo.synchronous.auth", "genai_prices.data"),
)
CELERY = (
    *OURS,
    *("celery_hooks", "celery.bin.celery", "celery.apps.worker", "celery.worker.consumer"),
    *("celery.concurrency.prefork", "celery.backends.redis", "kombu.transport.redis"),
)

SERVER = Path(__file__).with_name("server.py")
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")  # how such variables begin
PR_SET_CHILD_SUBREAPER = 36  # prctl.h
_libc = ctypes.CDLL(None, use_errno=True)

_environment: dict[str, str] = {}
_servers: dict[tuple[object, ...], "_Server"] = {}
_one_at_a_time = threading.Lock()


class _Server:
    """An interpreter that has imported some modules, and forks.

    Args:
        options: Of its command line.
        modules: What it imports.
        env: Its environment.
    """

    def __init__(
        self, options: tuple[str, ...], modules: tuple[str, ...], env: Mapping[str, str]
    ) -> None:
        self._channel, its = socket.socketpair()
        with its:
            command = [sys.executable, *options, str(SERVER), str(its.fileno()), *modules]
            pipe = subprocess.PIPE  # as the streams of its children will be
            self._process = subprocess.Popen(
                command, env=env, stdin=pipe, stdout=pipe, pass_fds=[its.fileno()]
            )

    def fork(self, request: Mapping[str, Any], streams: list[int]) -> int:
        """Have a child forked, and adopt it; return its pid."""
        said = pickle.dumps(request)
        with _adopting():
            socket.send_fds(self._channel, [NUMBER.pack(len(said))], streams)
            self._channel.sendall(said)
            answer = self._channel.recv(NUMBER.size, socket.MSG_WAITALL)
        if not answer:
            raise RuntimeError(f"the warm Python has ended: {self._process.wait()}")
        return int(NUMBER.unpack(answer)[0])

    def stop(self) -> None:
        """Let it end."""
        self._channel.close()
        self._process.communicate()


class _Forked(subprocess.Popen[Any]):
    """A process that is forked from a warm Python."""

    def __init__(self, server: _Server, command: list[str], **options: Any) -> None:
        self._server = server
        super().__init__(command, **options)

    def _execute_child(self, *given: Any) -> None:
        """Start the process, as the original does, from what that is given."""
        its = _EXECUTE_CHILD.bind(self, *given).arguments
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        streams = [its[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        request = {
            "command": its["args"],
            "cwd": str(its["cwd"] or Path.cwd()),
            "env": dict(os.environ if its["env"] is None else its["env"]),
            "session": its["start_new_session"],
        }
        here = [number if end == -1 else end for number, end in enumerate(streams)]
        try:
            self.pid = self._server.fork(request, here)
            self._child_created = True
        finally:
            self._close_pipe_fds(*(its[name] for name in ends))


_EXECUTE_CHILD = inspect.signature(subprocess.Popen._execute_child)


def start(
    command: list[str],
    *,
    env: Mapping[str, str],
    modules: tuple[str, ...] = OURS,
    **options: Any,
) -> subprocess.Popen[Any]:
    """Start a process; outside of `pythons`, or where none can be forked so, as ever.

    Args:
        command: `python [options] -c script` or `-m module`, with arguments.
        env: Its environment.
        modules: What it finds imported.
        **options: Of `subprocess.Popen`: streams, `cwd`, `text`, `start_new_session`.
    """
    differs = _read_at_start(env) != _read_at_start(_environment)
    if sys.platform != "linux" or not _environment or differs:
        return subprocess.Popen(command, env=env, **options)
    at = next(at for at, word in enumerate(command) if word in {"-c", "-m"})
    server = _server(tuple(command[1:at]), modules, env["PYTHONPATH"])
    return _Forked(server, command[at:], env=env, **options)


@contextmanager
def pythons() -> Iterator[None]:
    """Keep what has been imported until the block is left, for all that start in this environment.

    The processes may go on.
    """
    _environment.update(os.environ)
    yield
    _environment.clear()
    while _servers:
        _servers.popitem()[1].stop()


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """Return what an interpreter is told at its start and never again, but for PYTHONPATH."""
    return {
        name: value
        for name, value in env.items()
        if name.startswith(READ_AT_START) and name != "PYTHONPATH"
    }


def _server(options: tuple[str, ...], modules: tuple[str, ...], path: str) -> _Server:
    """Return an interpreter that was started with these options, or start it."""
    key = (os.getpid(), options, modules, path)
    with _one_at_a_time:
        if key not in _servers:
            _servers[key] = _Server(options, modules, {**_environment, "PYTHONPATH": path})
        return _servers[key]


@contextmanager
def _adopting() -> Iterator[None]:
    """Become the parent of what is left by its own parent meanwhile, below this process."""
    with _one_at_a_time:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            yield
        finally:
            _libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
