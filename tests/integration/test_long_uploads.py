"""Media on their way for longer than a lease: the process shows that it lives all the while."""

import os
import threading
from typing import Any

import pytest
from short_leases import (
    LEASE_SECONDS,
    beats,
    document,
    own_nonce,
    set_short_leases,
    status,
    waiting,
)
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.settings.names import PROCESSES
from llm_audit.store import gridfs


def test_a_slow_upload_does_not_cost_the_lease(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the media of one batch the process beats, and nobody closes its open calls."""
    set_short_leases(monkeypatch)
    settings = recording()
    processes = calls.database[PROCESSES]
    running = LLMLogger.start(model="m", messages=[])
    until(lambda: document(processes, own_nonce()))
    seen: list[int] = []
    write_chunks = gridfs._write_chunks
    slowness = threading.Event()  # never set

    def slow(*given: Any) -> Any:
        slowness.wait(LEASE_SECONDS / 3)
        seen.append(document(processes, own_nonce())["beat"])
        return write_chunks(*given)

    monkeypatch.setattr(gridfs, "_write_chunks", slow)
    with waiting(settings) as (other,):
        beats(processes, other.nonce, 1)
        media = [{"role": "user", "content": os.urandom(300_000)} for _ in range(8)]
        LLMLogger.start(model="m", messages=media)
        assert llm_audit.flush(2 * PATIENCE)
        beats(processes, other.nonce, 1)

    assert len(seen) == 8
    assert seen == sorted(set(seen))  # it has beaten before each
    assert status(calls, running) == "PENDING"
    assert document(processes, own_nonce())["state"] == "alive"
