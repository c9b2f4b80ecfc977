"""This process's recorder: made at the first call, anew in a forked child, flushed at the end."""

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from llm_audit.journal import spool
from llm_audit.recorder.open_calls import OpenCalls
from llm_audit.recorder.recorder import Recorder
from llm_audit.recorder.shipper import FlushResult
from llm_audit.settings import Settings, get_settings

LEFT_BEHIND_POLL_SECONDS = 0.1


class _Home:
    """The one place where this process's recorder lives."""

    recorder: Recorder | None = None
    open_calls = OpenCalls()
    left_behind: ClassVar[dict[Path, int]] = {}  # how much earlier recorders could not deliver
    lock = threading.RLock()
    # Kept, never used: the garbage collector must not close what belongs to the parent.
    inherited: Recorder | None = None
    stopping: ClassVar[list[threading.Thread]] = []


def recorder(settings: Settings | None = None) -> Recorder:
    """Return this process's recorder for the settings in force, made if there is none.

    Args:
        settings: Those in force, from whoever has just read them.

    Raises:
        ConfigurationError: In strict mode, if the spool cannot be written.
    """
    current = _Home.recorder
    if current is not None and current.settings is (settings or get_settings()):
        return current
    with _Home.lock:
        settings = get_settings()
        current = _Home.recorder
        if current is None or current.settings is not settings:
            outdated, current = current, Recorder(settings, _Home.open_calls, recorder)
            _Home.recorder = current
            if outdated is not None:
                _stop_aside(outdated)
        return current


def open_calls() -> OpenCalls:
    """Return the calls of this process, under whatever settings they were started."""
    return _Home.open_calls


def running() -> Recorder | None:
    """Return this process's recorder, if it has recorded anything."""
    return _Home.recorder


def recover(timeout_seconds: float) -> bool:
    """Have what dead processes left here finished; return whether it was within the time."""
    began = time.monotonic()
    shipper = recorder().shipper
    shipper.wake()
    while not shipper.dead_left_nothing(began):
        if time.monotonic() - began >= timeout_seconds:
            return False
        time.sleep(LEFT_BEHIND_POLL_SECONDS)
    return True


def flush(timeout_seconds: float, call_id: str | None = None) -> FlushResult:
    """Wait until MongoDB has acknowledged what this process recorded, under whatever settings.

    Args:
        timeout_seconds: How long at the most.
        call_id: Only this call and what was recorded with it matter.
    """
    deadline = time.monotonic() + timeout_seconds
    current = _Home.recorder
    result = current.shipper.flush(timeout_seconds) if current else FlushResult(0)
    # ids are in the order of time
    if call_id and current and current.first_call_id and call_id >= current.first_call_id:
        return result
    return _with_left_behind(result, deadline)


def stop(timeout_seconds: float | None = None) -> FlushResult:
    """Flush and stop this process's recorder; the next call makes a new one."""
    if timeout_seconds is None:
        timeout_seconds = get_settings().exit_timeout_seconds
    deadline = time.monotonic() + timeout_seconds
    _with_left_behind(FlushResult(0), deadline)  # as long as there is somebody to ship it
    with _Home.lock:
        current, _Home.recorder = _Home.recorder, None
    left = max(0.0, deadline - time.monotonic())
    result = _stop(current, left) if current else FlushResult(0)
    if current and current.path in _Home.left_behind:
        result = FlushResult(0, result.reason)  # counted there
    return _with_left_behind(result, deadline)


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Forget for the length of the block what earlier recorders could not deliver."""
    before, _Home.left_behind = _Home.left_behind, {}
    try:
        yield
    finally:
        _Home.left_behind = before


def _with_left_behind(result: FlushResult, deadline: float) -> FlushResult:
    """Add what earlier recorders of this process have left in journals that nobody shipped yet."""
    for thread in tuple(_Home.stopping):
        thread.join(max(0.0, deadline - time.monotonic()))
    _Home.stopping[:] = [thread for thread in _Home.stopping if thread.is_alive()]
    current = _Home.recorder
    while _Home.left_behind:
        for folder in tuple(_Home.left_behind):
            if not os.path.exists(folder):  # noqa: PTH110
                _Home.left_behind.pop(folder, None)
        ours = current and any(
            current.path.parent == folder.parent for folder in tuple(_Home.left_behind)
        )
        if current is None or not ours or time.monotonic() > deadline:
            break
        current.shipper.wake()  # it ships them like those of any dead process
        time.sleep(LEFT_BEHIND_POLL_SECONDS)
    if not _Home.left_behind:
        return result
    left = sum(tuple(_Home.left_behind.values()))
    reason = result.reason or f"the journal in {next(iter(_Home.left_behind))} waits"
    return FlushResult(result.unacknowledged_operations + left, reason)


def _stop(stopped: Recorder, timeout_seconds: float) -> FlushResult:
    result = stopped.stop(timeout_seconds)
    if not result and os.path.exists(stopped.path):  # noqa: PTH110  (it may be out of our reach)
        _Home.left_behind[stopped.path] = result.unacknowledged_operations
    return result


def _stop_aside(stopped: Recorder) -> None:
    """Stop a recorder whose settings are no longer in force, without making the caller wait."""
    thread = threading.Thread(
        target=_stop,
        args=(
            stopped,
            stopped.settings.exit_timeout_seconds,
        ),
        name="llm-audit-stop",
        daemon=True,
    )
    _Home.stopping.append(thread)
    thread.start()


def _after_fork_in_child() -> None:
    _Home.open_calls.clear()
    spool.forget_held()
    _Home.lock = threading.RLock()
    _Home.stopping.clear()
    _Home.left_behind.clear()
    current, _Home.recorder = _Home.recorder, None
    if current is not None:
        _Home.inherited = current
        current.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(stop)
