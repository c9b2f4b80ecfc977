"""Bedrock's agents, knowledge bases and flows: what each kind of event said, under its name."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, add_text, fields, grow, items, joined
from llm_audit.wire.event_stream import EXCEPTION


def assemble_agent(events: Iterable[Event]) -> Assembled:
    """Return what an agent answered: its text, and what else its events hold.

    Nothing marks the end of such a stream.
    """
    body: dict[str, Any] = {}
    error = None
    for name, data in events:
        if name.startswith(EXCEPTION):
            error = _error(name, data)
        elif name == "chunk":
            said = fields(data)
            add_text(body, "completion", said.get("bytes"))
            if isinstance(attribution := said.get("attribution"), dict):
                grow(body.setdefault("attribution", {}), attribution)
        elif name == "trace":
            add_item(body, name, data)
        elif name == "files":
            for file in items(fields(data).get(name)):
                add_item(body, name, file)
        elif name:
            body[name] = data
    return Assembled(joined(body), complete=False, finished=bool(body) and not error, error=error)


def assemble_rag(events: Iterable[Event]) -> Assembled:
    """Return what was generated of what was retrieved; nothing marks the end here either."""
    body: dict[str, Any] = {}
    output: dict[str, Any] = {}
    error = None
    for name, data in events:
        said = fields(data)
        if name.startswith(EXCEPTION):
            error = _error(name, data)
        elif name == "output":
            add_text(output, "text", said.get("text"))
        elif name == "citation":
            parts = {key: value for key, value in said.items() if key != "citation"}
            add_item(body, "citations", parts or said.get("citation"))  # once so, once so
        elif name == "guardrail":
            body["guardrailAction"] = said.get("action")
    if output:
        body["output"] = output
    return Assembled(joined(body), complete=False, finished=bool(body) and not error, error=error)


def assemble_flow(events: Iterable[Event]) -> Assembled:
    """Return what a flow put out and how it ended."""
    body: dict[str, Any] = {}
    error = None
    for name, data in events:
        if name.startswith(EXCEPTION):
            error = _error(name, data)
        elif name == "flowCompletionEvent":
            body[name] = data
        elif name:
            add_item(body, name, data)
    ended = "flowCompletionEvent" in body
    return Assembled(joined(body), complete=ended, finished=ended, error=error)


def _error(name: str, data: Any) -> Mapping[str, Any]:
    return {"type": name.partition(":")[2], **fields(data)}
