"""The producer's context travels to the worker in one message header, as one JSON string.

A string, because brokers and other tools pass it on unread; one key, because Celery keeps custom
headers over retry, redelivery and every canvas, and adds nothing to them.
"""

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from celery_hooks import received
from llm_audit import LLMCallTypeEnum
from llm_audit.context import NOWHERE, CallContext, current_context, type_of_call
from llm_audit.errors import let_through, log_once
from llm_audit.recording import trace_here
from llm_audit.redaction.carried import carried as redacted

HEADER = "x-llm-audit-ctx"
MAX_BYTES = 4096
READ_MAX_BYTES = 8192  # a later version may carry more; a stranger may send anything
ID_FIELDS = ("trace_id", "session_id", "user_id", "company_id", "parent_call_id", "review_id")
PARTS = (*ID_FIELDS, "call_type", "tags", "metadata")
CUT = "cut"  # the key that names what was left out
CUT_MAX_BYTES = 128  # if that is every part there is


def dump(context: CallContext) -> str | None:
    """Return a context as the header's value, or None if there is nothing to carry.

    What is no JSON, and what no longer fits, is left out, the least important first to go; calls
    that inherit the rest note it.
    """
    carried: dict[str, Any] = {}
    cut = [*context.cut]
    room = MAX_BYTES - CUT_MAX_BYTES
    given: dict[str, Any] = {}
    for name in PARTS:
        if value := getattr(context, name):
            try:
                given[name] = json.loads(_json(value))
            except BaseException as error:  # noqa: BLE001  (circular, or what its str() raises)
                let_through(error)
                cut.append(name)
    for name, value in redacted(given).items():  # brokers keep messages, perhaps on a disk
        size = len(_json({name: value}))
        if size > room:
            cut.append(name)
        else:
            carried[name] = value
            room -= size
    if left_out := [name for name in PARTS if name in cut and name not in carried]:
        carried[CUT] = left_out
    return _json(carried) if carried else None


def load(request: Any) -> CallContext:
    """Return the context that a message carried; an empty one where it carried none.

    Nobody has signed it: what it says is what whoever published it says. What is of a wrong type is
    left out, and the calls note that.

    Args:
        request: `task.request`. Tools that nest their own `headers` in the message hide the
            top-level ones there, so both places are looked at.
    """
    try:
        header = request.get(HEADER) or (request.headers or {}).get(HEADER)
        if not header:
            return CallContext()
        carried = _carried(header)
    except BaseException as error:  # noqa: BLE001  (whatever a message may hold)
        let_through(error)
        log_once(f"A message's {HEADER} header is unreadable: {type(error).__name__}.")
        return CallContext(notes=(f"{HEADER}: unreadable ({type(error).__name__}), left out",))
    tags, metadata = carried.get("tags"), carried.get("metadata")
    read: dict[str, Any] = {
        **{name: as_id(carried.get(name)) for name in ID_FIELDS},
        "call_type": _as_type(carried.get("call_type")),
        "tags": tuple(tag for tag in tags if type(tag) is str) if type(tags) is list else (),
        "metadata": metadata if type(metadata) is dict else {},
    }
    unread = [name for name in read if carried.get(name) and not read[name]]
    if unread:
        log_once(f"A message's {HEADER} header holds values of wrong types: they are left out.")
    notes = [f"{HEADER}: {name} of a wrong type, left out" for name in unread]
    said = carried.get(CUT)
    cut = tuple(name for name in PARTS if name in said) if type(said) is list else ()
    if cut:
        notes.append(f"{HEADER}: {', '.join(cut)} left out, for want of room or words in JSON")
    return CallContext(**read, notes=tuple(notes), cut=cut)


def _carried(header: object) -> dict[str, Any]:
    """Return what a header holds.

    Raises:
        ValueError, TypeError, RecursionError: It is none of ours.
    """
    if not isinstance(header, str | bytes) or len(header) > READ_MAX_BYTES:
        raise ValueError
    text = header if isinstance(header, bytes) else header.encode("utf-8", "surrogatepass")
    if len(text) > READ_MAX_BYTES:
        raise ValueError
    carried = json.loads(header)
    if not isinstance(carried, dict):
        raise TypeError
    return carried


def as_id(value: object) -> str | None:
    """Return what a message gives as an id as a str; anything but a str or an int is none."""
    return str(value) if type(value) in {str, int} and value != "" else None


def _as_type(value: object) -> LLMCallTypeEnum | None:
    kind, whole = type_of_call(value) if type(value) is str else (None, False)
    return kind if whole else None


def inherited(request: Any, canvas_id: str | None = None) -> CallContext:
    """Return what the calls of a task inherit: what its message carried, its canvas as the trace.

    A task that runs in place inherits from its caller too.

    Args:
        request: As for `load`.
        canvas_id: What `canvas_id_of` gave before the request changed, if it has done so.
    """
    context = load(request)
    if request.is_eager:
        context = current_context().extended(
            tags=context.tags,
            metadata=context.metadata,
            call_type=context.call_type,
            **{name: getattr(context, name) for name in ID_FIELDS},
            notes=context.notes,
            cut=context.cut,
        )
    if context.trace_id or context.shared:
        return context
    return replace(context, trace_id=canvas_id or canvas_id_of(request))


def canvas_id_of(request: Any) -> str | None:
    """Return what all tasks of one canvas share that are published together, by whoever began it.

    That is the outermost group. A task's own `group` is the innermost, and empty in a chain; the
    others are in the options of what follows it: the rest of its chain, and the body of its chord.
    Tasks without a group have a root in common, which differs between the members of a group.
    """
    options = {"group_id": request.group, "chain": request.chain, "chord": request.chord}
    try:
        group_id = _outermost_group({"options": options})
    except (TypeError, AttributeError, RecursionError) as error:  # whatever a message may hold
        let_through(error)
        log_once(f"The canvas of a message is unreadable: {type(error).__name__}.")
        group_id = None
    return as_id(group_id) or as_id(request.root_id) or as_id(request.id)


def _outermost_group(signature: Mapping[str, Any]) -> object:
    options, arguments = signature.get("options") or {}, signature.get("kwargs") or {}
    follows = [*(options.get("chain") or ()), options.get("chord")]  # what runs last comes first
    if signature.get("subtask_type") == "chord":
        follows.insert(0, arguments.get("body"))
    elif signature.get("subtask_type") in {"chain", "group"}:
        follows[:0] = [*(arguments.get("tasks") or ())][-1:]
    for following in follows:
        group_id = following and _outermost_group(following)
        if group_id:
            return group_id
    return options.get("group_id")


def add_header(headers: MutableMapping[str, Any] | None = None, **_: Any) -> None:
    """Add the context to a message that is about to be published, in `before_task_publish`."""
    if headers is None or HEADER in headers or HEADER in _inner(headers):
        return
    context = current_context()
    # a main process publishes what follows a task that it lost
    lost = received.message_of(headers.get("parent_id")) if context is NOWHERE else None
    if lost is not None:
        context = inherited(lost)
    elif context.trace_id is None:
        # named after what is published, if that is the first thing done in its context
        task_id = headers.get("root_id") or headers.get("id") or str(uuid4())
        context = replace(context, trace_id=trace_here(task_id))
    value = dump(context)
    if value is not None:
        headers[HEADER] = value


def _inner(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = headers.get("headers")
    return inner if isinstance(inner, Mapping) else {}


def _json(carried: object) -> str:
    return json.dumps(carried, default=str, separators=(",", ":"))
