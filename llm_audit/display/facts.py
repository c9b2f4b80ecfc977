"""What is known of a call beside what was said in it, as short lines: a name and words."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from llm_audit.call import LLMCallStatusEnum
from llm_audit.display import figures
from llm_audit.queries.steps import Document

_FACTS = {
    "trace": "trace_id",
    "session": "session_id",
    "user": "user_id",
    "company": "company_id",
    "parent call": "parent_call_id",
    "review": "review_id",
    "environment": "environment",
    "service": "service",
    "content": "content",
    "captured by": "captured_by",
    "endpoint": "endpoint",
    "response id": "response_id",
    "finish reason": "finish_reason",
    "ended by": "ended_by",
    "HTTP status": "http_status",
    "provider's request": "provider_request_id",
}
# What is drawn whole; whatever else is stored is left over, see `rest`.
DRAWN = frozenset(
    {
        *("_id", "id", "call_type", "status", "provider", "model", "response_model", "task_id"),
        *("created_at", "latency_ms", "time_to_first_token_ms", "estimated_cost", "cost_source"),
        *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
        *("temperature", "max_tokens", "tool_choice", "metadata", "request_params", "tags"),
        *("error_type", "error_message", "error_traceback", "encoding_notes"),
        "redacted",
        *_FACTS.values(),
    }
)

_PARAMETER = re.compile("[a-z0-9]+(_[a-z0-9]+)*", re.IGNORECASE)

_OURS = frozenset(
    {
        *("id", "task", "tags", "score", "temperature", "max_tokens", "tool_choice", "metadata"),
        *("model", "started", "took", "tokens", "cost", "parts", "redacted", *_FACTS),
    }
)

_NAMES_OF_TOOLS = ("function", "custom", "toolSpec")


def facts_of(call: Document) -> Iterator[tuple[str, object]]:
    """Yield what is known of a call beside what was said, each with its name, in order.

    Args:
        call: As `LLMCall.model_dump` gives it.
    """
    yield "id", call["id"]
    yield from _measures(call)
    task = call.get("task") or {}
    if call.get("task_id"):
        retries = task.get("retries")
        attempt = f", attempt {retries + 1}" if isinstance(retries, int) else ""
        yield "task", f"{task.get('name') or ''} {call['task_id']}{attempt}".strip()
    for name, stored in _FACTS.items():
        if call.get(stored) is not None:
            yield name, call[stored]
    if call.get("redacted"):
        yield "redacted", ", ".join(f"{rule} {n}" for rule, n in sorted(call["redacted"].items()))
    if call.get("tags"):
        yield "tags", ", ".join(map(str, call["tags"]))
    for score in call.get("scores") or ():
        source = f" ({score['source']})" if score["source"] else ""
        comment = f": {score['comment']}" if score["comment"] else ""
        yield "score", f"{score['name']} {score['value']}{source}{comment}"
    yield from _asked(call)
    if offered := [tool_name(tool) for tool in call.get("tools") or ()]:
        yield "tools offered", ", ".join(offered)


def _measures(call: Document) -> Iterator[tuple[str, object]]:
    model = " ".join(str(call[name]) for name in ("provider", "model") if call.get(name))
    if answered_by := call.get("response_model"):
        model += f" (answered by {answered_by})" if answered_by != call.get("model") else ""
    if model:
        yield "model", model
    if isinstance(created := call.get("created_at"), datetime):
        yield "started", f"{created.astimezone():%Y-%m-%d %H:%M:%S %Z}"
        if call.get("status") == LLMCallStatusEnum.PENDING:
            so_far = (datetime.now(UTC) - created) / timedelta(milliseconds=1)
            yield "running for", figures.duration(max(so_far, 0))
    if call.get("latency_ms") is not None:
        first = call.get("time_to_first_token_ms")
        after = f", first token after {figures.duration(first)}" if first is not None else ""
        yield "took", f"{figures.duration(call['latency_ms'])}{after}"
    if tokens := _tokens(call):
        yield "tokens", tokens
    if call.get("estimated_cost") is not None:
        source = f" ({call['cost_source']})" if call.get("cost_source") else ""
        yield "cost", f"{figures.money(call['estimated_cost'])}{source}"
    if parts := _parts_of_the_cost(call):
        yield "parts", parts


def _asked(call: Document) -> Iterator[tuple[str, str]]:
    """Yield how it was asked: parameters as whoever asked named them, but not as one of ours."""
    for name in ("temperature", "max_tokens", "tool_choice", "metadata"):
        if (value := call.get(name)) not in (None, {}):
            yield name, _value(value)
    for name, value in (call.get("request_params") or {}).items():
        if value not in (None, {}):
            is_usual = _PARAMETER.fullmatch(name) and name not in _OURS
            yield name if is_usual else f"request_params.{json.dumps(name)}", _value(value)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _tokens(call: Document) -> str:
    whole = {"prompt_tokens": "in", "completion_tokens": "out"}  # shown where it is 0, too
    parts_of_them = {"cached_tokens": "of them cached", "reasoning_tokens": "of them reasoning"}
    order = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    return ", ".join(
        f"{figures.number(call[stored])} {whole.get(stored) or parts_of_them[stored]}"
        for stored in order
        if call.get(stored) or (stored in whole and call.get(stored) is not None)
    )


def _parts_of_the_cost(call: Document) -> str:
    details = call.get("cost_details")
    numbers = details.items() if isinstance(details, dict) else ()
    parts = {name: usd for name, usd in numbers if isinstance(usd, int | float) and usd}
    if len(parts) < 2:  # noqa: PLR2004 - one part is the whole
        return ""
    return ", ".join(f"{name} {figures.money(usd)}" for name, usd in parts.items())


def tool_name(tool: Any) -> str:
    """Return what a tool that was offered is called, in any provider's shape."""
    if not isinstance(tool, Mapping):
        return "?"
    inner = next((tool[n] for n in _NAMES_OF_TOOLS if isinstance(tool.get(n), Mapping)), tool)
    declared = tool.get("functionDeclarations") or tool.get("function_declarations") or ()
    names = [str(each.get("name")) for each in declared if isinstance(each, Mapping)]
    return ", ".join(names) or str(inner.get("name") or tool.get("type") or ", ".join(tool))
