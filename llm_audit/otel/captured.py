"""Which spans stand for calls that capture records from the wire: those are not recorded twice.

Most instrumentations make their span current while the request is made, so that it is known which
one it is. Others do not, or make it afterwards: then it is one of the same model in whose time a
request was captured, and each request stands for one span of each instrumentation.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from llm_audit.otel.spans.span import Span
from llm_audit.runtime.kept import kept

NOTED_MAX = 1_000


@dataclass(eq=False, slots=True)
class CapturedRequest:
    """A request that was captured, or that the app records itself.

    Attributes:
        at_ns: When, in nanoseconds of the epoch.
        scopes: The instrumentations a span of which it stands for.
    """

    model: str | None
    at_ns: int
    scopes: set[str] = field(default_factory=set)


@kept
class Listeners:
    """Who wants to know: the span processors of this process."""

    all: ClassVar[list[Callable[[int, CapturedRequest], None]]] = []


def note_captured(model: str | None) -> None:
    """Note that the request that is made here is recorded, so that its span need not be.

    Args:
        model: The one that is asked.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if Listeners.all and trace is not None:
        request = CapturedRequest(model, time.time_ns())
        for listener in Listeners.all:
            listener(trace.get_current_span().get_span_context().span_id, request)


class RequestsOfLate:
    """The last requests that were captured."""

    def __init__(self) -> None:
        self._requests: deque[CapturedRequest] = deque(maxlen=NOTED_MAX)

    def add(self, request: CapturedRequest) -> None:
        """Take note of one."""
        self._requests.append(request)

    def one_is_of(self, span: Span, models: tuple[str | None, str | None]) -> bool:
        """Tell whether one of them was made for a span; that stands for no other of its scope.

        Args:
            span: Which has ended.
            models: Which it says were asked and have answered.
        """
        for request in tuple(self._requests):
            if (
                span.start_ns <= request.at_ns <= (span.end_ns or request.at_ns)
                and span.scope not in request.scopes
                and any(_same(request.model, model) for model in models)
            ):
                request.scopes.add(span.scope)
                return True
        return False


def _same(asked: str | None, said: str | None) -> bool:
    """Tell whether two names may mean one model: who answers says its version, too."""
    if asked is None or said is None:
        return asked is said
    one, other = asked.rpartition("/")[2], said.rpartition("/")[2]
    return one.startswith(other) or other.startswith(one)
