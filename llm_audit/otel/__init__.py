"""OpenTelemetry, both ways: spans of LLM calls become records, and records become spans.

    provider.add_span_processor(llm_audit.otel.LLMAuditSpanProcessor())   # spans -> records
    llm_audit.otel.emit_spans(OTLPSpanExporter())                         # records -> spans

`spans` reads spans and needs no SDK; the other modules need the extra `otel`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_audit.otel.emitter import emit_spans
    from llm_audit.otel.processor import LLMAuditSpanProcessor

__all__ = ["LLMAuditSpanProcessor", "emit_spans"]

_HOME_OF = {
    "LLMAuditSpanProcessor": "llm_audit.otel.processor",
    "emit_spans": "llm_audit.otel.emitter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'llm_audit.otel' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
