"""Processes that are forked from a warm Python are like those of `subprocess`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import warm

SCRIPTS = (
    "import os, sys; print(sys.argv, input(), os.environ['SAID'], __name__, sys.path[0])",
    "import os; print(os.getcwd(), os.getppid(), os.getsid(0) == os.getpid())",
    "def f():\n  1 / 0\nf()",
    "import sys; sys.exit('a word')",
    "raise SystemExit(3)",
    "def x(:",
    "import warnings; warnings.warn('an error here')",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    (
        "import atexit, threading\natexit.register(print, 'over')\n"
        "threading.Timer(0, print, ['thread']).start()"
    ),
    "class Held:\n  def __del__(self): print('gone')\nheld = Held()",
    "import os; print(sorted(os.listdir('/proc/self/fd')))",
    (
        "import multiprocessing as m\np = m.get_context('spawn').Process(target=print, args=(1,))\n"
        "p.start(); p.join()"
    ),
)


def ended(start: Callable[..., Any], script: str, folder: Path) -> tuple[str, str, int]:
    """Return what a script says in its two streams, and its exit code."""
    pipe = subprocess.PIPE
    with start(
        [sys.executable, "-W", "error", "-u", "-c", script, "an argument"],
        env={**os.environ, "PYTHONPATH": str(folder), "SAID": "é"},
        cwd=folder,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    ) as process:
        return (*process.communicate("a line\n"), process.returncode)


def test_a_process_is_the_same_to_whoever_started_it(tmp_path: Path) -> None:
    """Arguments, streams, environment, folder, session, parent, errors and ends."""
    for script in SCRIPTS:
        forked = ended(lambda *a, **k: warm.start(*a, modules=(), **k), script, tmp_path)
        assert forked == ended(subprocess.Popen, script, tmp_path), script
    assert warm._servers or sys.platform != "linux"
