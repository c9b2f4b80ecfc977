"""Cohere: chat of version 2, and chat and generate of version 1."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, add_text, fields, grow, joined
from llm_audit.wire.frames import DONE

_LISTS = {"content": "content", "tool-call": "tool_calls", "citation": "citations"}


def assemble_chat(events: Iterable[Event]) -> Assembled:
    """Return the answer that the events of version 2 make."""
    body: dict[str, Any] = {}
    message: dict[str, Any] = {}
    lists: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in _LISTS.values()}
    complete, error = False, None
    for name, data in events:
        if not isinstance(data, dict):
            complete = complete or data == DONE
            continue
        kind = str(data.get("type") or name)
        delta = fields(data.get("delta"))
        if kind == "message-end":
            body.update(delta)
            complete, error = True, delta.get("error") or error
        elif kind in {"error", ""}:
            error = data
        else:
            if kind == "message-start":
                body.update({k: v for k, v in data.items() if k not in {"type", "delta"}})
            _add(message, lists, kind, data.get("index"), fields(delta.get("message")))
    for of, items in lists.items():
        if items:
            message[of] = [joined(items[index]) for index in sorted(items)]
    whole = {name: value for name, value in joined(message).items() if value not in ("", [])}
    if whole:
        body["message"] = whole
    return Assembled(body, complete, finished=bool(body.get("finish_reason")), error=error)


def _add(
    message: dict[str, Any],
    lists: dict[str, dict[int, dict[str, Any]]],
    kind: str,
    index: Any,
    said: Mapping[str, Any],
) -> None:
    of = _LISTS.get(kind.rpartition("-")[0])
    if of is None:
        grow(message, said)
        return
    item = said.get(of)
    if isinstance(item, dict):
        grow(lists[of].setdefault(index if type(index) is int else len(lists[of]), {}), item)


def assemble_v1(events: Iterable[Event]) -> Assembled:
    """Return the answer that the events of version 1 make: the last has it whole."""
    body: dict[str, Any] = {}
    complete, error = False, None
    for _, data in events:
        if not isinstance(data, dict):
            continue
        whole = data.get("response")
        if data.get("is_finished") is True and isinstance(whole, dict):
            body, complete = whole, True
        elif data.get("is_finished") is True:
            body.update({k: v for k, v in data.items() if k not in _ABOUT_THE_EVENT})
            complete = True
        elif "message" in data and "event_type" not in data:
            error = data
        else:
            _add_v1(body, data)
        if data.get("finish_reason") and body is not whole:
            body["finish_reason"] = data["finish_reason"]
    return Assembled(joined(body), complete, finished=complete, error=error)


_ABOUT_THE_EVENT = frozenset({"is_finished", "event_type", "text", "index"})


def _add_v1(body: dict[str, Any], data: Mapping[str, Any]) -> None:
    for name, value in data.items():
        if name == "text":
            add_text(body, name, value)
        elif name in _ABOUT_THE_EVENT or name == "tool_call_delta":
            continue
        elif isinstance(value, list):
            for item in value:
                add_item(body, name, item)
        else:
            body[name] = value
