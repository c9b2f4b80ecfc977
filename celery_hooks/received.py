"""What this process has received as a worker, and is not done with; each run of it has a name.

The main process names the attempt before the pool has it, so that it can say later how that attempt
ended. The name is among the message's properties: Celery hands these to the task, in whatever child
or thread, and copies them into no other message, as it does with the headers.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4
from weakref import ref

from celery.app.task import Context
from celery.worker.request import Request

from celery_hooks import lifecycle

if TYPE_CHECKING:
    from celery.worker.consumer import Consumer

_ATTEMPT = "x-llm-audit-attempt"
_ATTEMPT_CHARACTERS = len(str(uuid4()))


class _Received:
    requests: ClassVar["dict[str, tuple[ref[Request], ...]]"] = {}  # by task
    consumer: "Consumer | None" = None
    pid: int | None = None  # forked children know all this too, and are not the worker


def note(sender: "Consumer", request: Request, **_: object) -> None:
    """Name the attempt that what is received will be; it is forgotten when Celery forgets it."""
    fields = request.request_dict
    # a copy: the message itself may go back into the queue
    fields["properties"] = {**_mapping(fields.get("properties")), _ATTEMPT: str(uuid4())}
    task_id = request.id
    known = _Received.requests.get(task_id, ())
    _Received.requests[task_id] = (*known, ref(request, lambda _: _forget(task_id)))
    if _Received.consumer is not sender:
        lifecycle.heed_tests()
    _Received.consumer, _Received.pid = sender, os.getpid()


def attempt_of(request: Context | Request) -> str | None:
    """Return the name of the attempt; None where no worker received it while hooks were installed.

    Args:
        request: As the task has it, or as the main process does.
    """
    is_received = isinstance(request, Request)
    properties = request.request_dict["properties"] if is_received else request.properties
    attempt_id = _mapping(properties).get(_ATTEMPT)
    if isinstance(attempt_id, str) and len(attempt_id) == _ATTEMPT_CHARACTERS:
        return attempt_id
    return None


def _mapping(properties: object) -> Mapping[str, Any]:
    """Return the properties of a message, none where they are something else."""
    return properties if isinstance(properties, Mapping) else {}


def consumer() -> "Consumer | None":
    """Return what has received here, if this is a worker's main process and anything was."""
    return _Received.consumer if _Received.pid == os.getpid() else None


def requests_of(task_id: str | None) -> list[Request]:
    """Return the requests of a task that were received here: a message may come twice."""
    if _Received.pid != os.getpid():
        return []
    requests = [known() for known in _Received.requests.get(task_id or "", ())]
    return [request for request in requests if request is not None]


def message_of(task_id: str | None) -> Context | None:
    """Return what the message of a task says that was received here, as its body would see it."""
    for request in requests_of(task_id):
        return request._context  # noqa: SLF001  (Celery publishes by it)
    return None


def _forget(task_id: str) -> None:
    """Forget what Celery has forgotten; without a lock, which a forked child might find taken."""
    left = tuple(known for known in _Received.requests.get(task_id, ()) if known() is not None)
    if left:
        _Received.requests[task_id] = left
    else:
        _Received.requests.pop(task_id, None)
