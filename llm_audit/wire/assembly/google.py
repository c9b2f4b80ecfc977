"""Gemini: every piece is a whole response, of which the parts follow each other."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, add_text, grow, items, joined

_TEXT_PART = frozenset({"text", "thought", "thoughtSignature"})
_SIGNATURE = "thoughtSignature"
_GROWING = frozenset({"citationMetadata", "citation_metadata", "logprobsResult"})


def assemble(events: Iterable[Event]) -> Assembled:
    """Return the response that pieces make: what comes again stands as it came last."""
    body: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    error = None
    for _, data in events:
        if not isinstance(data, dict):
            continue
        error = data.get("error") or error
        body.update({k: v for k, v in data.items() if v is not None and k != "candidates"})
        for candidate in items(data.get("candidates")):
            if isinstance(candidate, dict):
                index = candidate.get("index")
                _add(candidates.setdefault(index if type(index) is int else 0, {}), candidate)
    if candidates:
        body["candidates"] = [joined(candidates[index]) for index in sorted(candidates)]
    finished = _is_finished(body)
    return Assembled(body, complete=finished, finished=finished, error=error)


def _is_finished(body: Mapping[str, Any]) -> bool:
    candidates = body.get("candidates")
    if candidates:
        return all("finishReason" in one or "finish_reason" in one for one in candidates)
    feedback = body.get("promptFeedback")
    return isinstance(feedback, dict) and "blockReason" in feedback


def _add(whole: dict[str, Any], candidate: Mapping[str, Any]) -> None:
    for key, value in candidate.items():
        if key == "content" and isinstance(value, dict):
            content = whole.setdefault("content", {})
            for part in items(value.get("parts")):
                _add_part(content, part)
            content.update({k: v for k, v in value.items() if k != "parts"})
        elif key in _GROWING:
            grow(whole, {key: value})
        elif isinstance(value, dict) and isinstance(old := whole.get(key), dict):
            old.update(value)  # what it is grounded on may come in several
        elif value is not None or key not in whole:
            whole[key] = dict(value) if isinstance(value, dict) else value


def _add_part(content: dict[str, Any], part: Any) -> None:
    """Add a part; a text to the one before it, up to where that is signed."""
    parts = content.get("parts")
    last = parts[-1] if parts else None
    if isinstance(part, dict) and isinstance(last, dict) and _is_more(last, part):
        add_text(last, "text", part["text"])
        last.update({name: value for name, value in part.items() if name == _SIGNATURE})
    else:
        add_item(content, "parts", dict(part) if isinstance(part, dict) else part)


def _is_more(last: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    return (
        all("text" in one and one.keys() <= _TEXT_PART for one in (last, part))
        and _SIGNATURE not in last
        and bool(last.get("thought")) == bool(part.get("thought"))
    )
