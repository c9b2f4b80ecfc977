"""Calls recorded in a notebook, and what becomes of them when its kernel ends."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
from children import environment
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit.recorder import process
from llm_audit.settings import Settings
from llm_audit.settings.names import PROCESSES

pytest.importorskip("ipykernel")
manager = pytest.importorskip("jupyter_client.manager")

RECORD = f"""
%load_ext autoreload
%autoreload 2
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder.process import recorder

async with LLMLogger.log_call(model="done", messages=[]) as call_id:
    await LLMLogger.complete(call_id)
left = LLMLogger.start(model="left open", messages=[])
assert llm_audit.flush({PATIENCE})
before = recorder()
"""
RECORD_AGAIN = f"""
assert recorder() is before
LLMLogger.complete(LLMLogger.start(model="done again", messages=[]))
assert llm_audit.flush({PATIENCE})
"""
Ending = Callable[[Any], None]


@contextmanager
def kernel(settings: Settings) -> Iterator[tuple[Any, Callable[[str], None]]]:
    """Run a kernel, and give it together with what runs a cell in it."""
    run_by = manager.KernelManager(kernel_name="python3")
    run_by.start_kernel(env=environment(settings))
    client = run_by.client()
    client.start_channels()

    def run(cell: str) -> None:
        said: list[str] = []
        answer = client.execute_interactive(
            cell, timeout=PATIENCE, output_hook=lambda message: said.append(str(message["content"]))
        )
        assert answer["content"]["status"] == "ok", said

    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield run_by, run
    finally:
        client.stop_channels()
        run_by.shutdown_kernel(now=True)
        run_by.cleanup_resources()


def told_to_end(run_by: Any) -> None:
    """Send the kernel SIGTERM, and wait until it has ended."""
    run_by.signal_kernel(signal.SIGTERM)
    until(lambda: not run_by.is_alive())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (methodcaller("shutdown_kernel"), ("ended", "INCOMPLETE", "process_exit")),
        (methodcaller("restart_kernel"), ("ended", "INCOMPLETE", "process_exit")),
        (told_to_end, ("recovered", "ABANDONED", "worker_lost")),
    ],
    ids=["shutdown", "restart", "SIGTERM"],
)
def test_a_kernel_that_ends(
    recording: Recording, calls: Calls, end: Ending, expected: tuple[str, str, str]
) -> None:
    """Cells may await, a changed module of ours is run again, and the end has its cause."""
    with kernel(recording()) as (run_by, run):
        run(RECORD)
        Path(process.__file__).touch()  # for `%autoreload`
        run(RECORD_AGAIN)
        end(run_by)
        assert llm_audit.recover(PATIENCE)

    done = calls.find({"status": "SUCCESS"})
    assert sorted(call["model"] for call in done) == ["done", "done again"]
    left, document = calls.find_one({"model": "left open"}), calls.database[PROCESSES].find_one()
    assert left is not None
    assert document is not None
    assert (document["state"], left["status"], left["ended_by"]) == expected
