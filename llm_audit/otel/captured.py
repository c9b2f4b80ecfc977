"""Which spans stand for calls that capture records from the wire: those are not recorded twice."""

import sys
from collections.abc import Callable
from typing import ClassVar

from llm_audit.runtime.kept import kept


@kept
class Listeners:
    """Who wants to know: the span processors of this process."""

    all: ClassVar[list[Callable[[int], None]]] = []


def note_captured() -> None:
    """Note that the request that is made here is recorded, so that its span need not be."""
    if not Listeners.all:
        return
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        for listener in Listeners.all:
            listener(span.span_id)
