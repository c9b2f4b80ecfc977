"""What is compared: llm-audit, OpenTelemetry's batch processor, and writes as made by hand."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import bson
import pymongo
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from pymongo.collection import Collection
from uuid_utils import uuid7

import llm_audit
from benchmarks.sample import ANSWER, REQUEST, USAGE
from llm_audit import LLMLogger
from llm_audit.store.ensure import ensure
from llm_audit.store.indexes import call_indexes

RecordCall = Callable[[], None]
Recorder = Callable[[str, Path], AbstractContextManager[RecordCall]]
CONCERN = pymongo.WriteConcern(w="majority", j=True)


def fresh_collection(url: str, name: str) -> Collection[dict[str, Any]]:
    """Make a collection as llm-audit makes it, with the same indexes and write concern."""
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(url)
    client.drop_database(name)
    ensure(client[name], "llm_calls", call_indexes())
    return client[name].get_collection("llm_calls", write_concern=CONCERN)


def document() -> dict[str, Any]:
    """Return a whole call as a document, for the floor: nothing but the insert."""
    return {
        "_id": str(uuid7()),
        **REQUEST,
        "call_type": "CHAT",
        "status": "SUCCESS",
        "trace_id": "0190f7a2-0000-7000-8000-000000000003",
        "response_message": ANSWER,
        **USAGE,
        "latency_ms": 1.0,
        "estimated_cost": 0.0027,
    }


def record_with_llm_audit() -> None:
    """Record a call as a user of this library does."""
    call_id = LLMLogger.start(call_type="CHAT", **REQUEST)
    LLMLogger.complete(call_id, response_message=ANSWER, tokens=USAGE, finish_reason="stop")


@contextmanager
def llm_audit_recorder(url: str, folder: Path, **settings: Any) -> Iterator[RecordCall]:
    """llm-audit: on disk when the call returns, shipped by its thread if not set otherwise."""
    fresh_collection(url, "bench_llm_audit").database.client.close()
    llm_audit.configure(mongo_url=url, database="bench_llm_audit", spool_dir=folder, **settings)
    yield record_with_llm_audit
    if not llm_audit.shutdown(timeout_seconds=120):
        raise RuntimeError("not everything arrived")


class _EncodeOnly(SpanExporter):
    """Encodes for the wire and sends nothing, which flatters OpenTelemetry."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


@contextmanager
def opentelemetry_recorder(_: str, __: Path) -> Iterator[RecordCall]:
    """OpenTelemetry's batch processor, with the attributes of its GenAI conventions."""
    exporter = _EncodeOnly()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("benchmark")

    def record() -> None:
        span = tracer.start_span("chat gpt-4o")
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("gen_ai.provider.name", REQUEST["provider"])
        span.set_attribute("gen_ai.request.model", REQUEST["model"])
        span.set_attribute("gen_ai.request.temperature", REQUEST["temperature"])
        span.set_attribute("gen_ai.request.max_tokens", REQUEST["max_tokens"])
        span.set_attribute("gen_ai.system_instructions", REQUEST["system_prompt"])
        span.set_attribute("gen_ai.input.messages", json.dumps(REQUEST["messages"]))
        span.set_attribute("gen_ai.tool.definitions", json.dumps(REQUEST["tools"]))
        span.set_attribute("session.id", REQUEST["session_id"])
        span.set_attribute("user.id", REQUEST["user_id"])
        span.set_attribute("gen_ai.output.messages", json.dumps([ANSWER]))
        span.set_attribute("gen_ai.usage.input_tokens", USAGE["prompt_tokens"])
        span.set_attribute("gen_ai.usage.output_tokens", USAGE["completion_tokens"])
        span.set_attribute("gen_ai.response.finish_reasons", ["stop"])
        span.end()

    yield record
    provider.shutdown()


@contextmanager
def by_hand_recorder(url: str, _: Path) -> Iterator[RecordCall]:
    """insert_one at the start and update_one at the end, as people write it by hand."""
    collection = fresh_collection(url, "bench_by_hand")

    def record() -> None:
        call_id = str(uuid7())
        collection.insert_one({"_id": call_id, **REQUEST, "status": "PENDING"})
        outcome = {"response_message": ANSWER, **USAGE, "status": "SUCCESS"}
        collection.update_one({"_id": call_id}, {"$set": outcome})

    yield record
    collection.database.client.close()


RECORDERS: dict[str, Recorder] = {
    "llm-audit": llm_audit_recorder,
    "OpenTelemetry batch processor": opentelemetry_recorder,
    "insert_one + update_one": by_hand_recorder,
}


def insert_many(url: str, calls: int) -> tuple[float, float]:
    """Insert whole documents in batches: the floor; return seconds and CPU seconds."""
    collection = fresh_collection(url, "bench_floor")
    result = insert_batches(collection, [document() for _ in range(calls)])
    collection.database.client.close()
    return result


def insert_batches(
    collection: Collection[dict[str, Any]], documents: list[dict[str, Any]], batch: int = 500
) -> tuple[float, float]:
    """Insert documents that are there already; return seconds and CPU seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(documents), batch):
        collection.insert_many(documents[first : first + batch], ordered=False)
    return time.perf_counter() - began, time.process_time() - cpu


def document_bytes() -> int:
    """Return the size of the sample as BSON."""
    return len(bson.encode(document()))
