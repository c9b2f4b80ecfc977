"""Forks: what a process has for itself, a child of it begins anew, whether or not Python knows.

`os.fork` runs Python's hooks. A fork in C, as uWSGI's is, runs none: the child finds out when it
first touches anything. Asking for the pid would take a system call each time, so a page of memory
tells, which the kernel empties in every child.
"""

import mmap
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import _bootstrap
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from llm_audit.runtime.kept import kept

Action = TypeVar("Action", bound=Callable[[], object])

_IMPORTED_BY_THREADS = {"bson", "genai_prices", "gridfs", "llm_audit", "pymongo"}  # some of it late
_WIPE_ON_FORK = 18  # MADV_WIPEONFORK, since Linux 4.14; Python has no name for it


class _Pid:
    """Does where there is no such page what the page does: its byte is 0 in a child."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, _: int) -> int:
        return int(os.getpid() == self._pid)

    def __setitem__(self, _: int, value: int) -> None:
        self._pid = os.getpid() if value else 0


def _page() -> Any:
    page: Any = _Pid()
    with suppress(OSError, ValueError, AttributeError):
        memory = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(_WIPE_ON_FORK)
        page = memory
    page[0] = 1
    return page


@kept
class Here:
    """The one place that names this process.

    Attributes:
        process: Stands for this process, and for none of its children.
        page: Its first byte is 1 where everything is this process's own.
        actions: What a child begins anew, by name.
        beginning: A lock by pid: one of the parent's may be held for ever.
        locks: All that there are of `OwnLock`.
    """

    process = object()
    page = _page()
    actions: ClassVar[dict[str, Callable[[], object]]] = {}
    beginning: ClassVar[dict[int, Any]] = {}
    locks: ClassVar[list["OwnLock"]] = []


def begin_anew(action: Action) -> Action:
    """Have something done in every forked child, before it does anything of ours.

    Args:
        action: Makes what a process has for itself; does no harm if it is done twice. Of two of a
            name in one module the later takes the place of the first.

    Returns:
        The action itself, so that this serves as a decorator.
    """
    Here.actions[f"{action.__module__}.{action.__qualname__}"] = action
    return action


def notice() -> None:
    """Find out whether this is a child that nobody has told; if so, begin anew.

    Everything calls this that touches what a process has for itself. It takes less than a tenth of
    a microsecond.
    """
    if not Here.page[0]:
        _begin()


def _begin() -> None:
    with Here.beginning.setdefault(os.getpid(), threading.RLock()):
        if Here.page[0]:
            return  # another thread has done it
        Here.process = object()
        for action in tuple(Here.actions.values()):
            action()
            if Here.page[0]:
                return  # a signal handler has done the rest
        Here.page[0] = 1


class OwnLock:
    """A re-entrant lock for what a process has for itself: a signal handler may record, too.

    It is made when somebody wants it: in a child anew, because a thread that the child does not
    have may hold the old one; and of what `threading` has by then, which may have been patched.
    """

    def __init__(self) -> None:
        self._made: dict[object, Any] = {}  # by process
        Here.locks.append(self)

    def acquire(self) -> None:
        """Take it, or wait for who has it."""
        notice()
        made, here = self._made, Here.process
        (made.get(here) or made.setdefault(here, threading.RLock())).acquire()

    def release(self) -> None:
        """Let others take it."""
        self._made[Here.process].release()

    def _is_owned(self) -> bool:
        """Tell whether this thread holds it, as `threading`'s own do."""
        made = self._made.get(Here.process)
        return made is not None and made._is_owned()  # noqa: SLF001

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


@begin_anew
def _import_anew() -> None:
    """Let go of what a thread was importing that this child does not have.

    Only of what our own threads import: whoever asks for it would wait for that thread for ever.
    """
    known: dict[str, Any] = getattr(_bootstrap, "_module_locks", {})
    locks = {name: reference() for name, reference in tuple(known.items())}
    gone = {
        lock.owner
        for name, lock in locks.items()
        if lock is not None and name.partition(".")[0] in _IMPORTED_BY_THREADS
    } - {None, threading.get_ident()}
    for name, lock in locks.items():
        if lock is not None and lock.owner in gone:
            known.pop(name, None)
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if getattr(spec, "_initializing", False):
                del sys.modules[name]


os.register_at_fork(after_in_child=notice)
