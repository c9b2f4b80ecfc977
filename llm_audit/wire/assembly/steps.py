"""Google's interactions and Mistral's conversations: outputs that grow, one after the other."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, grow, items, joined
from llm_audit.wire.frames import DONE, parsed

_LAST = frozenset({"interaction.complete", "interaction.completed"})
_ANNOTATION = "text_annotation_delta"
_IN_CONTENT = frozenset({"text", "image", "audio", "video", "document", _ANNOTATION})
_ABOUT_THE_EVENT = frozenset({"type", "created_at", "output_index", "content_index"})


def assemble_interaction(events: Iterable[Event]) -> Assembled:
    """Return the interaction that events make: it has its outputs, or steps, in pieces only."""
    body: dict[str, Any] = {}
    found: dict[int, dict[str, Any]] = {}
    place, complete, error = "steps", False, None
    for name, data in events:
        if not isinstance(data, dict):
            continue
        kind = str(data.get("event_type") or name)
        index = _number(data, "index")
        error = data.get("error") or error
        if isinstance(said := data.get("interaction"), dict):
            body.update({k: v for k, v in said.items() if v is not None and v != []})
            complete = complete or kind in _LAST
        elif kind == "interaction.status_update":
            body["status"] = data.get("status")
        elif kind in {"step.start", "content.start"}:
            place = "steps" if kind == "step.start" else "outputs"
            begun = data.get("step") or data.get("content")
            found[index] = dict(begun) if isinstance(begun, dict) else {}
        elif isinstance(delta := data.get("delta"), dict):
            _add(found.setdefault(index, {}), delta, in_content=kind == "step.delta")
    if found and not body.get(place):
        body[place] = [_finished(found[index]) for index in sorted(found)]
    return Assembled(body, complete, finished=complete, error=error)


def _add(item: dict[str, Any], delta: Mapping[str, Any], *, in_content: bool) -> None:
    kind = str(delta.get("type"))
    said = {name: value for name, value in delta.items() if name != "type"}
    if kind == "thought_summary":
        add_item(item, "summary", delta.get("content"))
    elif kind == "arguments_delta":
        if not isinstance(item.get("arguments"), str):
            item.pop("arguments", None)  # an empty object, until they come
        grow(item, {"arguments": delta.get("arguments")})
    elif in_content and kind in _IN_CONTENT:
        _add_to_content(item, kind, delta, said)
    else:
        grow(item, said)


def _add_to_content(
    item: dict[str, Any], kind: str, delta: Mapping[str, Any], said: dict[str, Any]
) -> None:
    content = items(item.get("content"))
    last = content[-1] if content else None
    if kind == _ANNOTATION:
        for annotation in items(delta.get("annotations")):
            add_item(last if isinstance(last, dict) else item, "annotations", annotation)
    elif kind == "text" and isinstance(last, dict) and last.get("type") == kind:
        grow(last, said)
    else:
        add_item(item, "content", dict(delta))


def _finished(item: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = joined(item)
    if isinstance(text := whole.get("arguments"), str):
        try:
            whole["arguments"] = parsed(text) if text else {}
        except ValueError:  # broken off, so it stays the text that it is
            whole["arguments"] = text
    return whole


def assemble_conversation(events: Iterable[Event]) -> Assembled:
    """Return the answer that the events of a Mistral conversation make."""
    body: dict[str, Any] = {}
    outputs: dict[int, dict[str, Any]] = {}
    complete, error = False, None
    for name, data in events:
        if not isinstance(data, dict):
            complete = complete or data == DONE
            continue
        kind = str(data.get("type") or name)
        said = {key: value for key, value in data.items() if key not in _ABOUT_THE_EVENT}
        if kind == "conversation.response.started":
            body.update({"object": "conversation.response", **said})
        elif kind == "conversation.response.done":
            body.update(said)
            complete = True
        elif kind == "conversation.response.error":
            error = said
        else:
            _add_output(outputs, kind, _number(data, "output_index"), said)
    if outputs:
        body["outputs"] = [joined(outputs[index]) for index in sorted(outputs)]
    return Assembled(body, complete, finished=complete, error=error)


_TYPES = {
    "message.output.delta": "message.output",
    "function.call.delta": "function.call",
    "tool.execution": "tool.execution",
    "agent.handoff": "agent.handoff",
}


def _add_output(
    outputs: dict[int, dict[str, Any]], kind: str, index: int, said: dict[str, Any]
) -> None:
    known = _TYPES.get(kind) or _TYPES.get(kind.rpartition(".")[0])
    if known is None:
        return
    output = outputs.setdefault(index, {"object": "entry", "type": known})
    content = said.get("content")
    if isinstance(content, dict):  # a part that is no text
        said = {**said, "content": [content]}
    grow(output, {name: value for name, value in said.items() if name not in _STANDING})
    output.update({name: said[name] for name in _STANDING & said.keys()})


_STANDING = frozenset({"model", "agent_id", "tool_call_id"})


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if type(value) is int else 0
