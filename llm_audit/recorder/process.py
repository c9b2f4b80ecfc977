"""This process's recorder: made at the first call, anew in a forked child, flushed at the end."""

import sys
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from llm_audit.errors import say_held, saying_after
from llm_audit.recorder import exits
from llm_audit.recorder.captured import Captured, Counts
from llm_audit.recorder.open_calls import OpenCall, OpenCalls
from llm_audit.recorder.recorder import Recorder
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.runtime import clock
from llm_audit.runtime.forks import Here, OwnLock, begin_anew, notice
from llm_audit.runtime.interruption import free
from llm_audit.runtime.kept import kept
from llm_audit.settings import Settings, freeze, get_settings, thaw

_HOLDERS = ("llm_audit.recorder.", "llm_audit.journal.")  # whose functions take locks


@kept
class _Home:
    """The one place where this process's recorder lives."""

    recorder: Recorder | None = None
    open_calls: OpenCalls | None = None
    lock = OwnLock()
    stopped: Recorder | None = None  # the one before this: what became of its calls may be asked
    last_stop = FlushResult(0)  # what that one could not deliver
    # Kept, never used: the garbage collector must not close what belongs to the parent.
    inherited: ClassVar[list[Recorder]] = []
    # by target: for calls that began before a `shutdown()` after which recording goes elsewhere
    elsewhere: ClassVar[dict[str, Recorder]] = {}


def recorder() -> Recorder:
    """Return this process's recorder, made if there is none; from then on the settings are kept.

    Raises:
        ConfigurationError: In strict mode, if the spool cannot be written.
    """
    notice()
    current = _Home.recorder
    if current is not None:
        return current
    with saying_after(), _Home.lock:
        if _Home.recorder is None:
            try:
                made = Recorder(freeze(), open_calls(), recorder_for)
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


def recorder_of(call: OpenCall | None) -> Recorder:
    """Return who records what is said of a call: where its start is, there its end goes.

    Args:
        call: None where it is not known here: then its start is taken to be where we record.
    """
    current = running()
    if call is None or call.origin is None or (current and call.origin is current.origin):
        return current or recorder()
    return recorder_for(call.origin.settings)


def recorder_for(settings: Settings | None) -> Recorder:
    """Return who records where these settings say: this process's recorder, or one for there.

    Args:
        settings: None for wherever this process records now.
    """
    current = running()
    here = current.settings if current else get_settings()
    if settings is None or settings.target() == here.target():
        return recorder()
    with saying_after(), _Home.lock:
        target = settings.target()
        if target not in _Home.elsewhere:
            _Home.elsewhere[target] = Recorder(settings, open_calls(), recorder_for)
        return _Home.elsewhere[target]


def open_calls() -> OpenCalls:
    """Return the calls of this process that are open."""
    notice()
    if _Home.open_calls is None:
        with _Home.lock:
            if _Home.open_calls is None:
                _Home.open_calls = OpenCalls()
    return _Home.open_calls


def let_go() -> None:
    """Hold nothing any more, after an exception from outside has cut recording short here.

    A signal may strike inside a lock that is written in Python, as ours are, and those of patched
    threads; and a debugger anywhere.
    """
    frame = sys._getframe().f_back  # noqa: SLF001  (only where something has struck)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_HOLDERS):
            return  # a signal handler has come in between: what is held is somebody's
        frame = frame.f_back
    free(*Here.locks)
    open_calls().let_go()
    say_held()
    for each in (_Home.recorder, *_Home.elsewhere.values()):
        if each is not None:
            each.journal.let_go()


def running() -> Recorder | None:
    """Return this process's recorder, if it has recorded anything."""
    notice()
    return _Home.recorder


def last() -> Recorder | None:
    """Return this process's recorder, or the last one if it was stopped."""
    notice()
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
    calls, current = open_calls(), _Home.recorder
    call = calls.get(call_id or "")
    is_ours = call is not None and current is not None and call.origin is current.origin
    may_be_older = call_id is not None and not is_ours
    before = _Home.last_stop if current is None or may_be_older else FlushResult(0)
    left = _countdown(timeout_seconds)
    return sum([each.shipper.flush(left()) for each in _all_running()], before)


def stop(timeout_seconds: float | None = None, *, waits: bool = True) -> FlushResult:
    """Flush and stop this process's recorder; the next call makes a new one.

    Args:
        timeout_seconds: How long at the most; by default the setting `exit_timeout_seconds`.
        waits: Whether to wait where somebody else delivers all the same, as an agent does.
    """
    with _Home.lock:
        stopped = _all_running()
        _Home.recorder = None
        _Home.elsewhere.clear()
        Captured.counts = Counts()  # the next one's
        thaw()
    if stopped:
        if timeout_seconds is None:
            timeout_seconds = stopped[0].settings.exit_timeout_seconds
        left = _countdown(timeout_seconds)
        results = [each.stop(left(), waits=waits) for each in stopped]
        _Home.stopped, _Home.last_stop = stopped[0], sum(results, FlushResult(0))
    return _Home.last_stop


def _all_running() -> list[Recorder]:
    return [each for each in (_Home.recorder, *_Home.elsewhere.values()) if each is not None]


def _countdown(seconds: float) -> Callable[[], float]:
    end = clock.monotonic() + seconds
    return lambda: max(0.0, end - clock.monotonic())


@begin_anew
def _begin_anew() -> None:
    inherited = _all_running()
    _Home.recorder, _Home.open_calls = None, None  # the parent ends the calls that it began
    _Home.elsewhere.clear()
    _Home.stopped, _Home.last_stop = None, FlushResult(0)
    _Home.inherited += inherited
    for each in inherited:
        each.forget()


exits.at_end("stop", partial(stop, waits=False))
