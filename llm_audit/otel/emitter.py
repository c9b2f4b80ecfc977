"""Records become spans, for a tracing backend beside the database.

What is on disk is told to a thread of its own, which makes the spans and hands them to an exporter:
the calling thread adds a reference to a queue. So spans come at once, also while MongoDB is away,
and secrets are out of them, because what is told is what was journaled.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, ClassVar, NamedTuple

import bson
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from llm_audit import causes
from llm_audit.encoding.reading import READ_OPTIONS
from llm_audit.errors import let_through, log_once
from llm_audit.ids import created_at
from llm_audit.journal.records import LATER, OWN, START, STARTS, VERDICT, unpack
from llm_audit.journal.unread import made_of
from llm_audit.logger import LLMLogger
from llm_audit.otel.emitted import Started, ended, started
from llm_audit.otel.recorded import CAPTURED_BY
from llm_audit.recorder.exits import at_end
from llm_audit.recorder.listening import Listening, nobody
from llm_audit.recorder.shipping.stage import Stage
from llm_audit.runtime import clock
from llm_audit.runtime.forks import begin_anew
from llm_audit.runtime.kept import kept
from llm_audit.settings import get_settings

HEARD_MAX_BYTES = 32 * 2**20
OPEN_MAX = 20_000  # calls whose end is still to come
BATCH_MAX = 512
PAUSE_SECONDS = 1.0
WAIT_FOR_BETTER_SECONDS = 180.0  # a call that seems to have ended may be tried again
EXIT_SECONDS = 10.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_ABOUT_NO_SPAN = frozenset({LATER, VERDICT})
_SUPPRESS = "suppress_instrumentation"

Exporter = SpanExporter | Callable[[], SpanExporter]


class _Heard(NamedTuple):
    """A record, and of a start the span that it was made in."""

    record: bytes
    span: SpanContext | None


class _Open:
    """A call that has begun, and perhaps an end that a better one may follow."""

    def __init__(self, began: Started, parent: SpanContext | None) -> None:
        self.began = began
        self.parent = parent
        self.outcome: Mapping[str, Any] | None = None
        self.since = 0.0


def emit_spans(
    exporter: Exporter, *, resource: Resource | None = None, content: bool = False
) -> "SpanEmitter":
    """Have every call that this process records from now on exported as a span when it ends.

    Names, attributes and times are those of the current semantic conventions for GenAI. A span is
    in the trace of its record, under the span that was current when the call began; in a trace that
    the app's sampler left out there is none. Calls that are recorded from spans
    (`LLMAuditSpanProcessor`) have one already and are left out. Of two emitters the later counts.

    Args:
        exporter: An OpenTelemetry SpanExporter, or what makes one: then each process has its own
            after a fork.
        resource: Who says so; by default what the environment and the SDK say.
        content: Whether spans also hold what was said: messages, tools and texts of errors.

    Returns:
        What may be flushed and stopped.
    """
    emitter = SpanEmitter(exporter, resource, content=content)
    if _Emitting.emitter is not None:
        _Emitting.emitter.stop()
    _Emitting.emitter = emitter
    Listening.listener = emitter.hear
    at_end("spans", _end)
    return emitter


class SpanEmitter:
    """Makes spans of what is recorded; made by `emit_spans`.

    Attributes:
        exported: How many spans the exporter has taken.
        dropped: How many operations were left out because the exporter was too slow, and how many
            spans because it failed.
    """

    def __init__(self, exporter: Exporter, resource: Resource | None, *, content: bool) -> None:
        self.exported = 0
        self.dropped = 0
        self._make = exporter
        self._resource = resource or Resource.create()
        self._content = content
        self._scope = InstrumentationScope("llm_audit", version("llm-audit"))
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what the parent of a forked process has heard; it exports that itself."""
        self._heard: deque[_Heard] = deque()
        self._heard_bytes = 0
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._ready: list[ReadableSpan] = []
        self._stage: Stage | None = None
        self._exporter: SpanExporter | None = None
        self._thread: threading.Thread | None = None
        self._working = threading.RLock()
        self._wake = threading.Event()
        self._stopped = False

    def hear(self, op: str, record: bytearray) -> None:
        """Take note of a record; called in the thread that makes it."""
        if op in _ABOUT_NO_SPAN:
            return
        if self._heard_bytes > HEARD_MAX_BYTES:
            self.dropped += 1
            return
        self._heard_bytes += len(record)
        span = trace.get_current_span().get_span_context() if op in STARTS else None
        self._heard.append(_Heard(bytes(record), span))
        if self._thread is None:
            self._begin()

    def flush(self, timeout_seconds: float = EXIT_SECONDS) -> bool:
        """Export what has ended; return whether that was done within the time."""
        if not self._working.acquire(timeout=timeout_seconds):
            return False
        try:
            self._work(everything=False)
            return not self._heard
        finally:
            self._working.release()

    def stop(self, timeout_seconds: float = EXIT_SECONDS) -> None:
        """Hear of nothing more, export what has ended, and shut the exporter down."""
        if _Emitting.emitter is self:
            _Emitting.emitter, Listening.listener = None, nobody
        self._stopped = True
        self._wake.set()
        if not self._working.acquire(timeout=timeout_seconds):
            return
        try:
            self._work(everything=True)
            if self._exporter is not None:
                self._exporter.shutdown()
        finally:
            self._working.release()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name="llm-audit-spans", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:  # at the end of the interpreter: it is done at the exit
            let_through(error)

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(PAUSE_SECONDS)
            with self._working:
                self._work(everything=False)

    def _work(self, *, everything: bool) -> None:
        """Make spans of all that was heard, and export them.

        Args:
            everything: Also calls that may still be tried again.
        """
        token = otel_context.attach(otel_context.set_value(_SUPPRESS, True))  # noqa: FBT003
        try:
            while self._heard:
                heard = self._heard.popleft()
                self._heard_bytes -= len(heard.record)
                try:
                    self._take(heard)
                except Exception as error:  # noqa: BLE001  (one record costs itself only)
                    self._fail("made", error, 1)
                if len(self._ready) >= BATCH_MAX:
                    self._export()
            self._heard_bytes = max(0, self._heard_bytes) if self._heard else 0
            self._give_up_waiting(everything=everything)
            self._export()
        finally:
            otel_context.detach(token)

    def _take(self, heard: _Heard) -> None:
        record = unpack(heard.record)
        if get_settings().redact_in_shipper:
            self._stage = self._stage or Stage(get_settings())
            record = self._stage(record)
        else:
            record = made_of(record)
        fields = bson.decode(record.doc, READ_OPTIONS)
        call = self._open.get(record.id)
        if record.op == START:
            self._start(record.id, fields, heard.span)
        elif call is not None and record.op == OWN:
            self._finish(record.id, fields)
        elif call is not None:  # somebody may know better
            call.outcome, call.since = fields, clock.monotonic()

    def _start(self, call_id: str, fields: Mapping[str, Any], parent: SpanContext | None) -> None:
        if fields.get("captured_by") == CAPTURED_BY:
            return
        began = started(call_id, fields, content=self._content)
        if parent is not None and not (parent.is_valid and parent.trace_id == began.trace_id):
            parent = None
        if parent is not None and not parent.trace_flags.sampled:
            return
        self._open[call_id] = _Open(began, parent)
        if len(self._open) > OPEN_MAX:
            self._open.popitem(last=False)
            self.dropped += 1

    def _give_up_waiting(self, *, everything: bool) -> None:
        over = clock.monotonic() - WAIT_FOR_BETTER_SECONDS
        for call_id, call in list(self._open.items()):
            if call.outcome is not None and (everything or call.since < over):
                self._finish(call_id, call.outcome)

    def _finish(self, call_id: str, fields: Mapping[str, Any]) -> None:
        call = self._open.pop(call_id)
        began, end = call.began, ended(fields, content=self._content)
        moment = created_at(call_id)
        start_ns = int((moment.timestamp() if moment else 0.0) * 1e9)
        failed = end.failure is not None
        self._ready.append(
            ReadableSpan(
                name=began.name,
                context=_context(began.trace_id, began.span_id),
                parent=_context(began.trace_id, began.parent_span_id) or call.parent,
                resource=self._resource,
                attributes={**began.attributes, **end.attributes},
                kind=SpanKind.INTERNAL if began.is_step else SpanKind.CLIENT,
                status=Status(StatusCode.ERROR, end.failure) if failed else Status(),
                start_time=start_ns,
                end_time=start_ns + int(end.latency_ms * 1e6),
                instrumentation_scope=self._scope,
            )
        )

    def _export(self) -> None:
        spans, self._ready = self._ready, []
        if not spans:
            return
        try:
            if self._exporter is None:
                made = self._make
                self._exporter = made if isinstance(made, SpanExporter) else made()
            taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001  (an exporter may raise anything)
            self._fail("exported", error, len(spans))
            return
        if taken:
            self.exported += len(spans)
        else:
            self._fail("exported", None, len(spans))

    def _fail(self, doing: str, error: Exception | None, count: int) -> None:
        if error is not None:
            let_through(error)
        self.dropped += count
        why = f": {type(error).__name__}" if error is not None else ""
        log_once(f"Spans of calls could not be {doing}{why}; the calls themselves are recorded.")


def _context(trace_id: int, span_id: int) -> SpanContext | None:
    if not span_id:
        return None
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


@kept
class _Emitting:
    """The one emitter of this process."""

    emitter: ClassVar[SpanEmitter | None] = None


def _end() -> None:
    if _Emitting.emitter is not None:
        LLMLogger.end_open_calls(None, ended_by=causes.PROCESS_EXIT)
        _Emitting.emitter.stop()


@begin_anew
def _begin_anew() -> None:
    if _Emitting.emitter is not None:
        _Emitting.emitter.begin_anew()
