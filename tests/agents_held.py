"""An agent's lock, held by another process: as one that runs, whatever it does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_audit.journal.spool.agents import lock_name
from llm_audit.journal.spool.owners import this_process

HOLD = (
    "import fcntl, sys\n"
    "file = open(sys.argv[1], 'r+')\n"
    "fcntl.lockf(file, fcntl.LOCK_EX)\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Have another process hold a lock."""
    command = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
        holder.communicate()


@contextmanager
def agent_of_another_process(target_folder: Path) -> Iterator[dict[str, Any]]:
    """Have a target's agent be there, and give what it says of itself."""
    place = target_folder / "agent"
    for folder in (target_folder.parent, target_folder, place):
        folder.mkdir(mode=0o700, exist_ok=True)
    lock = place / lock_name()
    os.close(os.open(lock, os.O_CREAT | os.O_WRONLY, 0o600))
    its = this_process("agent", "host, database a, collection b", {"version": "1.2\n"})
    lock.write_text(json.dumps(its))
    with held(lock):
        yield its
