"""A process that is frozen between its requests, as AWS Lambda and Cloud Run do it."""

import os
import signal
import subprocess

import pytest
from children import child
from short_leases import document, set_short_leases
from waiting import Calls, Recording, until

import llm_audit
from llm_audit import embedded
from llm_audit.settings.names import PROCESSES

# Records a call in each request, and delivers it at the end of one that says so.
SERVE = """
import sys
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder.process import running
from patience import PATIENCE
for request in sys.stdin:
    LLMLogger.complete(LLMLogger.start(model=request.strip(), messages=[]))
    if request.startswith("flushed"):
        assert llm_audit.flush(PATIENCE)
    print(running().constants["process_nonce"])
"""


class Sandbox:
    """A process that runs only while it answers a request."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def ask(self, request: str) -> str:
        """Let it answer one request; return the nonce that it records under."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        nonce = self.process.stdout.readline().strip()
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        return nonce


def test_a_sandbox_that_is_frozen_between_requests(
    monkeypatch: pytest.MonkeyPatch, recording: Recording, server: embedded.Mongod, calls: Calls
) -> None:
    """What was flushed is there before it freezes, the rest later; a lease that is over ends none.

    While it is frozen its connections go, and the other processes take it for lost.
    """
    set_short_leases(monkeypatch)
    settings = recording(mongo_url=server.url, database=calls.database.name)
    processes = calls.database[PROCESSES]
    with child(SERVE, settings) as process:
        sandbox = Sandbox(process)
        nonce = sandbox.ask("flushed")
        assert [call["status"] for call in calls.find()] == ["SUCCESS"]
        server.kill()
        server.restart()
        llm_audit.recover()
        until(lambda: document(processes, nonce)["state"] == "lost")

        assert sandbox.ask("not flushed") == nonce
        assert sandbox.ask("flushed again") == nonce
        process.kill()
        process.wait()
    until(lambda: document(processes, nonce)["state"] == "recovered")
    assert {call["model"]: call["status"] for call in calls.find()} == {
        "flushed": "SUCCESS",
        "not flushed": "SUCCESS",
        "flushed again": "SUCCESS",
    }
