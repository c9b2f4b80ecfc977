"""OpenTelemetry, both ways, with its real SDK: spans become records, records become spans."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from patience import PATIENCE
from pymongo.collection import Collection
from spans_played import INSTRUMENTATIONS, play, spans_of
from waiting import until

import llm_audit
from llm_audit import LLMCallTypeEnum, LLMLogger, audit_context
from llm_audit.otel import LLMAuditSpanProcessor, emit_spans
from llm_audit.otel.captured import note_captured
from llm_audit.recorder.captured import Captured

Calls = Collection[dict[str, Any]]
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
}
ANSWERED = {"gen_ai.usage.input_tokens": 3, "gen_ai.response.id": "r"}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "forecaster"}


@pytest.fixture
def provider(recording: Any) -> Iterator[TracerProvider]:  # noqa: ARG001
    """Give a provider whose spans are recorded, steps included."""
    made = TracerProvider()
    processor = LLMAuditSpanProcessor(steps=True)
    made.add_span_processor(processor)
    yield made
    processor.shutdown()


@pytest.fixture
def tracer(provider: TracerProvider) -> trace.Tracer:
    return provider.get_tracer("test")


def flushed(calls: Calls) -> list[dict[str, Any]]:
    """Return what was recorded, oldest first."""
    assert llm_audit.flush(PATIENCE)
    return list(calls.find().sort("_id"))


def test_spans_of_every_instrumentation_arrive(provider: TracerProvider, calls: Calls) -> None:
    """What real instrumentations made is in MongoDB, whole: of each field one record knows."""
    expected = {
        "anthropic": 2,
        "genai-anthropic": 2,
        "genai-openai": 8,
        "langfuse": 8,
        "logfire": 8,  # the two spans of a stream are one call
        "mistral": 2,
        "openinference": 8,
        "openinference-langchain": 1,  # of two spans
        "pydantic-ai": 4,
        "traceloop": 8,
    }
    found = {}
    for name in INSTRUMENTATIONS:
        play(provider, spans_of(name))
        documents = flushed(calls)
        found[name] = len(documents)
        calls.delete_many({})
        for call in documents:
            assert call["captured_by"] == "opentelemetry"
            assert call["status"] != "PENDING"
            assert call["span"]["span_id"]
            assert (
                call.get("messages")
                or call.get("input")
                or call["call_type"] == "EMBEDDING"
                or (call["call_type"] == "AGENT")
            ), (name, call)

    assert found == expected


def test_a_call_is_on_disk_when_its_span_starts(tracer: trace.Tracer, calls: Calls) -> None:
    """With what the context says there; its end, in another thread, completes it."""
    with audit_context(user_id="u", tags=["nightly"], metadata={"plan": "gold"}):
        span = tracer.start_span("chat", attributes=CHAT)
    (pending,) = flushed(calls)
    span.set_attributes(ANSWERED)
    span.set_attributes(
        {"gen_ai.input.messages": '[{"role": "user", "parts": []}]', "customer.tier": "gold"}
    )
    thread = threading.Thread(target=span.end)
    thread.start()
    thread.join()
    (call,) = flushed(calls)

    assert (pending["status"], pending["model"]) == ("PENDING", "gpt-4o-mini")
    assert (call["status"], call["prompt_tokens"]) == ("SUCCESS", 3)
    assert (call["user_id"], call["tags"], call["metadata"]) == (
        "u",
        ["nightly"],
        {"plan": "gold"},
    )
    assert call["messages"] == [{"role": "user", "parts": []}]
    assert call["span"]["attributes"] == {"customer.tier": "gold"}
    assert call["trace_id"] == f"{span.get_span_context().trace_id:032x}"


def test_spans_that_never_end_are_ended_with_the_process(
    tracer: trace.Tracer, calls: Calls
) -> None:
    """As any call that is left open; ended after all, the outcome that came first stands."""
    span = tracer.start_span("chat", attributes=CHAT)
    llm_audit.shutdown(PATIENCE, ended_by="process_exit")
    (call,) = calls.find()
    span.set_attributes(ANSWERED)
    span.end()
    (after,) = flushed(calls)

    assert (call["status"], call["ended_by"]) == ("INCOMPLETE", "process_exit")
    assert after["status"] == "SUCCESS"  # its owner knows best


def test_spans_in_a_celery_task_are_its_calls(tracer: trace.Tracer, calls: Calls) -> None:
    """Recorded with the task's id; one that is left running ends with the task."""
    celery = pytest.importorskip("celery")
    import celery_hooks

    app = celery.Celery("spans", broker="memory://", set_as_current=False)
    celery_hooks.install(app)

    @app.task(name="ask", shared=False)
    def ask() -> None:
        with tracer.start_as_current_span("chat", attributes=CHAT) as span:
            span.set_attributes(ANSWERED)
        tracer.start_span("chat", attributes=CHAT)

    try:
        task_id = ask.apply().id
    finally:
        celery_hooks.uninstall()
    ended, left = flushed(calls)

    assert {ended["task_id"], left["task_id"]} == {task_id}
    assert (ended["status"], left["status"]) == ("SUCCESS", "INCOMPLETE")
    assert left["ended_by"] == "task_ended"


def test_tasks_are_published_with_the_trace_of_the_span_around(provider: TracerProvider) -> None:
    """A span of the publishing alone is no unit of work: it names no trace of ours."""
    celery = pytest.importorskip("celery")
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.celery")
    import celery_hooks
    from celery_hooks.propagation import HEADER

    app = celery.Celery("spans", broker="memory://", set_as_current=False)

    @app.task(name="ask", shared=False)
    def ask() -> None:
        """Do nothing: it is only published."""

    instrumentor = instrumentation.CeleryInstrumentor()
    tracer = provider.get_tracer("web")
    published: list[Any] = []

    def traces(count: int) -> list[str | None]:
        del published[:]
        for _ in range(count):
            ask.apply_async()
        return [json.loads(header or "{}").get("trace_id") for header in published]

    def keep(headers: dict[str, Any], **_: object) -> None:
        published.append(headers.get(HEADER))

    try:
        for first, last in ((celery_hooks.install, None), (None, celery_hooks.install)):
            if first:
                first(app)
            instrumentor.instrument(tracer_provider=provider)
            if last:
                last(app)
            celery.signals.before_task_publish.connect(keep)
            alone = traces(2)
            with audit_context():
                shared = traces(2)
            with tracer.start_as_current_span("request") as span:
                in_request = {*traces(2)}
            with tracer.start_as_current_span("request"), audit_context(trace_id="mine"):
                named = {*traces(2)}
            assert alone == [None, None]
            assert shared[0] == shared[1] is not None
            assert in_request == {f"{span.get_span_context().trace_id:032x}"}
            assert named == {"mine"}
            celery.signals.before_task_publish.disconnect(keep)
            instrumentor.uninstrument()
            celery_hooks.uninstall()
    finally:
        instrumentor.uninstrument()
        celery_hooks.uninstall()


def test_one_call_is_one_record(tracer: trace.Tracer, calls: Calls) -> None:
    """A call's span inside that of the same call is skipped, wherever it says what it is."""

    def nested(*each: dict[str, Any]) -> None:
        with tracer.start_as_current_span("outer", attributes=each[0]) as outer:
            if each[1:]:
                nested(*each[1:])
            outer.set_attributes({**CHAT, **ANSWERED} if not each[0] else ANSWERED)

    counts = []
    for spans in (
        (CHAT, CHAT),
        (CHAT, {"http.request.method": "POST"}, CHAT),
        ({}, CHAT),  # says at its end that it is a call
        (CHAT, {"gen_ai.operation.name": "embeddings"}),  # another call: a cache's, say
        (AGENT, CHAT),
        (CHAT, {"gen_ai.operation.name": "execute_tool"}, CHAT),
    ):
        nested(*spans)
        counts.append(len(flushed(calls)))
        calls.delete_many({})

    assert counts == [1, 1, 1, 2, 2, 3]


def test_agents_and_tools_make_a_tree(tracer: trace.Tracer, calls: Calls) -> None:
    """They are the parents of what is done in them, also by hand; the nearest one counts."""
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"}
    with tracer.start_as_current_span("run", attributes=AGENT):
        with tracer.start_as_current_span("graph node"):
            tracer.start_span("chat", attributes=CHAT).end()
        tracer.start_span("tool", attributes=tool).end()
        with LLMLogger.log_call(call_type=LLMCallTypeEnum.RAG_QUERY) as by_hand:
            tracer.start_span("chat", attributes=CHAT).end()
    agent, chat, weather, rag, inside = flushed(calls)

    assert (agent["call_type"], agent["model"]) == ("AGENT", "forecaster")
    assert (weather["call_type"], weather["model"]) == ("TOOL_EXECUTION", "weather")
    assert {one["parent_call_id"] for one in (chat, weather, rag)} == {agent["_id"]}
    assert inside["parent_call_id"] == by_hand
    assert len({one["trace_id"] for one in (agent, chat, weather, rag, inside)}) == 1


def test_an_agent_that_its_framework_records_is_there_once(
    tracer: trace.Tracer, calls: Calls
) -> None:
    """Its span is the same agent; the calls in it have that record as their parent."""
    framework = LLMLogger.log_call(call_type=LLMCallTypeEnum.AGENT, model="forecaster")
    with framework as agent_id, tracer.start_as_current_span("run", attributes=AGENT):
        tracer.start_span("chat", attributes=CHAT).end()
        other = tracer.start_span("run", attributes={**AGENT, "gen_ai.agent.name": "another"})
        other.end()
    agent, chat, another = flushed(calls)

    assert agent["_id"] == agent_id
    assert (chat["parent_call_id"], another["parent_call_id"]) == (agent_id, agent_id)
    assert another["model"] == "another"


def test_what_others_record_is_skipped(tracer: trace.Tracer, calls: Calls) -> None:
    """The app by hand, capture on the wire, and what asks not to be instrumented."""
    by_hand = LLMLogger.start(model="openai/gpt-4o-mini")
    tracer.start_span("chat", attributes=CHAT).end()
    LLMLogger.complete(by_hand, response_message={"role": "assistant", "content": "x"})
    key = otel_context.set_value("suppress_instrumentation", True)  # noqa: FBT003
    tracer.start_span("chat", attributes=CHAT, context=key).end()
    recorded = flushed(calls)

    assert [one["_id"] for one in recorded] == [by_hand]


def test_where_capture_is_on_only_what_it_missed_is_recorded(
    tracer: trace.Tracer, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is known when the span ends: a request that was captured is noted in its span."""
    monkeypatch.setattr(Captured, "clients", ("openai",))
    with tracer.start_as_current_span("chat", attributes=CHAT) as outer:
        inner = tracer.start_as_current_span("chat", attributes=CHAT)
        with inner, tracer.start_as_current_span("POST"):
            note_captured("gpt-4o-mini")
        outer.set_attributes(ANSWERED)
    beside = tracer.start_span("generation")  # current nowhere, as langfuse's
    note_captured("gpt-4o-mini")
    beside.set_attributes({**CHAT, **ANSWERED, "gen_ai.request.model": "gpt-4o-mini-2024-07-18"})
    beside.end()
    with tracer.start_as_current_span("chat", attributes=CHAT) as missed:
        missed.set_attributes(ANSWERED)
    (call,) = flushed(calls)

    assert call["span"]["span_id"] == f"{missed.get_span_context().span_id:016x}"
    assert 0 <= call["latency_ms"] < 60_000


def test_capture_goes_before_spans(tracer: trace.Tracer, calls: Calls) -> None:
    """With a real client: the wire's record stands, below the agent whose span is around it."""
    body = {"id": "c", "choices": [{"message": {"role": "assistant", "content": "x"}}]}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=body))
    llm_audit.instrument()
    try:
        with (
            httpx2.Client(transport=transport) as client,
            tracer.start_as_current_span("run", attributes=AGENT),
            tracer.start_as_current_span("chat", attributes=CHAT),
        ):
            client.post("https://api.openai.com/v1/chat/completions", json={"model": "gpt-4o-mini"})
    finally:
        llm_audit.uninstrument()
    agent, call = flushed(calls)

    assert (agent["call_type"], agent["captured_by"]) == ("AGENT", "opentelemetry")
    assert (call["captured_by"], call["parent_call_id"]) == ("httpx2", agent["_id"])
    assert call["trace_id"] == agent["trace_id"]


def test_traces_are_equal_on_both_sides(provider: TracerProvider, calls: Calls) -> None:
    """A call has its span's trace, also a remote one and one sampled out; a named one wins."""
    tracer = provider.get_tracer("test")
    remote = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1))
    inside_remote = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    silent = TracerProvider(sampler=ALWAYS_OFF).get_tracer("silent")
    expected = []
    tracer.start_span("chat", attributes=CHAT, context=inside_remote).end()
    expected.append(f"{7:032x}")
    with silent.start_as_current_span("silent") as span:
        LLMLogger.start(model="m")
        expected.append(f"{span.get_span_context().trace_id:032x}")
    with audit_context(), tracer.start_as_current_span("request") as span:
        LLMLogger.start(model="m")
        with audit_context(tags=["inner"]):
            tracer.start_span("chat", attributes=CHAT).end()
        expected += [f"{span.get_span_context().trace_id:032x}"] * 2
    with audit_context(trace_id="mine"), tracer.start_as_current_span("request"):
        LLMLogger.start(model="m")
        tracer.start_span("chat", attributes=CHAT).end()
        expected += ["mine"] * 2

    assert [call["trace_id"] for call in flushed(calls)] == expected


def test_attributes_that_are_missing_are_told(tracer: trace.Tracer, calls: Calls) -> None:
    """OpenTelemetry keeps 128 of a span: what is in one text is whole, what is numbered is cut."""
    with tracer.start_as_current_span("chat", attributes=CHAT) as span:
        span.set_attributes({f"llm.input_messages.{n}.message.role": "user" for n in range(200)})
        span.set_attributes(ANSWERED)
    (call,) = flushed(calls)

    dropped = call["span"]["dropped_attributes"]
    assert 0 < len(call["messages"]) < 200
    assert call["encoding_notes"] == [f"span: {dropped} attributes are missing"]


def test_a_processor_never_raises(
    tracer: trace.Tracer, recording: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours is logged, and the app's span goes on."""
    recording(strict=False)
    monkeypatch.setattr("llm_audit.otel.processor.kind_of", lambda _: 1 / 0)
    with tracer.start_as_current_span("chat", attributes=CHAT) as span:
        pass

    assert span.end_time


@pytest.fixture
def exporter(recording: Any) -> InMemorySpanExporter:  # noqa: ARG001
    return InMemorySpanExporter()


def answer() -> None:
    with audit_context(session_id="s", user_id="u"):
        call_id = LLMLogger.start(
            provider="mistral",
            model="mistral-small",
            messages=[{"role": "user", "content": "Hello"}],
            system_prompt="Be short.",
            temperature=0.5,
            seed=7,
        )
        LLMLogger.complete(
            call_id,
            response_message={"role": "assistant", "content": "Grüezi."},
            tokens={"prompt_tokens": 20, "completion_tokens": 5},
            finish_reason="stop",
            time_to_first_token_ms=250.0,
        )


def test_records_become_spans(exporter: InMemorySpanExporter) -> None:
    """Named as the conventions have it, without content unless that is asked for."""
    emitter = emit_spans(exporter)
    answer()
    emitter.stop()
    with_content = InMemorySpanExporter()
    emitter = emit_spans(with_content, content=True)
    answer()
    emitter.stop()
    (bare,), (whole,) = exporter.get_finished_spans(), with_content.get_finished_spans()

    assert (bare.name, bare.kind) == ("chat mistral-small", trace.SpanKind.CLIENT)
    assert bare.status.status_code is trace.StatusCode.UNSET
    said = {name for name, value in (bare.attributes or {}).items() if "Hello" in str(value)}
    assert said == set()
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.model": "mistral-small",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.conversation.id": "s",
        "user.id": "u",
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.25,
    }
    found = dict(bare.attributes or {})
    assert {name: found.get(name) for name in expected} == expected
    content = dict(whole.attributes or {})
    assert content["gen_ai.input.messages"] == (
        '[{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]'
    )
    assert "Grüezi." in content["gen_ai.output.messages"]
    assert "Be short." in content["gen_ai.system_instructions"]


def test_spans_of_records_are_in_the_apps_trace(
    tracer: trace.Tracer, exporter: InMemorySpanExporter
) -> None:
    """Below the span around the call, or below its parent call; none where the trace has none."""
    emitter = emit_spans(exporter)
    silent = TracerProvider(sampler=ALWAYS_OFF).get_tracer("silent")
    agent_call = LLMLogger.log_call(call_type="AGENT", model="forecaster")
    with tracer.start_as_current_span("request") as request, agent_call as agent_id:
        answer()
        LLMLogger.complete(agent_id, response_message={"role": "assistant", "content": "x"})
    with silent.start_as_current_span("request"):
        answer()
    with audit_context(trace_id="mine"):
        answer()
        answer()
    emitter.stop()
    spans = exporter.get_finished_spans()
    child, agent, *mine = spans
    outer = request.get_span_context()

    assert len(spans) == 4
    assert {child.context.trace_id, agent.context.trace_id} == {outer.trace_id}
    assert (agent.name, agent.kind) == ("invoke_agent forecaster", trace.SpanKind.INTERNAL)
    assert agent.parent.span_id == outer.span_id
    assert child.parent.span_id == agent.context.span_id
    assert len({span.context.trace_id for span in mine}) == 1
    assert {(span.attributes or {})["llm_audit.trace_id"] for span in mine} == {"mine"}


def test_failures_are_spans_with_an_error(exporter: InMemorySpanExporter) -> None:
    """What was left open when the process ends has one, too; the text of an error is content."""
    emitter = emit_spans(exporter)
    LLMLogger.fail(LLMLogger.start(model="m"), ValueError("secret thing"))
    LLMLogger.start(model="m")
    LLMLogger.end_open_calls(None, ended_by="process_exit")
    emitter.stop()
    failed, left = exporter.get_finished_spans()

    assert failed.status.status_code is left.status.status_code is trace.StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "ValueError"
    assert failed.status.description == "exception"
    assert left.status.description == "process_exit"


def test_there_is_no_loop(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """A call that a span told of makes no span, and a span that a record made no call."""
    emitter = emit_spans(exporter)
    provider.get_tracer("test").start_span("chat", attributes=CHAT).end()
    answer()
    emitter.stop()
    (made,) = exporter.get_finished_spans()
    before = (llm_audit.stats() or {})["recorded"]
    again = provider.get_tracer("again").start_span(made.name, attributes=made.attributes)
    again.end()

    assert llm_audit.stats()["recorded"] == before


class _Failing(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002
        raise OSError

    def shutdown(self) -> None:
        """Do nothing."""


def test_an_exporter_that_fails_costs_spans_only(
    recording: Callable[..., Any], calls: Calls
) -> None:
    """They are counted; MongoDB has the calls."""
    recording(strict=False)
    emitter = emit_spans(_Failing)
    answer()
    until(emitter.flush)
    emitter.stop()

    assert (emitter.exported, emitter.dropped) == (0, 1)
    assert len(flushed(calls)) == 1


def test_spans_come_while_mongodb_is_away(
    recording: Callable[..., Any], exporter: InMemorySpanExporter
) -> None:
    """They are made of what is on disk here."""
    recording(mongo_url="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1")
    emitter = emit_spans(exporter)
    answer()
    until(exporter.get_finished_spans)
    emitter.stop()
    llm_audit.shutdown(timeout_seconds=0)

    assert _names(exporter.get_finished_spans()) == ["chat mistral-small"]


def _names(spans: tuple[ReadableSpan, ...]) -> list[str]:
    return [span.name for span in spans]
