"""While MongoDB takes nothing: how often it is asked, and how often that is said."""

import logging
from typing import Any

import pytest
from children import child
from pymongo.errors import OperationFailure
from waiting import PATIENCE, Recording, until

import llm_audit
from llm_audit import LLMLogger, UnavailableError
from llm_audit.recorder.closing import Closing
from llm_audit.store.answers.codes import AUTHENTICATION_FAILED
from llm_audit.store.connection import Connection

RECORD_AND_DIE = """
import os, signal
from llm_audit import LLMLogger
LLMLogger.start(model="m", messages=[])
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_who_waits_does_not_defeat_the_backoff(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often calls are awaited, a MongoDB that refuses at once is asked now and then."""
    attempts: list[Connection] = []

    def refuse(self: Connection) -> None:
        attempts.append(self)
        raise OperationFailure("Authentication failed.", AUTHENTICATION_FAILED)

    monkeypatch.setattr(Connection, "calls", refuse)
    monkeypatch.setattr(Connection, "processes", refuse)
    recording(durability="acknowledged", acknowledged_timeout_seconds=0.02)
    LLMLogger.start(model="m", messages=[])
    until(lambda: attempts)
    for _ in range(100):
        await LLMLogger.start(model="m", messages=[])

    assert len(attempts) < 100 / 3


def test_a_dead_process_s_journal_alone_is_no_outage(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where only that cannot be shipped, it is said once, and not that MongoDB came and went."""
    settings = recording(recovery_interval_seconds=0.1)
    with child(RECORD_AND_DIE, settings) as process:
        process.communicate()
    tries: list[Any] = []

    def refuse(*given: Any, **_: Any) -> None:
        tries.append(given)
        raise UnavailableError("OperationFailure, code 13")

    monkeypatch.setattr(Closing, "abandon", refuse)
    with caplog.at_level(logging.DEBUG, logger="llm_audit"):
        for times in range(1, 5):
            LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
            assert llm_audit.flush(PATIENCE)
            until(lambda times=times: len(tries) >= times)

    lines = [record.getMessage() for record in caplog.records if record.name == "llm_audit"]
    assert len(lines) == 1, lines
    assert "dead process" in lines[0]
