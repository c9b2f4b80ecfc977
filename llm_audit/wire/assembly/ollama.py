"""Ollama: lines of JSON, of which the last has the counts."""

from collections.abc import Iterable
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import grow, joined

_GROWING = frozenset({"message", "response", "thinking", "logprobs"})


def assemble(events: Iterable[Event]) -> Assembled:
    """Return the answer that lines make."""
    body: dict[str, Any] = {}
    error = None
    for _, data in events:
        if isinstance(data, dict):
            error = data.get("error") or error
            grow(body, {name: value for name, value in data.items() if name in _GROWING})
            body.update({name: value for name, value in data.items() if name not in _GROWING})
    complete = body.get("done") is True
    return Assembled(joined(body), complete, finished=complete, error=error)
