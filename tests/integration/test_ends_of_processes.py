"""However a process ends: what it recorded arrives, and its open calls have the true cause."""

import http.client
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from agents_running import agent
from children import environment, started
from ending_processes import COUNT, DONE, OPEN, WAYS
from patience import LONG
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES

End = tuple[str, str, str | None]  # how the process ended, and its open call

EXITED: End = ("ended", "INCOMPLETE", "process_exit")
SHUT_DOWN: End = ("ended", "INCOMPLETE", "shutdown")
LOST: End = ("recovered", "ABANDONED", "worker_lost")
# a pool may kill a process that is just ending
TERMINATED: list[End] = [LOST, ("recovered", "INCOMPLETE", "process_exit"), EXITED]

VANISHED = {"os._exit", "exec", "SIGTERM", "SIGKILL"}  # nothing at all can run
MORE = {"fork raises", "pool forkserver", "pool spawn", "executor forkserver", "executor spawn"}

# By service: the command, where it listens last, and the signal that ends it.
SERVERS = {
    "uvicorn": ("uvicorn ending_processes:app --uds", signal.SIGTERM),
    "gunicorn uvicorn": (
        "gunicorn ending_processes:app -k uvicorn.workers.UvicornWorker -b",
        signal.SIGTERM,
    ),
}
MORE_SERVERS = {
    "uvicorn SIGINT": ("uvicorn ending_processes:app --uds", signal.SIGINT),
    "gunicorn sync": ("gunicorn ending_processes:wsgi_app -b", signal.SIGTERM),
    "gunicorn sync SIGINT": ("gunicorn ending_processes:wsgi_app -b", signal.SIGINT),
    "gunicorn gthread": ("gunicorn ending_processes:wsgi_app -k gthread -b", signal.SIGTERM),
    "gunicorn gevent": ("gunicorn ending_processes:wsgi_app -k gevent -b", signal.SIGTERM),
}


class OverSocket(http.client.HTTPConnection):
    """A connection to a server that listens on a socket in a folder."""

    def connect(self) -> None:
        """Connect to it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def answers(path: Path) -> bool:
    """Ask a server once, if it listens by now."""
    with closing(OverSocket(str(path), timeout=PATIENCE)) as connection, suppress(OSError):
        connection.request("GET", "/")
        assert connection.getresponse().status == 204
        return True
    return False


@contextmanager
def running(settings: Settings, *arguments: str, **more: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a module until the block is left."""
    command = [sys.executable, "-m", *arguments]
    variables = environment(settings) | {"LLM_AUDIT_EXIT_TIMEOUT_SECONDS": str(PATIENCE)} | more
    nothing, both = subprocess.DEVNULL, subprocess.STDOUT
    with started(command, variables, stdin=nothing, stderr=both) as process:
        yield process


def end_in(settings: Settings, ways: list[str]) -> None:
    """Run a process for each way to end, all at the same time, until all of them have ended."""
    with running(settings, "ending_processes", *ways) as process:
        output, _ = process.communicate(timeout=PATIENCE)
        print(output)


def ends(calls: Calls) -> dict[str, End]:
    """Return by service how its process ended, and its open call."""
    processes = {one["_id"]: one["state"] for one in calls.database[PROCESSES].find()}
    return {
        call["service"]: (processes[call["process_nonce"]], call["status"], call.get("ended_by"))
        for call in calls.find({"model": OPEN})
    }


def assert_nothing_is_missing(calls: Calls, services: set[str]) -> None:
    """Assert that each process's calls are there, each once."""
    done = Counter(call["service"] for call in calls.find({"model": DONE, "status": "SUCCESS"}))
    assert done == dict.fromkeys(services, COUNT)
    assert calls.count_documents({"model": OPEN}) == len(services)


def test_every_end(recording: Recording, calls: Calls) -> None:
    """Where anything runs at all it delivers and says goodbye; the rest is found by the next."""
    settings = recording()
    ways = {way for way in WAYS if LONG or way not in MORE}
    end_in(settings, sorted(ways - VANISHED))
    expected = dict.fromkeys(ways - VANISHED, EXITED) | {"lifespan": SHUT_DOWN}
    found = ends(calls)
    assert found.pop("pool terminated") in TERMINATED  # by its parent, which ended later
    del expected["pool terminated"]
    assert found == expected
    assert list(settings.spool_dir.glob("*/*")) == []

    end_in(settings, sorted(VANISHED))
    assert llm_audit.recover(PATIENCE)
    found = ends(calls)
    assert {way: found[way] for way in VANISHED} == dict.fromkeys(VANISHED, LOST)
    assert_nothing_is_missing(calls, ways)


def test_every_end_with_an_agent(recording: Recording, calls: Calls) -> None:
    """What an ended process left has the true cause, though it waited for nobody at its end."""
    settings = recording(shipper="agent")
    ways = {way for way in WAYS if LONG or way not in MORE}
    with agent(settings):
        end_in(settings, sorted(ways))
        until(lambda: list((settings.spool_dir / settings.target()).glob("*-*")) == [])
    found = ends(calls)
    assert found.pop("pool terminated") in TERMINATED
    expected = {way: LOST if way in VANISHED else EXITED for way in ways - {"pool terminated"}}
    assert found == expected | {"lifespan": SHUT_DOWN}
    assert_nothing_is_missing(calls, ways)


def test_servers_deliver_when_they_are_told_to_end(
    recording: Recording, calls: Calls, tmp_path: Path
) -> None:
    """A web server's process delivers and says goodbye, though the app has no line for it."""
    settings = recording()
    servers = SERVERS | (MORE_SERVERS if LONG else {})
    with ExitStack() as stack:
        started = {}
        for name, (command, _) in servers.items():
            path = tmp_path / name.replace(" ", "-")
            address = f"unix:{path}" if command.startswith("gunicorn") else str(path)
            process = running(settings, *command.split(), address, LLM_AUDIT_SERVICE=name)
            started[name] = stack.enter_context(process), path
        for name, (process, path) in started.items():
            until(lambda path=path: answers(path), lambda name=name: f"{name} does not answer")
            process.send_signal(servers[name][1])
        for process, _ in started.values():
            print(process.communicate(timeout=PATIENCE)[0])

    assert ends(calls) == dict.fromkeys(servers, EXITED)
    assert list(settings.spool_dir.glob("*/*")) == []
    assert_nothing_is_missing(calls, set(servers))


@pytest.mark.usefixtures("recording")
async def test_a_lifespan_looks_after_the_dead_and_delivers(calls: Calls) -> None:
    """An app that says `lifespan=llm_audit.lifespan` begins with recovery and ends delivered."""
    async with llm_audit.lifespan() as state:
        assert state is None
        assert llm_audit.recover(PATIENCE)
        call_id = llm_audit.LLMLogger.start(model="m", messages=[])

    call = calls.find_one({"_id": call_id})
    assert call is not None
    assert (call["status"], call["ended_by"]) == ("INCOMPLETE", "shutdown")
