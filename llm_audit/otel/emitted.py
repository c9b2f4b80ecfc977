"""What a span says that is made of a record: names, attributes, ids and times. No SDK is needed.

The names are those of the current semantic conventions for GenAI, as strings of our own: those of
the package `opentelemetry-semantic-conventions` are deprecated there, because they have moved.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.errors import let_through
from llm_audit.otel.spans.names import CALL_ID, PROVIDERS_IN_SPANS
from llm_audit.providers.messages import Part, read_messages

_HEX_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)
_OPERATIONS = {
    LLMCallTypeEnum.COMPLETION: "text_completion",
    LLMCallTypeEnum.EMBEDDING: "embeddings",
    LLMCallTypeEnum.TOOL_EXECUTION: "execute_tool",
    LLMCallTypeEnum.AGENT: "invoke_agent",
}
_STEPS = frozenset({LLMCallTypeEnum.TOOL_EXECUTION, LLMCallTypeEnum.AGENT})
_OF_START = {
    "model": "gen_ai.request.model",
    "temperature": "gen_ai.request.temperature",
    "max_tokens": "gen_ai.request.max_tokens",
    "session_id": "gen_ai.conversation.id",
    "user_id": "user.id",
    "task_id": "llm_audit.task_id",
    "company_id": "llm_audit.company_id",
    "review_id": "llm_audit.review_id",
    "call_type": "llm_audit.call_type",
    "tags": "llm_audit.tags",
}
_OF_PARAMS = {
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "stop": "gen_ai.request.stop_sequences",
    "stop_sequences": "gen_ai.request.stop_sequences",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "n": "gen_ai.request.choice.count",
}
_OF_OUTCOME = {
    "response_model": "gen_ai.response.model",
    "response_id": "gen_ai.response.id",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "streamed": "gen_ai.request.stream",
    "http_status": "http.response.status_code",
    "estimated_cost": "llm_audit.estimated_cost",
    "ended_by": "llm_audit.ended_by",
    "status": "llm_audit.status",
}
_PLAIN = (str, bool, int, float)


class Started(NamedTuple):
    """What is kept of a start until its call ends.

    Attributes:
        trace_id: 128 bits.
        span_id: 64 bits.
        parent_span_id: 64 bits, of the call that caused it; 0 for none.
    """

    name: str
    trace_id: int
    span_id: int
    parent_span_id: int
    is_step: bool
    attributes: dict[str, Any]


class Ended(NamedTuple):
    """What is added when it has ended.

    Attributes:
        failure: Why, of one that did not succeed; None of one that did.
    """

    attributes: dict[str, Any]
    latency_ms: float
    failure: str | None


def started(call_id: str, fields: Mapping[str, Any], *, content: bool) -> Started:
    """Return what a span says of a call's start.

    Args:
        call_id: The call.
        fields: As they are in the document.
        content: Whether also what was said.
    """
    call_type = fields.get("call_type") or LLMCallTypeEnum.CHAT
    operation = _OPERATIONS.get(call_type, "chat")
    attributes: dict[str, Any] = {CALL_ID: call_id, "gen_ai.operation.name": operation}
    attributes |= _renamed(fields, _OF_START)
    attributes |= _renamed(fields.get("request_params") or {}, _OF_PARAMS)
    model = attributes.get("gen_ai.request.model")
    if call_type in _STEPS:
        named = "gen_ai.tool.name" if operation == "execute_tool" else "gen_ai.agent.name"
        if model := attributes.pop("gen_ai.request.model", None):
            attributes[named] = model
    provider = fields.get("provider")
    if isinstance(provider, str) and call_type not in _STEPS:
        attributes["gen_ai.provider.name"] = PROVIDERS_IN_SPANS.get(provider, provider)
    attributes |= _server(fields.get("endpoint"))
    if content:
        attributes |= _asked(fields)
    trace = str(fields.get("trace_id") or call_id)
    trace_id = trace_id_of(trace)
    if f"{trace_id:032x}" != trace:
        attributes["llm_audit.trace_id"] = trace
    parent = fields.get("parent_call_id")
    return Started(
        f"{operation} {model}" if model else operation,
        trace_id,
        span_id_of(call_id),
        span_id_of(parent) if isinstance(parent, str) else 0,
        call_type in _STEPS,
        attributes,
    )


def ended(fields: Mapping[str, Any], *, content: bool) -> Ended:
    """Return what a span says of how a call ended; the parameters are as of `started`."""
    attributes = _renamed(fields, _OF_OUTCOME)
    if isinstance(reason := fields.get("finish_reason"), str):
        attributes["gen_ai.response.finish_reasons"] = [reason]
    if isinstance(first := fields.get("time_to_first_token_ms"), int | float):
        attributes["gen_ai.response.time_to_first_chunk"] = first / 1000
    status = str(fields.get("status"))
    failure = None
    if status != LLMCallStatusEnum.SUCCESS:
        attributes["error.type"] = str(fields.get("error_type") or status.lower())
        told = fields.get("error_message") if content else None  # which may repeat what was said
        failure = str(told or fields.get("ended_by") or status)
    if content:
        attributes |= _answered(fields)
    latency = fields.get("latency_ms")
    return Ended(attributes, latency if isinstance(latency, int | float) else 0.0, failure)


def trace_id_of(trace: str) -> int:
    """Return the 128 bits by which spans know a trace.

    Of a trace that OpenTelemetry named they are the same, of a UUID its own, of any other name its
    hash, so that all calls of a trace are in one.
    """
    if _HEX_TRACE.fullmatch(trace):
        return int(trace, 16)
    return _bits(trace, 128)


def span_id_of(call_id: str) -> int:
    """Return the 64 bits by which a call's span is known, the same wherever it is asked for."""
    return _bits(call_id, 64)


def _bits(name: str, count: int) -> int:
    try:
        found = UUID(name).int % 2**count
    except ValueError as error:
        let_through(error)
        found = 0
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).digest()
    return found or int.from_bytes(digest[: count // 8]) or 1


def _renamed(fields: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for name, renamed in table.items():
        value = fields.get(name)
        if isinstance(value, _PLAIN) and value != "":
            found[renamed] = [value] if renamed.endswith("stop_sequences") else value
        elif isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            found[renamed] = value
    return found


def _server(endpoint: object) -> dict[str, Any]:
    if not isinstance(endpoint, str):
        return {}
    try:
        url = urlsplit(endpoint)
        port = url.port or {"https": 443, "http": 80}.get(url.scheme)
    except ValueError as error:
        let_through(error)
        return {}
    found = {"server.address": url.hostname, "server.port": port}
    return {name: value for name, value in found.items() if value}


def _asked(fields: Mapping[str, Any]) -> dict[str, Any]:
    said = [*_messages(fields.get("messages")), *_messages(fields.get("input"))]
    found: dict[str, Any] = {"gen_ai.input.messages": said}
    system = read_messages(fields.get("system_prompt"), role="system")
    found["gen_ai.system_instructions"] = [_part(part) for part in system]
    found["gen_ai.tool.definitions"] = fields.get("tools")
    return {name: _json(value) for name, value in found.items() if value}


def _answered(fields: Mapping[str, Any]) -> dict[str, Any]:
    choices = [fields.get("response_message"), *(fields.get("other_choices") or ())]
    reason = fields.get("finish_reason")
    beside = {"finish_reason": reason} if isinstance(reason, str) else {}
    said = [
        {**message, **beside}
        for choice in choices
        for message in _messages(choice, role="assistant")
    ]
    return {"gen_ai.output.messages": _json(said)} if said else {}


def _messages(said: object, role: str = "user") -> list[dict[str, Any]]:
    """Return messages as the conventions have them: a role, and its parts."""
    found = []
    for message in said if isinstance(said, list) else [said]:
        parts = read_messages(message, role=role)
        if parts:
            found.append({"role": parts[0].role, "parts": [_part(part) for part in parts]})
    return found


def _part(part: Part) -> dict[str, Any]:
    said = part.model_dump(include={"content", "id", "name", "arguments", "response"})
    return {"type": part.type, **{name: value for name, value in said.items() if value is not None}}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
