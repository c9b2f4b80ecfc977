"""What this process has received as a worker, and is not done with."""

from typing import ClassVar
from weakref import WeakValueDictionary

from celery import signals
from celery.app.task import Context
from celery.worker.request import Request

_UID = "llm_audit.received"


class _Received:
    requests: ClassVar["WeakValueDictionary[str, Request]"] = WeakValueDictionary()


def connect() -> None:
    """Take note of what is received; it is forgotten when the worker itself forgets it."""
    signals.task_received.connect(_note, weak=False, dispatch_uid=_UID)


def disconnect() -> None:
    """Take no note any more."""
    signals.task_received.disconnect(_note, dispatch_uid=_UID)


def request_of(task_id: str | None) -> Request | None:
    """Return the request of a task that was received here."""
    return _Received.requests.get(task_id) if task_id else None


def message_of(task_id: str | None) -> Context | None:
    """Return what the message of a task says that was received here, as its body would see it."""
    request = request_of(task_id)
    return None if request is None else request._context  # noqa: SLF001  (Celery publishes by it)


def _note(request: Request, **_: object) -> None:
    _Received.requests[request.id] = request
