"""A span as it is read, whether it comes from an SDK or over the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened while a span ran.

    Attributes:
        time_ns: When, in nanoseconds of the epoch.
    """

    name: str
    time_ns: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_span_id: The same; None for a root.
        scope: The instrumentation's name.
        start_ns: In nanoseconds of the epoch.
        end_ns: The same; None while it runs.
        status: UNSET, OK or ERROR.
        dropped_attributes: How many OpenTelemetry left out, by default all beyond 128.
    """

    name: str
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]
    parent_span_id: str | None = None
    scope: str = ""
    start_ns: int = 0
    end_ns: int | None = None
    status: str = "UNSET"
    status_message: str | None = None
    events: Sequence[SpanEvent] = ()
    dropped_attributes: int = 0
