"""Text generation of watsonx and Hugging Face: texts that follow each other."""

from collections.abc import Iterable
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_text, items, joined

_TEXT = "generated_text"


def assemble_watsonx(events: Iterable[Event]) -> Assembled:
    """Return watsonx' answer: its text joined, its counts as they were last."""
    body: dict[str, Any] = {}
    result: dict[str, Any] = {}
    error = None
    for _, data in events:
        if not isinstance(data, dict):
            continue
        error = data.get("errors") or error
        body.update(data)
        for piece in items(data.get("results")):
            if isinstance(piece, dict):
                add_text(result, _TEXT, piece.get(_TEXT))
                result.update({k: v for k, v in piece.items() if k != _TEXT and v is not None})
    if result:
        body["results"] = [joined(result)]
    ended = result.get("stop_reason") not in (None, "not_finished", "NOT_FINISHED")
    return Assembled(body, complete=ended, finished=ended, error=error)


def assemble_generation(events: Iterable[Event]) -> Assembled:
    """Return the answer of Hugging Face's text generation: its last piece has the whole text."""
    body: dict[str, Any] = {}
    complete, error = False, None
    for _, data in events:
        if not isinstance(data, dict):
            continue
        error = data.get("error") or error
        token = data.get("token")
        if isinstance(data.get(_TEXT), str):
            body.update({k: v for k, v in data.items() if k not in {"token", "index"}})
            complete = True
        elif isinstance(token, dict) and not token.get("special"):
            add_text(body, _TEXT, token.get("text"))
    return Assembled(joined(body), complete, finished=complete, error=error)
