"""Anthropic's Messages: blocks that grow by deltas; and the completions from before them."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, add_text, grow, joined
from llm_audit.wire.event_stream import EXCEPTION
from llm_audit.wire.frames import parsed

_JSON = "partial_json"
_KNOWN = frozenset({"type", "delta", "usage"})
_METRICS = "amazon-bedrock-invocationMetrics"


def assemble(events: Iterable[Event]) -> Assembled:
    """Return the message that events make."""
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    complete, error = False, None
    for name, data in events:
        if isinstance(data, dict):
            kind = str(data.get("type") or name)
            if kind.startswith(EXCEPTION):
                error = {"type": kind.partition(":")[2], **data}
            elif kind == "error":
                error = data.get("error") or data
            elif kind.startswith("content_block_"):
                _add_to_block(blocks, kind, data)
            else:
                complete = _add_to_message(message, kind, data) or complete
    if blocks or "content" in message:
        message["content"] = [_finished(blocks[index]) for index in sorted(blocks)]
    whole: dict[str, Any] = joined(message)
    return Assembled(whole, complete, finished=bool(whole.get("stop_reason")), error=error)


def _add_to_block(blocks: dict[int, dict[str, Any]], kind: str, data: Mapping[str, Any]) -> None:
    block, delta = data.get("content_block"), data.get("delta")
    if kind == "content_block_start" and isinstance(block, dict):
        blocks[_index(data)] = dict(block)
    elif isinstance(delta, dict):
        _add_delta(blocks.setdefault(_index(data), {}), delta)


def _add_to_message(message: dict[str, Any], kind: str, data: Mapping[str, Any]) -> bool:
    """Add what an event says of all the message; return whether it is the last."""
    if kind == "message_start" and isinstance(begun := data.get("message"), dict):
        message.update(begun)
        if isinstance(usage := begun.get("usage"), dict):
            message["usage"] = dict(usage)  # it grows
    elif kind == "message_delta":
        _add_ending(message, data)
    elif kind == "message_stop":
        message.update({name: value for name, value in data.items() if name == _METRICS})
        return True
    elif "completion" in data:
        add_text(message, "completion", data["completion"])
        message.update({name: value for name, value in data.items() if name != "completion"})
        return bool(data.get("stop_reason"))
    return False


def _index(data: Mapping[str, Any]) -> int:
    index = data.get("index")
    return index if type(index) is int else 0


def _add_delta(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    kind = str(delta.get("type"))
    if kind == "citations_delta":
        add_item(block, "citations", delta.get("citation"))
    elif kind in {"signature_delta", "compaction_delta"}:  # these come whole
        block.update({name: value for name, value in delta.items() if name != "type"})
    else:  # text, thinking, input_json, and what comes later
        block.setdefault("type", kind.removesuffix("_delta"))
        grow(block, {name: value for name, value in delta.items() if name != "type"})


def _finished(block: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = joined(block)
    if _JSON in whole:
        text = whole.pop(_JSON)
        try:
            whole["input"] = parsed(text) if text else whole.get("input", {})
        except ValueError:  # broken off, so it stays the text that it is
            whole["input"] = text
    return whole


def _add_ending(message: dict[str, Any], data: Mapping[str, Any]) -> None:
    """Add what is said at the end; counts of tokens are of all, not of what is new."""
    if isinstance(delta := data.get("delta"), dict):
        message.update({k: v for k, v in delta.items() if v is not None or k not in message})
    if isinstance(usage := data.get("usage"), dict):
        counts = message.get("usage")
        if not isinstance(counts, dict):
            counts = message["usage"] = {}
        counts.update({k: v for k, v in usage.items() if v is not None or k not in counts})
    message.update({name: value for name, value in data.items() if name not in _KNOWN})
