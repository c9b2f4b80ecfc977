"""A call that a span tells of, handed to the recorder: how it began and, later, how it ended.

A span says little when it starts and the rest when it ends. So what is told late of the request is
recorded with the outcome: of each field only one of the two records knows, as of any call.
"""

from typing import Any, NamedTuple

from llm_audit.context import NOWHERE, current_context
from llm_audit.given import arguments, outcomes
from llm_audit.ids import call_id_at
from llm_audit.otel.spans.outcome import Outcome
from llm_audit.otel.spans.request import Request
from llm_audit.otel.spans.span import Span
from llm_audit.recorder.process import open_calls, recorder, recorder_of
from llm_audit.runtime import clock
from llm_audit.settings import made_before

CAPTURED_BY = "opentelemetry"


class Begun(NamedTuple):
    """A call whose start is recorded.

    Attributes:
        told: The names of the fields that its start has.
        parent_here: The call that the context named as the parent of what is made here.
    """

    call_id: str
    told: frozenset[str]
    parent_here: str | None


def begin(span: Span, request: Request, parent: Begun | None) -> Begun:
    """Record that a call begins; it is on disk when this returns.

    Args:
        span: Which tells of it.
        request: What it says of the request.
        parent: The call of a span around it.
    """
    call_id, created_ms = call_id_at(span.start_ns // 1_000_000)
    context = current_context()
    given = dict(request.given)
    if context.call_type is not None and not request.is_step:
        given["call_type"] = context.call_type
    # of the span and the `log_call` around it, the inner one
    if parent is not None and context.parent_call_id == parent.parent_here:
        given["parent_call_id"] = parent.call_id
    doubts: list[str] = []
    reading = made_before.set(True)  # what an instrumentation says is no mistake of the app's
    try:
        fields = arguments.start_fields(given, request.params, context, doubts)
    finally:
        made_before.reset(reading)
    fields["captured_by"] = CAPTURED_BY
    if "trace_id" not in fields:
        above = fields.get("parent_call_id")
        known = open_calls().trace_of(above) if above is not None else None
        fields["trace_id"] = known or span.trace_id
    told = frozenset(fields)
    recorder().calls.start(call_id, created_ms, fields, context.attempt_id, doubtful=bool(doubts))
    return Begun(call_id, told, context.parent_call_id)


def end(begun: Begun, span: Span, request: Request, outcome: Outcome) -> None:
    """Record how a call ended, and what was not known of it when it began.

    Args:
        begun: The call.
        span: Which has ended.
        request: What it says of the request.
        outcome: What it says of the end.
    """
    call = open_calls().get(begun.call_id)
    reading = made_before.set(True)
    try:
        late = arguments.start_fields(dict(request.given), dict(request.params), NOWHERE)
        late = {name: value for name, value in late.items() if name not in begun.told}
        told = call.asked if call else (None, None)
        asked = (told[0] or late.get("provider"), told[1] or late.get("model"))
        said = outcomes.told(outcome.given)
        recording = recorder_of(call)
        fields: dict[str, Any]
        if recording.reads_ends_later and call is not None:
            fields = {"said": said, "asked": asked}
        else:
            fields = outcomes.fields_told(said, asked)
    finally:
        made_before.reset(reading)
    ended_ns = clock.monotonic_ns()
    if call is not None and span.end_ns is not None:  # spans may be given times
        ended_ns = call.started_ns + max(0, span.end_ns - span.start_ns)
    notes = [*fields.get("encoding_notes", ()), *outcome.fields.get("encoding_notes", ())]
    fields |= {**late, **outcome.fields, "encoding_notes": notes}
    recording.calls.end(begun.call_id, call, fields, ended_ns)
