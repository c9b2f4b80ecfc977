"""The calls that the app has started by hand in this context, and holds open.

One of them may stand for a request that a hook sees, or for a span, so they are noted only where
there are hooks or span processors.
"""

from collections.abc import Callable
from contextvars import ContextVar

from llm_audit.call import LLMCallTypeEnum
from llm_audit.recorder.captured import Captured
from llm_audit.recorder.open_calls import OpenCall
from llm_audit.recorder.process import open_calls

NOTED_MAX = 16  # a program that never ends its calls keeps no more of them here

# Those are made of calls, and are none themselves.
NO_CALLS = frozenset({LLMCallTypeEnum.AGENT, LLMCallTypeEnum.TOOL_EXECUTION})

_started: ContextVar[tuple[str, ...]] = ContextVar("llm_audit_started_here", default=())


def note_start(call_id: str) -> None:
    """Note that a call was started here."""
    if Captured.clients or Captured.span_processors:
        _started.set((*_started.get()[1 - NOTED_MAX :], call_id))


def open_here() -> list[OpenCall]:
    """Return the calls that were started here and are still open, the last one first."""
    started = _started.get()
    if not started:
        return []
    calls = open_calls()
    known = {call_id: calls.get(call_id) for call_id in started}
    found = {
        call_id: call
        for call_id, call in known.items()
        if call is not None and not (call.over or call.unfinished)
    }
    if len(found) < len(started):
        _started.set(tuple(found))
    return [*reversed(found.values())]


def open_for(model: Callable[[], str | None]) -> OpenCall | None:
    """Return the call that the app holds open here for a request to a model.

    It stands for one answer: what the app asks once it has that is another call.

    Args:
        model: Returns the one that is asked; it is asked for only where a call is open.
    """
    for call in open_here():
        if call.taken or call.model is None or call.call_type in NO_CALLS:
            continue
        asked = model()
        if asked is not None and _same(call.model, asked):
            return call
    return None


def _same(one: str, other: str) -> bool:
    """Tell whether two names mean one model; routers put a provider before it, with a slash."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")
