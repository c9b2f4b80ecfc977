"""The calls that the app has started by hand in this context, and holds open.

One of them may stand for a request that a hook sees, so they are noted only where hooks are.
"""

from collections.abc import Iterator
from contextvars import ContextVar

from llm_audit.recorder.captured import Captured
from llm_audit.recorder.open_calls import OpenCall
from llm_audit.recorder.process import open_calls

NOTED_MAX = 16  # a program that never ends its calls keeps no more of them here

_started: ContextVar[tuple[str, ...]] = ContextVar("llm_audit_started_here", default=())


def note_start(call_id: str) -> None:
    """Note that a call was started here."""
    if Captured.clients:
        _started.set((*_started.get()[1 - NOTED_MAX :], call_id))


def open_here() -> Iterator[OpenCall]:
    """Yield the calls that were started here and are still open, the last one first."""
    calls = open_calls()
    for call_id in reversed(_started.get()):
        call = calls.get(call_id)
        if call is not None and not (call.over or call.unfinished):
            yield call
