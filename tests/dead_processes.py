"""Processes that are killed while MongoDB is away, and what is known of them afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from children import child
from waiting import PATIENCE, Call, Calls, until

import llm_audit
from llm_audit import embedded
from llm_audit.diagnosis.results import ProcessReport
from llm_audit.recorder import process
from llm_audit.recorder.shipping.shipment import Shipment
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES

# Each says which calls it has recorded, and is killed by itself in the midst of it.
SCRIPT = """
import logging, os, signal, resource
import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal import writer
from llm_audit.journal.segments import written

logging.disable()  # that MongoDB is not available, and that there is no room, is known

def record(count, model="m"):
    for _ in range(count):
        print(LLMLogger.start(model=model, messages=[{"role": "user", "content": "x" * 300}]))

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""
# Ships a dead process's journal and is killed after the first two batches.
RECOVER_AND_DIE = """
import os, signal
import llm_audit
from llm_audit.store.delivery.delivery import Delivery

sent = []
send = Delivery.send
def die_at_the_third(self, *given):
    sent.append(given)
    if len(sent) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    send(self, *given)
Delivery.send = die_at_the_third
llm_audit.configure(batch_size=2)
llm_audit.recover()
signal.pause()
"""


def killed_during_an_outage(script: str, settings: Settings, server: embedded.Mongod) -> list[str]:
    """Run a script that MongoDB never hears of; return the calls that it has recorded."""
    return ended_during_an_outage(script, settings, server, returncode=-9)


def ended_during_an_outage(
    script: str, settings: Settings, server: embedded.Mongod, *, returncode: int
) -> list[str]:
    """Run a script that MongoDB never hears of to its end; return the lines that it printed."""
    server.kill()
    with child(script, settings) as ending:
        output, errors = ending.communicate()
    assert (ending.returncode, errors) == (returncode, "")
    server.restart()
    return output.splitlines()


def recovered(calls: Calls) -> tuple[Call, ProcessReport]:
    """Ship what was left; return the document of the dead, and what the doctor says of it."""
    llm_audit.recover()
    processes = calls.database[PROCESSES]
    until(lambda: processes.count_documents({"state": "recovered"}))
    assert llm_audit.flush(PATIENCE)
    (document,) = processes.find({"state": "recovered"})
    (report,) = [one for one in llm_audit.doctor().processes if one.state == "recovered"]
    return document, report


def counts(entries: list[dict[str, Any]], what: str) -> dict[str, int]:
    return {entry["reason"]: entry["count"] for entry in entries if entry["what"] == what}


@contextmanager
def nothing_sent() -> Iterator[None]:
    """Let the journal wait, so that what is recorded meanwhile goes in one batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shipment, "step", lambda *_, **__: False)
        patch.setattr(Shipment, "empty", property(lambda _: False))
        yield


@contextmanager
def left_behind() -> Iterator[str]:
    """Leave what is recorded meanwhile in a journal, as a process does that ends during an outage.

    Yields:
        The name of the process that is left behind.
    """
    with nothing_sent():
        recorder = process.recorder()
        yield recorder.constants["process_nonce"]
        llm_audit.shutdown(0)
        recorder.shipper._thread.join(PATIENCE)
