"""Agents in processes of their own, and the processes whose journals they ship."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
from faults.harmed import process_folders
from faults.promises import Child, child
from faults.recording import ship
from waiting import Calls, until

from llm_audit.settings import Settings

WRITERS = 8
PAUSE_SECONDS = 0.01  # after each call of a writer: the rest of the machine has to keep up


@contextmanager
def agent(settings: Settings, **work: Any) -> Iterator[Child]:
    """Run an agent until the block is left, which kills it if it still lives."""
    with child(settings, target=ship, **work) as running:
        yield running


@contextmanager
def writers(settings: Settings, count: int = WRITERS, **work: Any) -> Iterator[list[Child]]:
    """Run processes that record until the block is left, which kills those that still live."""
    with ExitStack() as stack:
        usual = {"pause_seconds": PAUSE_SECONDS}
        yield [stack.enter_context(child(settings, **usual | work)) for _ in range(count)]


def stop(process: Child) -> None:
    """Let an agent end in peace, and see that it has."""
    process.stop()
    assert process.exit_code == 0, process.log


@contextmanager
def frozen(process: Child) -> Iterator[None]:
    """Freeze a process for the length of the block."""
    os.kill(process.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def wait_for_more(calls: Calls, count: int) -> None:
    """Wait until so many more calls are in MongoDB than now."""
    goal = calls.estimated_document_count() + count
    until(lambda: calls.estimated_document_count() >= goal)


def settle_by_agent(settings: Settings) -> Child:
    """Let an agent finish what is left of everybody, until the spool is empty, and end."""
    with agent(settings) as last:
        wait_until_empty(settings)
        stop(last)
    return last


def wait_until_empty(settings: Settings) -> None:
    """Wait until no process has a folder in the spool, under either way to ship."""
    targets = [settings.spool_dir / settings.target(way) for way in ("agent", "thread")]

    def left() -> list[str]:
        there = [target for target in targets if target.exists()]
        return [str(folder) for target in there for folder in process_folders(target)]

    until(lambda: not left(), instead=lambda: f"the agent has left {left()}")
