"""Spans of LLM calls become records, where they are made and as they are made."""

import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as RunningSpan
from opentelemetry.trace import StatusCode, get_current_span

from llm_audit.context import current_context
from llm_audit.otel import recorded
from llm_audit.otel.captured import CapturedRequest, Listeners, RequestsOfLate
from llm_audit.otel.spans.kinds import Kind, goes_on, kind_of
from llm_audit.otel.spans.outcome import is_to_come, read_outcome, response_id_of
from llm_audit.otel.spans.request import Request, read_request
from llm_audit.otel.spans.span import Span, SpanEvent
from llm_audit.otel.spans.told import Told
from llm_audit.otel.two_spans import TwoSpans
from llm_audit.recorder import process
from llm_audit.recorder.captured import Captured
from llm_audit.recorder.listening import Listening, no_parent
from llm_audit.recorder.open_calls import OpenCall
from llm_audit.recorder.process import open_calls
from llm_audit.recorder.started_here import open_for
from llm_audit.recording import cut_short
from llm_audit.runtime.forks import Here
from llm_audit.settings import get_settings

K = TypeVar("K")
V = TypeVar("V")

LIVE_MAX = 100_000
ANSWERS_MAX = 1_000
_SUPPRESSED = ("suppress_instrumentation", "suppress_language_model_instrumentation")
_CALLS_IN_ITS_OWN = "logfire._internal.exporters.processor_wrapper"
_ANY = frozenset({False, True})


@dataclass(eq=False, slots=True)
class _Live:
    """A span that runs.

    Attributes:
        process: In which it was started.
        outer: The span around it, if that is known here.
        kind: What it is, as far as it said when it started.
        begun: Its record.
        skipped: Whether somebody else records it.
        inner: Of the calls inside it that are recorded, whether they are embeddings.
        by_hand: The call that the app records itself, for which this is.
        captured: The request that is recorded, for which this is.
    """

    process: object
    outer: "_Live | None"
    kind: Kind | None
    begun: recorded.Begun | None = None
    skipped: bool = False
    inner: frozenset[bool] = frozenset()
    by_hand: OpenCall | None = None
    captured: CapturedRequest | None = None

    def stands_for(self, span: ReadableSpan) -> None:
        """Note in what is recorded instead that the span which ends here was the one for it."""
        if self.by_hand is not None and span.status.status_code is not StatusCode.ERROR:
            self.by_hand.taken = True
        if self.captured is not None and span.instrumentation_scope is not None:
            self.captured.scopes.add(span.instrumentation_scope.name)


class LLMAuditSpanProcessor(SpanProcessor):
    """Records each span of an LLM call: `provider.add_span_processor(LLMAuditSpanProcessor())`.

    The call is on disk when its span starts, with the task, the tags and all else that the context
    says there; what the span says when it ends completes it. A span inside a call's span is that
    same call, and is skipped, and so is one whose request capture records from the wire, or the
    app by hand.

    Args:
        steps: Whether spans of agents, tools and workflows are recorded, too, as AGENT and
            TOOL_EXECUTION, so that a trace is a tree.
    """

    def __init__(self, *, steps: bool = False) -> None:
        self._steps = steps
        self._live: OrderedDict[int, _Live] = OrderedDict()
        self._answers: OrderedDict[str, tuple[int, int]] = OrderedDict()  # when, by their ids
        self._two_spans = TwoSpans()
        self._captured = RequestsOfLate()
        Listeners.all.append(self._note_captured)
        Captured.span_processors += 1
        if steps:
            Listening.parent = self._step_here

    def on_start(
        self, span: RunningSpan, parent_context: otel_context.Context | None = None
    ) -> None:
        """Record that a call begins, if the span is one."""
        try:
            if get_settings().enabled:
                self._begin(span, is_suppressed=_is_suppressed(parent_context))
        except BaseException as error:  # noqa: BLE001
            cut_short("the start of a span", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Record how it ended."""
        try:
            live = self._live.pop(span.context.span_id, None)
            if get_settings().enabled and not (live and live.process is not Here.process):
                self._end(span, live)
        except BaseException as error:  # noqa: BLE001
            cut_short("the end of a span", error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until MongoDB has acknowledged what was recorded so far; return whether it has."""
        return bool(process.flush(timeout_millis / 1000))

    def shutdown(self) -> None:
        """Listen to capture no more; what was recorded is on disk, and llm-audit delivers it."""
        if self._note_captured in Listeners.all:
            Listeners.all.remove(self._note_captured)
            Captured.span_processors -= 1
        if Listening.parent == self._step_here:
            Listening.parent = no_parent

    def _begin(self, span: RunningSpan, *, is_suppressed: bool) -> None:
        attributes = _attributes_of(span)
        kind = kind_of(attributes)
        live = _Live(Here.process, self._outer(span), kind, skipped=is_suppressed)
        _bounded(self._live, LIVE_MAX)[span.context.span_id] = live
        if (
            is_suppressed
            or kind is None
            or goes_on(attributes)
            or (kind.is_step and not self._steps)
        ):
            return
        if not kind.is_step and _is_inside(live, kind):
            live.skipped = True
            return
        seen = _seen(span, attributes)
        request = read_request(Told(seen), kind, so_far=True)
        if kind.is_step:
            live.skipped = _is_step_around(request)
            if live.skipped:
                return
        else:
            live.by_hand = open_for(lambda: request.given.get("model"))
            live.skipped = live.by_hand is not None
            # where capture is on it may see the request: whether it does is known at the end
            if live.skipped or Captured.clients:
                return
        live.begun = recorded.begin(seen, request, _parent(live.outer))
        _tell_outer(live, kind)

    def _end(self, span: ReadableSpan, live: _Live | None) -> None:
        attributes = _attributes_of(span)
        kind = live.kind if live and live.kind else kind_of(attributes)
        live = live or _Live(Here.process, self._outer(span), kind)
        live.stands_for(span)
        if kind is None or (kind.is_step and not self._steps):
            return
        told = Told(_seen(span, attributes))
        begun = live.begun
        if goes_on(told.attributes) and (rest := self._two_spans.rest_of(told.span)) is not None:
            begun, told = rest.begun, Told(rest.span)
            live.skipped = begun is None
        elif not kind.is_step and (begun or live.skipped) and is_to_come(told):
            self._two_spans.add(told.span, begun)
            return
        if live.skipped or not (kind.is_step or self._is_new(told, live, kind, begun)):
            return
        request = read_request(told, kind)
        if begun is None:
            begun = recorded.begin(told.span, request, _parent(live.outer))
            _tell_outer(live, kind)
        recorded.end(begun, told.span, request, read_outcome(told, kind))

    def _is_new(self, told: Told, live: _Live, kind: Kind, begun: recorded.Begun | None) -> bool:
        """Tell whether nobody has recorded a call, by what only the end of its span shows."""
        seen, answer = told.span, response_id_of(told)
        if begun is None and (
            kind.is_embedding in live.inner
            or _is_inside(live, kind)
            or self._is_answered(answer, seen)
            or self._captured.one_is_of(seen, told.models)
        ):
            return False
        if answer is not None:
            times = seen.start_ns, seen.end_ns or seen.start_ns
            _bounded(self._answers, ANSWERS_MAX)[answer] = times
        return True

    def _outer(self, span: ReadableSpan) -> _Live | None:
        parent = span.parent
        return None if parent is None or parent.is_remote else self._live.get(parent.span_id)

    def _is_answered(self, answer: str | None, span: Span) -> bool:
        """Tell whether the same response was recorded while this span ran, of a span beside it."""
        known = self._answers.get(answer) if answer is not None else None
        return (
            known is not None
            and span.end_ns is not None
            and span.start_ns <= known[0]
            and known[1] <= span.end_ns
        )

    def _step_here(self) -> str | None:
        """Return the record of the agent or tool in whose span this is."""
        live = self._live.get(get_current_span().get_span_context().span_id)
        while live is not None and not (live.begun and live.kind and live.kind.is_step):
            live = live.outer
        return live.begun.call_id if live is not None and live.begun is not None else None

    def _note_captured(self, span_id: int, request: CapturedRequest) -> None:
        """Note that a request is recorded that is made inside a span, or 0."""
        self._captured.add(request)
        live = self._live.get(span_id)
        while live is not None and not (live.kind and live.kind.is_step):
            live.skipped = live.skipped or (live.kind is not None and live.begun is None)
            live.inner = _ANY  # should it say only at its end that it is a call
            live.captured = request
            live = live.outer


def _bounded(table: "OrderedDict[K, V]", most: int) -> "OrderedDict[K, V]":
    """Return a table with room for one more: the oldest goes."""
    while len(table) >= most:
        table.popitem(last=False)
    return table


def _attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes as they are now: its own raise for each that is not there."""
    given: Any = span.attributes
    return given.copy() if given else {}


def _seen(span: ReadableSpan, attributes: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_span_id=f"{span.parent.span_id:016x}" if span.parent else None,
        attributes=attributes,
        scope=span.instrumentation_scope.name if span.instrumentation_scope else "",
        start_ns=span.start_time or 0,
        end_ns=span.end_time,
        status=span.status.status_code.name,
        status_message=span.status.description,
        events=[SpanEvent(one.name, one.timestamp, one.attributes or {}) for one in span.events],
        dropped_attributes=span.dropped_attributes,
    )


def _is_suppressed(context: otel_context.Context | None) -> bool:
    """Tell whether a span was made where nothing is to be instrumented.

    Args:
        context: What the span was given as its parent's; None is the current one. logfire calls
            every processor in one of its own, which says so of its own work.
    """
    if context is None and _CALLS_IN_ITS_OWN in sys.modules:
        return False
    return any(otel_context.get_value(key, context) for key in _SUPPRESSED)


def _is_inside(live: _Live, kind: Kind) -> bool:
    """Tell whether a span around it is the same call."""
    outer = live.outer
    while outer is not None and not (outer.kind and outer.kind.is_step):
        if outer.kind is not None and outer.kind.is_embedding == kind.is_embedding:
            return True
        outer = outer.outer
    return False


def _is_step_around(request: Request) -> bool:
    """Tell whether the call around is the same agent or tool, recorded by its framework, say."""
    parent = open_calls().get(current_context().parent_call_id or "")
    given = request.given
    return (
        parent is not None
        and not parent.over
        and (parent.call_type, parent.model) == (given["call_type"], given["model"])
    )


def _tell_outer(live: _Live, kind: Kind) -> None:
    """Let the spans around a call know of it: one may say only at its end that it is the call."""
    outer = None if kind.is_step else live.outer
    while outer is not None and not (outer.kind and outer.kind.is_step):
        outer.inner |= {kind.is_embedding}
        outer = outer.outer


def _parent(live: _Live | None) -> recorded.Begun | None:
    """Return the record of the next span around that has one."""
    while live is not None and live.begun is None:
        live = live.outer
    return None if live is None else live.begun
