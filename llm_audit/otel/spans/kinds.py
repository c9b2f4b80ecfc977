"""Which spans are LLM calls, and which are the steps of an agent around them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from llm_audit.call import LLMCallTypeEnum
from llm_audit.otel.spans import names


class Kind(NamedTuple):
    """What a span is.

    Attributes:
        call_type: Of its record.
        is_step: Whether it is an agent, a tool or a workflow, and no request to a model.
    """

    call_type: LLMCallTypeEnum
    is_step: bool = False

    @property
    def is_embedding(self) -> bool:
        """Whether it is an embedding."""
        return self.call_type == LLMCallTypeEnum.EMBEDDING


CHAT = Kind(LLMCallTypeEnum.CHAT)
COMPLETION = Kind(LLMCallTypeEnum.COMPLETION)
EMBEDDING = Kind(LLMCallTypeEnum.EMBEDDING)
AGENT = Kind(LLMCallTypeEnum.AGENT, is_step=True)
TOOL = Kind(LLMCallTypeEnum.TOOL_EXECUTION, is_step=True)

_OPERATIONS: dict[str, Kind | None] = {
    **dict.fromkeys(("chat", "generate_content", "responses", "messages", "invoke_model"), CHAT),
    **dict.fromkeys(("text_completion", "completion", "completions"), COMPLETION),
    **dict.fromkeys(("embeddings", "embedding", "embed"), EMBEDDING),
    **dict.fromkeys(("invoke_agent", "invoke_workflow"), AGENT),
    "execute_tool": TOOL,
}
_KINDS: dict[str, Kind | None] = {
    # OpenInference, langfuse
    **dict.fromkeys(("llm", "generation"), CHAT),
    # langfuse and OpenInference; Traceloop's request types
    **_OPERATIONS,
    **dict.fromkeys(("agent", "chain", "workflow", "task"), AGENT),
    "tool": TOOL,
}
_PSEUDO = ("pending_span",)  # logfire's, of a span that is still to come


def kind_of(attributes: Mapping[str, Any]) -> Kind | None:
    """Return what a span is, as far as its attributes say so by now; None if it is no call.

    Nor is one that was made of a record: it must not become another.
    """
    if attributes.get("logfire.span_type") in _PSEUDO or names.CALL_ID in attributes:
        return None
    operation = names.first(attributes, names.OPERATION)
    if operation is not None:
        return _OPERATIONS.get(_word(operation))
    for name in names.SPAN_KIND:
        if (said := attributes.get(name)) is not None:
            return _KINDS.get(_word(said))
    model = names.first(attributes, names.REQUEST_MODEL)
    provider = names.first(attributes, names.PROVIDER[:2])
    return CHAT if model is not None and provider is not None else None


def goes_on(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a span is the rest of one that has ended: logfire's, once a stream is over."""
    return attributes.get("logfire.span_type") == "log"


def _word(value: object) -> str:
    return value.lower() if isinstance(value, str) else ""
