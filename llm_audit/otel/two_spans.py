"""A call that two spans tell of: logfire's of a stream, until it begins and when it is over."""

from collections import deque
from dataclasses import replace
from typing import NamedTuple

from llm_audit.otel.recorded import Begun
from llm_audit.otel.spans.names import MESSAGES, REQUEST_MODEL, first
from llm_audit.otel.spans.span import Span

WAITING_MAX = 1_000


class Rest(NamedTuple):
    """What is known of a call when its second span comes.

    Attributes:
        begun: Its record; None if somebody else records it.
        span: Both as one.
    """

    begun: Begun | None
    span: Span


class TwoSpans:
    """The calls whose second span is still to come; one that never comes is left open."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[object, Rest]] = deque(maxlen=WAITING_MAX)

    def add(self, span: Span, begun: Begun | None) -> None:
        """Let a call wait.

        Args:
            span: Its first one.
            begun: Its record; None if somebody else records it.
        """
        self._waiting.append((_known_by(span), Rest(begun, span)))

    def rest_of(self, span: Span) -> Rest | None:
        """Return the call that a second span is of, from its beginning to this end.

        Args:
            span: The second one.
        """
        for one in tuple(self._waiting):
            if one[0] == _known_by(span):
                self._waiting.remove(one)
                return Rest(one[1].begun, replace(span, start_ns=one[1].span.start_ns))
        return None


def _known_by(span: Span) -> object:
    model, messages = (first(span.attributes, name) for name in (REQUEST_MODEL, MESSAGES))
    return span.parent_span_id, model, messages  # not the trace: of roots each has its own
