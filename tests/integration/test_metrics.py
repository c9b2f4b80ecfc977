"""The figures for Prometheus are those of what was really recorded and shipped."""

from typing import Any

import pytest
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger

prometheus = pytest.importorskip("prometheus_client")

from llm_audit.metrics import RecordingCollector  # noqa: E402


def of_service(registry: Any, service: str) -> dict[str, float]:
    return {
        sample.name.removeprefix("llm_audit_"): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.labels == {"service": service}
    }


def test_a_process_that_records_offers_its_own_figures(recording: Recording, calls: Calls) -> None:
    """Beside those of the app: what arrived, what MongoDB refused, and nothing of before."""
    recording(service="reviews")
    registry = prometheus.CollectorRegistry()
    registry.register(RecordingCollector())
    assert of_service(registry, "reviews") == {}
    calls.database.create_collection(calls.name, validator={"model": {"$ne": "refused"}})

    for model in ("m", "refused"):
        call_id = LLMLogger.start(model=model, messages=[])
        LLMLogger.complete(call_id, response_message={"content": "x"})
        llm_audit.flush(PATIENCE)

    found = of_service(registry, "reviews")
    assert found.pop("refused_total") >= 1
    assert found == {
        "recorded_total": 4,
        "shipped_total": 4,
        "dropped_total": 0,
        "backlog_bytes": llm_audit.stats()["backlog_bytes"],
        "oldest_seconds": 0,
    }
