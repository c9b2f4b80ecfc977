"""One run of a body for many messages, as celery-batches has it: what all of them say is in force.

What only some say stays out, so that no tenant's ids get into another's calls. Which message a call
is about only the body knows: `request_context` puts that message's context in force.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from celery.app.task import Context

from celery_hooks import propagation
from celery_hooks.task_fields import task_fields
from llm_audit.context import CallContext, Frame, current_context, leave, put_in_force
from llm_audit.settings import report_mistake

_SIZE = "batch_size"


def messages_of(request: Context, arguments: Sequence[Any]) -> list[Context]:
    """Return the messages that a body runs for; none where it runs for that of its own request.

    Args:
        request: `task.request`; that of a batch has no id.
        arguments: Those of the body.
    """
    first = arguments[0] if arguments else None
    if request.id is not None or not isinstance(first, list):
        return []
    return [message for message in map(_message_of, first) if message is not None]


def context_of_all(messages: Sequence[Context], task_id: str, attempt_id: str) -> CallContext:
    """Return the context of a batch: what all its messages say.

    Args:
        messages: One at least.
        task_id: The batch's own; names the trace too, where its messages belong to several.
        attempt_id: The batch's.
    """
    contexts = [propagation.inherited(message) for message in messages]
    fields = [task_fields(message.task, message, attempt_id) for message in messages]
    ids = _common(
        [
            {name: getattr(one, name) for name in (*propagation.ID_FIELDS, "call_type")}
            for one in contexts
        ]
    )
    return CallContext(
        **{**ids, "trace_id": ids.get("trace_id") or task_id},
        task_id=task_id,
        task={**_common(fields), _SIZE: len(messages)},
        tags=tuple(_common([dict.fromkeys(one.tags) for one in contexts])),
        metadata=_common([one.metadata for one in contexts]),
        notes=tuple(dict.fromkeys(note for one in contexts for note in one.notes)),
    )


@contextmanager
def request_context(request: Any) -> Generator[CallContext]:
    """Let the calls made inside carry one message of a batch: its task, and what its producer said.

    For bodies of celery-batches, which get a list of requests. Outside of it calls carry what all
    messages of the batch say. Tasks that are published inside belong to that message's trace.

    Args:
        request: One of those that the body got. One that carries nothing, as where a batch is
            applied in place, leaves the context as it is.

    Yields:
        The context now in force.

    Raises:
        UsageError: In strict mode, if it is something else.
    """
    context = current_context()
    message = _message_of(request)
    if message is not None:
        batch = context.task or {}
        fields = task_fields(message.task, message, batch.get("attempt_id"))
        context = replace(
            propagation.inherited(message),
            task_id=message.id,
            task={**fields, **{name: batch[name] for name in (_SIZE,) if name in batch}},
        )
    elif not hasattr(request, "request_dict"):
        report_mistake(
            "celery_hooks.request_context() takes a request of celery-batches, "
            f"not {type(request).__name__}."
        )
    frame = Frame(CallContext, context=context)
    try:
        put_in_force(frame)
        yield context
    finally:
        leave(frame)


def _message_of(request: object) -> Context | None:
    """Return what a request of celery-batches was made of, as a body of its own would see it."""
    fields = getattr(request, "request_dict", None)
    if not fields or not isinstance(fields, Mapping):
        return None
    message = Context(fields)
    message.hostname = getattr(request, "hostname", None)
    message.delivery_info = getattr(request, "delivery_info", None)
    return message


def _common(said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all say alike."""
    first, *others = said
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }
