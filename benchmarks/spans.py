"""What spans cost the thread that makes the call: `python -m benchmarks.spans`.

Spans into records: a span with and without our processor, beside OpenTelemetry's own batch
processor. Records into spans: start and complete with and without `emit_spans`. In random order,
each with the median of its rounds.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_audit import LLMLogger
from llm_audit.otel import LLMAuditSpanProcessor, emit_spans
from llm_audit.testing.records import recorded_nowhere

ROUNDS = 2_000
MESSAGES = [{"role": "user", "content": "Write a story. " * 100}]
PARTS = '[{"role": "user", "parts": [{"type": "text", "content": "%s"}]}]'
AT_START = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
}
AT_END = {
    "gen_ai.input.messages": PARTS % ("Write a story. " * 100),
    "gen_ai.output.messages": PARTS % ("Once upon a time. " * 100),
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 400,
    "gen_ai.usage.output_tokens": 500,
}


def spans_through(*processors: object) -> Callable[[], None]:
    """Return what makes a span that goes through these processors."""
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)  # type: ignore[arg-type]
    tracer = provider.get_tracer("benchmark")

    def make() -> None:
        span = tracer.start_span("chat gpt-4o-mini", attributes=AT_START)
        span.set_attributes(AT_END)
        span.end()

    return make


def call() -> None:
    """Record a call by hand."""
    call_id = LLMLogger.start(provider="openai", model="gpt-4o-mini", messages=MESSAGES)
    answer = {"role": "assistant", "content": "Once upon a time. " * 100}
    LLMLogger.complete(call_id, response_message=answer, finish_reason="stop")


def medians(variants: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return the microseconds of CPU that each takes in this thread."""
    taken: dict[str, list[int]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name in random.sample(list(variants), len(variants)):
            began = time.thread_time_ns()
            variants[name]()
            taken[name].append(time.thread_time_ns() - began)
    return {name: statistics.median(times) / 1000 for name, times in taken.items()}


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder, recorded_nowhere(Path(folder)):
        call()
        variants = {
            "a span, no processor": spans_through(),
            "a span, BatchSpanProcessor": spans_through(BatchSpanProcessor(InMemorySpanExporter())),
            "a span, LLMAuditSpanProcessor": spans_through(LLMAuditSpanProcessor()),
            "start and complete": call,
        }
        found = medians(variants)
        emitter = emit_spans(InMemorySpanExporter())
        found |= medians({"start and complete, emit_spans": call, "the same again": call})
        emitter.stop()
    for name, microseconds in found.items():
        print(f"{name:32} {microseconds:7.1f} µs")


if __name__ == "__main__":
    main()
