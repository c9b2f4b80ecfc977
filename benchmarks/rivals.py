"""What captures calls of openai's client: llm-audit and others, each set up as its pages say.

Each of them runs in a process of its own, with content recorded and nothing sent anywhere: what is
handed over in the background is thrown away.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

TEXT = "word 0"  # what an answer says


class Seen(NamedTuple):
    """One record, as far as it is compared.

    Attributes:
        text: Whether it holds what was answered.
        end: What it says of the end: ok, error, or what it calls it.
    """

    text: bool
    end: str


Look = Callable[[], list[Seen]]
"""What has been recorded since the last look."""


def nothing() -> Look:
    """Set up nothing."""
    return list


def llm_audit() -> Look:
    """llm-audit, on disk before the request leaves, shipped to a MongoDB of this machine."""
    import llm_audit as library

    library.configure(mongo_url=os.environ["BENCH_URL"], database="bench_capture")
    library.instrument()
    return list


@contextmanager
def llm_audit_read(folder: Path) -> Iterator[Look]:
    """Give llm-audit, with its journal read by each look."""
    import llm_audit as library
    from llm_audit.testing.records import recorded_nowhere

    with recorded_nowhere(folder) as records:
        library.instrument("openai")
        seen = 0

        def look() -> list[Seen]:
            nonlocal seen
            new = records[seen:]
            seen += len(new)
            return [Seen(TEXT in str(call.model_dump()), str(call.status).lower()) for call in new]

        yield look


def _provider() -> tuple[Any, Look]:
    """Return what makes spans, with a processor that exports in the background."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    exporter, look = _exporter()
    processor = BatchSpanProcessor(exporter)
    provider.add_span_processor(processor)

    def flushed() -> list[Seen]:
        processor.force_flush()
        return look()

    return provider, flushed


def _exporter() -> tuple[Any, Look]:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    kept: list[Any] = []
    looks = "BENCH_LOOKS" in os.environ

    class Exporter(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            if looks:
                kept.extend(spans)
            return SpanExportResult.SUCCESS

    def look() -> list[Seen]:
        spans = [Seen(TEXT in span.to_json(), span.status.status_code.name) for span in kept]
        kept.clear()
        return [Seen(text, end.lower()) for text, end in spans]

    return Exporter(), look


def openinference() -> Look:
    """Arize's OpenInference."""
    from openinference.instrumentation.openai import OpenAIInstrumentor

    provider, look = _provider()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    return look


def opentelemetry() -> Look:
    """OpenTelemetry's own instrumentation, with content in its spans."""
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    provider, look = _provider()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    return look


def traceloop() -> Look:
    """Traceloop's OpenLLMetry."""
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    provider, look = _provider()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    return look


def logfire() -> Look:
    """Pydantic's Logfire."""
    import logfire as library
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter, look = _exporter()
    processor = BatchSpanProcessor(exporter)
    library.configure(send_to_logfire=False, console=False, additional_span_processors=[processor])
    library.instrument_openai()

    def flushed() -> list[Seen]:
        processor.force_flush()
        return look()

    return flushed


def langfuse() -> Look:
    """Langfuse's wrapper of openai."""
    os.environ |= {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}
    import langfuse as library

    exporter, look = _exporter()
    client = library.Langfuse(span_exporter=exporter, base_url="http://127.0.0.1:9")
    import langfuse.openai  # noqa: F401 - which wraps openai's methods

    def flushed() -> list[Seen]:
        client.flush()
        return look()

    return flushed


def sentry() -> Look:
    """Sentry's, with prompts."""
    import sentry_sdk
    from sentry_sdk.integrations.openai import OpenAIIntegration

    kept: list[dict[str, Any]] = []

    def take(event: Any, _: Any) -> Any:
        kept.append(event)
        return None  # it goes nowhere

    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        send_default_pii=True,
        integrations=[OpenAIIntegration(include_prompts=True)],
        before_send_transaction=take,
        before_send=lambda _event, _hint: None,
    )

    def look() -> list[Seen]:
        spans = [span for event in kept for span in event.get("spans", ())]
        kept.clear()
        mine = [span for span in spans if str(span.get("op", "")).startswith("gen_ai")]
        return [Seen(TEXT in str(span), str(span.get("status") or "unset")) for span in mine]

    return look


def ddtrace() -> Look:
    """Datadog's, as in its LLM Observability."""
    os.environ |= {
        "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "0",
    }
    os.environ |= {"DD_REMOTE_CONFIGURATION_ENABLED": "0", "DD_TRACE_LOG_STREAM_HANDLER": "0"}
    import logging

    from ddtrace.llmobs import LLMObs

    logging.getLogger("ddtrace").setLevel(logging.CRITICAL)
    kept: list[Any] = []

    def take(span: Any) -> Any:
        kept.append(span)
        return None  # it goes nowhere

    LLMObs.enable(
        ml_app="bench", api_key="key", site="invalid", agentless_enabled=True, span_processor=take
    )

    def look() -> list[Seen]:
        spans = [Seen(TEXT in f"{span.input} {span.output}", "unset") for span in kept]
        kept.clear()
        return spans

    return look


RIVALS: dict[str, Callable[[], Look]] = {
    "nothing": nothing,
    "llm-audit": llm_audit,
    "OpenTelemetry": opentelemetry,
    "OpenInference": openinference,
    "Traceloop": traceloop,
    "Logfire": logfire,
    "Langfuse": langfuse,
    "Sentry": sentry,
    "ddtrace": ddtrace,
}
