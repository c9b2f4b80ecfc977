"""OpenAI's Responses: the last event has the whole; of a stream broken off it is put together."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, add_text, joined

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
# Where the text of a delta goes, by what its event is of: into the item itself, or into one of the
# item's parts, counted by an index of the event's.
_TEXTS: dict[str, tuple[str, str, str]] = {
    "output_text": ("content", "content_index", "text"),
    "reasoning_text": ("content", "content_index", "text"),
    "refusal": ("content", "content_index", "refusal"),
    "reasoning_summary_text": ("summary", "summary_index", "text"),
    "function_call_arguments": ("", "", "arguments"),
    "mcp_call_arguments": ("", "", "arguments"),
    "custom_tool_call_input": ("", "", "input"),
    "code_interpreter_call_code": ("", "", "code"),
}
_PARTS = {
    "content_part": ("content", "content_index"),
    "reasoning_summary_part": ("summary", "summary_index"),
}


def assemble(events: Iterable[Event]) -> Assembled:
    """Return the response that events make."""
    response: dict[str, Any] = {}
    output: dict[int, dict[str, Any]] = {}
    complete, error = False, None
    for name, data in events:
        if not isinstance(data, dict):
            continue
        kind = str(data.get("type") or name)
        if isinstance(whole := data.get("response"), dict):
            response = whole
            complete = complete or kind in _LAST
        elif kind == "error" or "error" in data:
            error = data.get("error") or data
        else:
            _add(output, kind.removeprefix("response."), data)
    if output and not (complete and response.get("output")):
        items = [joined(output[index]) for index in sorted(output)]
        response = {**response, "output": items}
    return Assembled(response, complete=complete, finished=complete, error=error)


def _add(output: dict[int, dict[str, Any]], kind: str, data: Mapping[str, Any]) -> None:
    """Add what an event says to the item that it is of."""
    of, _, what = kind.rpartition(".")
    place = _number(data, "output_index")
    if of == "output_item" and isinstance(item := data.get("item"), dict):
        output[place] = dict(item)
    elif of in _PARTS and isinstance(part := data.get("part"), dict):
        name, index = _PARTS[of]
        own = _part(output.setdefault(place, {}), name, _number(data, index))
        own.clear()
        own.update(part)
    elif of == "output_text.annotation" and "annotation" in data:
        own = _part(output.setdefault(place, {}), "content", _number(data, "content_index"))
        add_item(own, "annotations", data["annotation"])
    elif of in _TEXTS and what in {"delta", "done"}:
        name, index, text = _TEXTS[of]
        own = output.setdefault(place, {})
        if name:
            own = _part(own, name, _number(data, index))
        if what == "delta":
            add_text(own, text, data.get("delta"))
        elif isinstance(data.get(text), str):
            own[text] = data[text]


def _part(item: dict[str, Any], name: str, index: int) -> dict[str, Any]:
    """Return the part of an item; where the pieces before it were missed, the next one."""
    parts = item.get(name)
    if not isinstance(parts, list):
        parts = item[name] = []
    if index >= len(parts) or not isinstance(parts[index], dict):
        parts.append({})
        index = len(parts) - 1
    found: dict[str, Any] = parts[index]
    return found


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if type(value) is int and value >= 0 else 0
