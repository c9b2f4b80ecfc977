"""Records every LLM call as one MongoDB document, tagged with the Celery task that made it.

    import llm_audit
    from llm_audit import LLMCallTypeEnum, LLMLogger

Nothing is imported, configured or connected before it is used. So `dir(llm_audit)` names what is
loaded, and `llm_audit.__all__` what there is: tools that list a module also read what they list.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_audit.background import record_result
    from llm_audit.batches import record_batch
    from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
    from llm_audit.capture.instrument import instrument, uninstrument
    from llm_audit.configuring import configure
    from llm_audit.context import audit_context, carry_context
    from llm_audit.database import init
    from llm_audit.decorators import audited
    from llm_audit.diagnosis.doctor import doctor
    from llm_audit.documents import LLMCall
    from llm_audit.errors import (
        ConfigurationError,
        LLMAuditError,
        NotInitializedError,
        TookTooLongError,
        UnavailableError,
        UsageError,
    )
    from llm_audit.helpers import (
        log_chat,
        log_classification,
        log_embedding,
        log_extraction,
        log_moderation,
        log_rag_query,
        log_rag_synthesis,
        log_sentiment_analysis,
        log_summarization,
        log_translation,
    )
    from llm_audit.lifecycle import (
        flush,
        lifespan,
        recover,
        retry_rejected,
        shutdown,
        stats,
    )
    from llm_audit.logger import LLMLogger
    from llm_audit.providers.whole import response_of
    from llm_audit.queries import pipelines
    from llm_audit.queries.repository import LLMCallRepository, SyncLLMCallRepository
    from llm_audit.wire.requests import request_of

__version__ = "0.1.0"

__all__ = [
    "ConfigurationError",
    "LLMAuditError",
    "LLMCall",
    "LLMCallRepository",
    "LLMCallStatusEnum",
    "LLMCallTypeEnum",
    "LLMLogger",
    "NotInitializedError",
    "SyncLLMCallRepository",
    "TookTooLongError",
    "UnavailableError",
    "UsageError",
    "audit_context",
    "audited",
    "carry_context",
    "configure",
    "doctor",
    "flush",
    "init",
    "instrument",
    "lifespan",
    "log_chat",
    "log_classification",
    "log_embedding",
    "log_extraction",
    "log_moderation",
    "log_rag_query",
    "log_rag_synthesis",
    "log_sentiment_analysis",
    "log_summarization",
    "log_translation",
    "pipelines",
    "record_batch",
    "record_result",
    "recover",
    "request_of",
    "response_of",
    "retry_rejected",
    "shutdown",
    "stats",
    "uninstrument",
]

_HOMES = {
    "llm_audit.background": ("record_result",),
    "llm_audit.batches": ("record_batch",),
    "llm_audit.decorators": ("audited",),
    "llm_audit.call": ("LLMCallStatusEnum", "LLMCallTypeEnum"),
    "llm_audit.capture.instrument": ("instrument", "uninstrument"),
    "llm_audit.configuring": ("configure",),
    "llm_audit.context": ("audit_context", "carry_context"),
    "llm_audit.database": ("init",),
    "llm_audit.diagnosis.doctor": ("doctor",),
    "llm_audit.documents": ("LLMCall",),
    "llm_audit.errors": (
        "ConfigurationError",
        "LLMAuditError",
        "NotInitializedError",
        "TookTooLongError",
        "UnavailableError",
        "UsageError",
    ),
    "llm_audit.helpers": tuple(name for name in __all__ if name.startswith("log_")),
    "llm_audit.lifecycle": (
        "flush",
        "lifespan",
        "recover",
        "retry_rejected",
        "shutdown",
        "stats",
    ),
    "llm_audit.logger": ("LLMLogger",),
    "llm_audit.providers.whole": ("response_of",),
    "llm_audit.queries.repository": ("LLMCallRepository", "SyncLLMCallRepository"),
    "llm_audit.wire.requests": ("request_of",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    value: Any
    if name == "pipelines":
        value = import_module("llm_audit.queries.pipelines")
    elif name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module 'llm_audit' has no attribute {name!r}")
    globals()[name] = value
    return value
