"""What `llm-audit export` writes of a call: Extended JSON, CSV, or a chat to fine-tune with."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from llm_audit.cli.json_lines import iso_utc

Call = Mapping[str, Any]

CSV_FIELDS = (
    *("_id", "created_at", "completed_at", "status", "call_type", "provider", "model"),
    *("response_model", "finish_reason", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens", "estimated_cost", "cost_source"),
    *("latency_ms", "time_to_first_token_ms", "trace_id", "session_id", "user_id", "company_id"),
    *("parent_call_id", "review_id", "task_id", "task.name", "task.retries", "task.queue"),
    *("task.worker", "tags", "tools_called", "environment", "service", "error_type"),
    *("error_message", "ended_by", "host", "pid"),
)
_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call")
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_CONTENT_TYPES = frozenset({"text", "image_url", "refusal", "input_audio", "file"})


def extended_json(call: Call) -> str:
    """Return a whole call in MongoDB's relaxed Extended JSON."""
    from bson.json_util import RELAXED_JSON_OPTIONS, dumps

    return str(dumps(call, json_options=RELAXED_JSON_OPTIONS, ensure_ascii=False))


def csv_line(call: Call) -> str:
    """Return the plain fields of a call; line breaks in them become spaces, so a call is a line."""
    return _csv(_csv_value(call, name) for name in CSV_FIELDS)


def fine_tuning_example(call: Call) -> str | None:
    """Return a chat as OpenAI's fine-tuning takes it; None if it is no chat as OpenAI has it."""
    system = call.get("system_prompt")
    messages: list[Any] = [{"role": "system", "content": system}] if system else []
    messages += [*(call.get("messages") or ()), call.get("response_message")]
    if len(messages) < 2 or not all(map(_is_openai, messages)):  # noqa: PLR2004
        return None
    if messages[-1].get("role") != "assistant":
        return None
    example: dict[str, Any] = {
        "messages": [
            {name: message[name] for name in _MESSAGE_FIELDS if message.get(name) is not None}
            for message in messages
        ]
    }
    if tools := call.get("tools"):
        if not all(isinstance(tool, Mapping) for tool in tools):
            return None
        example["tools" if all("function" in tool for tool in tools) else "functions"] = tools
    return json.dumps(example, ensure_ascii=False)


def id_in_json(line: str) -> str:
    """Return the id of the call in a line of Extended JSON.

    Raises:
        ValueError, KeyError, TypeError: It is no such line.
    """
    return str(json.loads(line)["_id"])


def id_in_csv(line: str) -> str | None:
    """Return the id of the call in a line of CSV; None for the header.

    Raises:
        ValueError: It is no such line.
    """
    cells = next(csv.reader([line]), [])
    if len(cells) != len(CSV_FIELDS):
        raise ValueError(line)
    return None if line.rstrip() == CSV_HEADER else cells[0]


def _is_openai(message: Any) -> bool:
    if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(b, Mapping) and b.get("type") in _CONTENT_TYPES for b in content)
    asks = message.get("tool_calls") or message.get("function_call")
    return isinstance(content, str) or (content is None and bool(asks))


def _csv_value(call: Call, name: str) -> object:
    value: Any = call
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, list):
        value = ";".join(map(str, value))
    return " ".join(value.splitlines()) if isinstance(value, str) else value


def _csv(cells: Iterable[object]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(cells)
    return written.getvalue()


CSV_HEADER = _csv(CSV_FIELDS)
