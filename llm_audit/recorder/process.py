"""This process's recorder: made at the first call, anew in a forked child, flushed at the end."""

import os
import threading

from llm_audit.journal import spool
from llm_audit.kept import kept
from llm_audit.recorder import exits
from llm_audit.recorder.open_calls import OpenCalls
from llm_audit.recorder.recorder import Recorder
from llm_audit.recorder.shipper import FlushResult
from llm_audit.settings import freeze, thaw


@kept
class _Home:
    """The one place where this process's recorder lives."""

    recorder: Recorder | None = None
    open_calls = OpenCalls()
    lock = threading.RLock()
    stopped: Recorder | None = None  # the one before this: what became of its calls may be asked
    last_stop = FlushResult(0)  # what that one could not deliver
    # Kept, never used: the garbage collector must not close what belongs to the parent.
    inherited: Recorder | None = None


def recorder() -> Recorder:
    """Return this process's recorder, made if there is none; from then on the settings are kept.

    Raises:
        ConfigurationError: In strict mode, if the spool cannot be written.
    """
    current = _Home.recorder
    if current is not None:
        return current
    with _Home.lock:
        if _Home.recorder is None:
            try:
                made = Recorder(freeze(), _Home.open_calls, recorder)
            except BaseException:
                if _Home.recorder is None:
                    thaw()
                raise
            if _Home.recorder is None:
                _Home.recorder = made
                exits.listen()
            else:  # a signal handler has recorded meanwhile
                made.stop(0)
        return _Home.recorder


def open_calls() -> OpenCalls:
    """Return the calls of this process that are open."""
    return _Home.open_calls


def running() -> Recorder | None:
    """Return this process's recorder, if it has recorded anything."""
    return _Home.recorder


def last() -> Recorder | None:
    """Return this process's recorder, or the last one if it was stopped."""
    return _Home.recorder or _Home.stopped


def recover(timeout_seconds: float) -> bool:
    """Have what dead processes left here finished; return whether it was within the time."""
    return recorder().shipper.recover(timeout_seconds)


def flush(timeout_seconds: float, call_id: str | None = None) -> FlushResult:
    """Wait until MongoDB has acknowledged what was recorded since the last stop.

    Args:
        timeout_seconds: How long at the most.
        call_id: Only this call and what was recorded with it matter.

    Returns:
        What is missing; where nothing was recorded since, what the last stop said.
    """
    current = _Home.recorder
    if current is None:
        return _Home.last_stop
    result = current.shipper.flush(timeout_seconds)
    is_older = call_id and call_id < (current.first_call_id or "~")  # ids are in the order of time
    return _Home.last_stop if result and is_older else result


def stop(timeout_seconds: float | None = None) -> FlushResult:
    """Flush and stop this process's recorder; the next call makes a new one."""
    with _Home.lock:
        current, _Home.recorder = _Home.recorder, None
        thaw()
    if current is not None:
        if timeout_seconds is None:
            timeout_seconds = current.settings.exit_timeout_seconds
        _Home.stopped, _Home.last_stop = current, current.stop(timeout_seconds)
    return _Home.last_stop


def _after_fork_in_child() -> None:
    _Home.open_calls.clear()
    spool.forget_held()
    _Home.lock = threading.RLock()
    _Home.stopped, _Home.last_stop = None, FlushResult(0)
    current, _Home.recorder = _Home.recorder, None
    if current is not None:
        _Home.inherited = current
        current.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
exits.at_end("stop", stop)
