"""Agents and the journals that wait for them, made by hand as they are in a spool."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from made_up_records import journal_of, packed

from llm_audit.journal.spool.agent_state import AgentState, Figures, write_state
from llm_audit.journal.spool.agents import lock_name
from llm_audit.journal.spool.folder import AGENT_FOLDER, Held, ProcessFolder
from llm_audit.journal.spool.owners import this_process
from llm_audit.journal.spool.progress import Progress, write_progress
from llm_audit.runtime import trusted
from llm_audit.settings import Settings

TO = "127.0.0.1:1, database llm_audit, collection llm_calls"


def target_of(settings: Settings) -> Path:
    """Return the folder for what an agent ships where these settings say."""
    return settings.spool_dir / settings.target("agent")


@contextmanager
def recording_for_agent(
    settings: Settings, *, count: int = 3, age_seconds: float = 0.0, **said: str
) -> Iterator[ProcessFolder]:
    """Have a process that lives and leaves what it has recorded to an agent; then it dies."""
    path = target_of(settings) / str(uuid4())
    said = {"shipper": "agent", **said}
    folder = ProcessFolder(path, target_name=settings.target_name("agent"), said=said)
    folder.ensure()
    journal_of(path, [packed(number, "x" * 100) for number in range(count)]).close()
    for segment in path.glob("*.bson"):
        began = segment.stat().st_mtime - age_seconds
        os.utime(segment, (began, began))
    try:
        yield folder
    finally:
        folder.release()


def shipped(folder: ProcessFolder, through: int) -> None:
    """Say that an agent has shipped so far."""
    write_progress(folder.path, Progress(through=through, read=through))


def agent_left(settings: Settings, to: str = TO, *, age_seconds: float = 0.0, **state: Any) -> Path:
    """Leave what an agent leaves that has ended; return its lock file."""
    target = target_of(settings)
    with trusted.folder(target / AGENT_FOLDER, make=True):
        lock = target / AGENT_FOLDER / lock_name()
    lock.write_text(json.dumps(this_process("agent", to, {"version": "1.0"})))
    lock.chmod(0o600)
    at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    services = {"web": Figures(recorded=9, shipped=7, backlog_bytes=2_000, oldest_seconds=1.5)}
    said = {"processes": 2, "started_at": at - timedelta(hours=1), "services": services} | state
    write_state(target, AgentState(at=at, **said))
    os.utime(lock, (at.timestamp(), at.timestamp()))
    return lock


@contextmanager
def agent_at(settings: Settings, to: str = TO, **state: Any) -> Iterator[Path]:
    """Have an agent that runs, in this process, and says this of itself."""
    lock = agent_left(settings, to, **state)
    target = str(target_of(settings))
    Held.agents[target] = this_process("agent", to, {"version": "1.0"})
    with ExitStack() as stack:
        stack.callback(Held.agents.pop, target)
        yield lock
