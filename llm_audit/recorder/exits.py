"""The end of this process, heard of also where Python's exit handlers do not run.

A forked child of multiprocessing runs the finalizers that multiprocessing knows, then `os._exit`.
uvicorn, once it has shut down, raises the signal that told it to: by default that ends the process
on the spot.
"""

import atexit
import functools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

from llm_audit.runtime.forks import begin_anew
from llm_audit.runtime.kept import kept

_FAMILIES = ("multiprocessing", "billiard")
_LAST = -99  # of the finalizers; at -100 multiprocessing removes its temporary folder


@kept
class _Exits:
    """What is done at the end, and whether this process's finalizers know of it."""

    steps: ClassVar[dict[str, Callable[[], object]]] = {}
    among_finalizers = False


def at_end(name: str, step: Callable[[], object]) -> None:
    """Have something done when the process ends, before what was registered earlier.

    Args:
        name: What it is; of two of a name the later takes the place of the first.
        step: Does it.
    """
    _Exits.steps[name] = step


def listen() -> None:
    """Hear of this process's end by whatever is loaded that ends it in a way of its own."""
    if not _Exits.among_finalizers:
        _Exits.among_finalizers = _join_finalizers()
    _join_uvicorn()


def _join_finalizers() -> bool:
    """Be the last finalizer of a child of multiprocessing; others run exit handlers."""
    for family in _FAMILIES:
        process, util = (sys.modules.get(f"{family}.{name}") for name in ("process", "util"))
        if process and util and getattr(process.current_process(), "_parent_pid", None):
            util.Finalize(None, _end, exitpriority=_LAST)
            return True
    return False


def _join_uvicorn() -> None:
    """Let uvicorn, when it has shut down, deliver before it raises the signal that told it to."""
    server = getattr(sys.modules.get("uvicorn.server"), "Server", None)
    shutdown = getattr(server, "shutdown", None)
    if shutdown is None or getattr(shutdown, "__wrapped__", None) is not None:
        return

    @functools.wraps(shutdown)
    async def shut_down(self: Any, *args: Any, **kwargs: Any) -> None:
        await shutdown(self, *args, **kwargs)
        if getattr(self, "_captured_signals", None):
            _end()

    server.shutdown = shut_down  # type: ignore[union-attr]


def _end() -> None:
    with ExitStack() as stack:  # the latest first, and each whatever becomes of the others
        for step in _Exits.steps.values():
            stack.callback(step)


@begin_anew
def _begin_anew() -> None:
    _Exits.among_finalizers = False


atexit.register(_end)
