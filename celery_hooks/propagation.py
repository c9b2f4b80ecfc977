"""The producer's context travels to the worker in one message header, as one JSON string.

A string, because brokers and other tools pass it on unread; one key, because Celery keeps custom
headers over retry, redelivery and every canvas, and adds nothing to them.
"""

import json
import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from celery import signals

from llm_audit.context import CallContext, current_context

HEADER = "x-llm-audit-ctx"
MAX_BYTES = 4096
ID_FIELDS = ("trace_id", "session_id", "user_id", "company_id", "parent_call_id")
CUT_NOTE = "context_cut"

_UID = "llm_audit.propagation"
_logger = logging.getLogger("llm_audit")


def connect() -> None:
    """Add the header to every message that this process publishes."""
    signals.before_task_publish.connect(_inject, weak=False, dispatch_uid=_UID)


def disconnect() -> None:
    """Stop adding the header."""
    signals.before_task_publish.disconnect(_inject, dispatch_uid=_UID)


def dump(context: CallContext) -> str | None:
    """Return a context as the header's value, or None if there is nothing to carry.

    A context too large for a header is cut: metadata goes first, then tags, and the metadata that
    arrives says so.
    """
    carried: dict[str, Any] = {
        name: value for name in ID_FIELDS if (value := getattr(context, name)) is not None
    }
    if context.tags:
        carried["tags"] = list(context.tags)
    if context.metadata:
        carried["metadata"] = dict(context.metadata)
    if not carried:
        return None
    text = _json(carried)
    for name in ("metadata", "tags"):
        if len(text) > MAX_BYTES and name in carried:
            del carried[name]
            cut = [*carried.get("metadata", {}).get(CUT_NOTE, []), name]
            carried["metadata"] = {CUT_NOTE: cut}
            text = _json(carried)
    return text if len(text) <= MAX_BYTES else None


def load(request: Any) -> CallContext:
    """Return the context that a message carried; an empty one where it carried none.

    Args:
        request: `task.request`. Tools that nest their own `headers` in the message hide the
            top-level ones there, so both places are looked at.
    """
    text = request.get(HEADER) or (request.headers or {}).get(HEADER)
    if not text:
        return CallContext()
    try:
        carried = json.loads(text)
        return CallContext(
            **{name: carried.get(name) for name in ID_FIELDS},
            tags=tuple(carried.get("tags", ())),
            metadata=dict(carried.get("metadata", {})),
        )
    except (TypeError, ValueError, AttributeError) as error:
        _logger.warning("A message's %s header is unreadable: %s.", HEADER, type(error).__name__)
        return CallContext()


def _inject(headers: MutableMapping[str, Any] | None = None, **_: Any) -> None:
    if headers is None or HEADER in headers or HEADER in _inner(headers):
        return
    value = dump(current_context())
    if value is not None:
        headers[HEADER] = value


def _inner(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = headers.get("headers")
    return inner if isinstance(inner, Mapping) else {}


def _json(carried: dict[str, Any]) -> str:
    try:
        return json.dumps(carried, default=str, skipkeys=True, separators=(",", ":"))
    except (ValueError, RecursionError):  # circular, or nested without end
        return json.dumps({name: carried[name] for name in ID_FIELDS if name in carried})
