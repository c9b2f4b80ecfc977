"""What a framework traces by other tools beside us, or runs in a task, gives the same records."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

agents = pytest.importorskip("langchain.agents")
langchain_openai = pytest.importorskip("langchain_openai")

import celery  # noqa: E402
import langfuse  # noqa: E402
import langsmith  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langfuse.langchain import CallbackHandler  # noqa: E402
from openinference.instrumentation.langchain import LangChainInstrumentor  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)

import celery_hooks  # noqa: E402
from llm_audit.otel import LLMAuditSpanProcessor  # noqa: E402

pytestmark = [pytest.mark.usefixtures("instrumented"), pytest.mark.filterwarnings("ignore")]
QUESTION: Any = {"messages": [{"role": "user", "content": "How is it?"}]}
Beside = Callable[[ExitStack, "_Sink"], tuple[list[Any], Callable[[], int]]]


@tool
def weather(city: str) -> str:
    """Say how the weather is."""
    return f"rain in {city}"


class _Sink(ThreadingHTTPServer):
    """Takes what tracers upload, and counts it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.taken = 0


class _Taker(BaseHTTPRequestHandler):
    server: _Sink

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.taken += 1
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_PATCH = do_POST  # noqa: N815  (its name)


@pytest.fixture
def sink() -> Iterator[_Sink]:
    """Serve for one test."""
    with _Sink() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def with_langsmith(stack: ExitStack, sink: _Sink) -> tuple[list[Any], Callable[[], int]]:
    """LangChain's own."""
    url = f"http://127.0.0.1:{sink.server_port}"
    client = langsmith.Client(url, api_key="none", auto_batch_tracing=False)
    stack.enter_context(langsmith.tracing_context(enabled=True, client=client))
    return [], lambda: sink.taken


def with_openinference(stack: ExitStack, _: _Sink) -> tuple[list[Any], Callable[[], int]]:
    """An instrumentation for OpenTelemetry."""
    return [], _openinference(stack, TracerProvider())


def with_spans_made_calls(stack: ExitStack, _: _Sink) -> tuple[list[Any], Callable[[], int]]:
    """The same, whose spans we read, too: those of captured calls are no calls again."""
    provider = TracerProvider()
    provider.add_span_processor(LLMAuditSpanProcessor())
    return [], _openinference(stack, provider)


def _openinference(stack: ExitStack, provider: Any) -> Callable[[], int]:
    spans = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    stack.callback(instrumentor.uninstrument)
    return lambda: len(spans.get_finished_spans())


def with_langfuse(stack: ExitStack, sink: _Sink) -> tuple[list[Any], Callable[[], int]]:
    """A callback handler."""
    spans = InMemorySpanExporter()
    client = langfuse.Langfuse(
        public_key="none",
        secret_key="none",
        base_url=f"http://127.0.0.1:{sink.server_port}",
        tracer_provider=TracerProvider(),
        span_exporter=spans,
    )
    stack.callback(client.shutdown)

    def count() -> int:
        client.flush()
        return len(spans.get_finished_spans())

    return [CallbackHandler(public_key="none")], count


def shape(calls: Any) -> list[tuple[object, ...]]:
    """Return all of a tree but its times and ids."""
    named = {call.id: call.model for call in calls}
    return [
        (call.call_type, call.model, named.get(call.parent_call_id), call.status, call.captured_by,
         call.messages, call.input, call.response_message, call.total_tokens, call.tags)
        for call in calls
    ]  # fmt: skip


@pytest.mark.parametrize(
    "beside", [with_langsmith, with_openinference, with_spans_made_calls, with_langfuse]
)
async def test_other_tracers_change_nothing(
    beside: Beside, provider_url: str, sink: _Sink, llm_audit_records: RecordedCalls
) -> None:
    """Each call is there once, in its place, whoever else looks at it; and they see theirs."""
    given: Any = {"base_url": provider_url, "api_key": "none", "max_retries": 0}
    model = langchain_openai.ChatOpenAI(model="gpt-4o", **given)
    agent = agents.create_agent(model, [weather], name="forecast")

    def ask(callbacks: list[Any]) -> list[tuple[object, ...]]:
        before = len(llm_audit_records)
        config: Any = {"callbacks": callbacks, "tags": ["beta"]}
        agent.invoke(QUESTION, config)
        assert list(agent.stream(QUESTION, config))
        assert current_context() == CallContext()
        calls = llm_audit_records[before:]
        assert {call.status for call in calls} == {"SUCCESS"}
        return shape(calls)

    alone = ask([])
    assert len(alone) == 8
    with ExitStack() as stack:
        callbacks, seen = beside(stack, sink)
        together = ask(callbacks)
        assert together == alone
        assert seen()


def test_a_tree_hangs_under_its_task(provider_url: str, llm_audit_records: RecordedCalls) -> None:
    """Its calls, its steps, and what is called by hand in it, are of the task, and of one trace."""
    model = langchain_openai.ChatOpenAI(model="gpt-4o", base_url=provider_url, api_key="none")
    app = celery.Celery("frameworks", broker="memory://", backend="cache+memory://")
    celery_hooks.install(app, instrument=True)

    @app.task(name="forecast.today")
    def today() -> None:
        agents.create_agent(model, [weather], name="forecast").invoke(QUESTION)
        model.invoke("hello")

    try:
        task = today.apply()
        task.get()
    finally:
        celery_hooks.uninstall()
    calls = [*llm_audit_records]
    named = {call.id: call.model for call in calls}
    assert [(call.model, named.get(call.parent_call_id)) for call in calls] == [
        ("forecast", None),
        ("gpt-4o", "forecast"),
        ("weather", "forecast"),
        ("gpt-4o", "forecast"),
        ("gpt-4o", None),
    ]
    assert {call.task_id for call in calls} == {task.id}
    assert {call.task.name for call in calls if call.task} == {"forecast.today"}
    assert len({call.trace_id for call in calls}) == 1
