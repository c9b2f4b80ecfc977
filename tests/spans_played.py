"""Spans as real instrumentations made them, played to a real SDK again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

FOLDER = Path(__file__).parent / "otel_spans"
INSTRUMENTATIONS = sorted(path.stem for path in FOLDER.glob("*.json"))


def spans_of(instrumentation: str) -> list[dict[str, Any]]:
    """Return what an instrumentation made of a few calls, in the order in which they ended."""
    return json.loads((FOLDER / f"{instrumentation}.json").read_text())


def play(
    provider: TracerProvider,
    spans: list[dict[str, Any]],
    inside: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Make the same spans again: each inside its parent, its attributes when they came.

    Args:
        provider: With the processors under test.
        spans: What `spans_of` returned.
        inside: Called inside each.
    """
    ids = {span["span_id"] for span in spans}
    running: dict[str, Span] = {}
    moments = sorted(
        [(span["start_ns"], 0, number) for number, span in enumerate(spans)]
        + [(span["end_ns"], 1, number) for number, span in enumerate(spans)]
    )
    for moment, is_end, number in moments:
        span = spans[number]
        if not is_end:
            parent = span["parent_span_id"]
            context = trace.set_span_in_context(running[parent]) if parent in ids else None
            early = {name: span["attributes"][name] for name in span["at_start"]}
            tracer = provider.get_tracer(span["scope"])
            started = tracer.start_span(
                span["name"],
                context=context or trace.set_span_in_context(trace.INVALID_SPAN),
                kind=SpanKind[span["kind"]],
                attributes=early,
                start_time=moment,
            )
            running[span["span_id"]] = started
            with trace.use_span(started):
                inside(span)
            continue
        ended = running[span["span_id"]]
        late = {k: v for k, v in span["attributes"].items() if k not in span["at_start"]}
        ended.set_attributes(late)
        for event in span["events"]:
            ended.add_event(event["name"], event["attributes"], event["time_ns"])
        ended.set_status(Status(StatusCode[span["status"]], span["status_message"]))
        ended.end(moment)
