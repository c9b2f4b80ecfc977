"""Processes with short leases: some that wait with a call open, and what is known of them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from children import child
from waiting import Call, Calls, until

from llm_audit.recorder import process as process_of_ours
from llm_audit.settings import Settings

BEAT_SECONDS = 0.2
LEASE_SECONDS = 1.5
BEATS_IN_A_LEASE = round(LEASE_SECONDS / BEAT_SECONDS)

# Ends one call and leaves one open until it is told to end that too; says how it is known.
RECORD_AND_WAIT = """
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder.process import running
from patience import PATIENCE
LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
call_id = LLMLogger.start(model="m", messages=[])
assert llm_audit.flush(PATIENCE)
print(running().constants["process_nonce"], call_id)
input()
LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "late"})
assert llm_audit.flush(PATIENCE)
print("completed")
input()
"""


class Waiting:
    """A process that has recorded two calls, and keeps the second open until it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.nonce, self.call_id = process.stdout.readline().split()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop the process, and wait until it has stopped."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def complete(self) -> None:
        """Let the process end its call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("complete\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "completed\n"


@contextmanager
def waiting(settings: Settings, count: int = 1) -> Iterator[list[Waiting]]:
    """Run processes that wait, until the block is left, which kills them."""
    with ExitStack() as stack:
        started = [stack.enter_context(child(RECORD_AND_WAIT, settings)) for _ in range(count)]
        yield [Waiting(process) for process in started]


def set_short_leases(environment: pytest.MonkeyPatch) -> None:
    """Let this process and its children beat often, and expire soon."""
    environment.setenv("LLM_AUDIT_HEARTBEAT_SECONDS", str(BEAT_SECONDS))
    environment.setenv("LLM_AUDIT_LEASE_SECONDS", str(LEASE_SECONDS))
    environment.setenv("LLM_AUDIT_RECOVERY_INTERVAL_SECONDS", "0.1")


def ours() -> Any:
    """Return the recorder of this process."""
    running = process_of_ours.running()
    assert running is not None
    return running


def own_nonce() -> str:
    """Return the name of this process."""
    return str(ours().constants["process_nonce"])


def document(processes: Calls, nonce: str) -> Call:
    """Return the document of a process, if it has one."""
    return processes.find_one({"_id": nonce}) or {}


def beats(processes: Calls, nonce: str, count: int) -> None:
    """Wait until a process has beaten some more times."""
    goal = document(processes, nonce).get("beat", 0) + count
    until(lambda: document(processes, nonce).get("beat", 0) >= goal)


def own_beats(count: int) -> None:
    """Wait until this process has beaten some more times, whatever came of it."""
    life = ours().shipper.life
    for _ in range(count):
        before = life.due_at
        until(lambda before=before: life.due_at > before)


def status(calls: Calls, call_id: str) -> str:
    """Return how a call stands."""
    call = calls.find_one({"_id": call_id})
    assert call is not None
    return str(call["status"])
