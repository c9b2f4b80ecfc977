"""What this process has received as a worker, and is not done with."""

import os
from typing import ClassVar
from weakref import WeakSet

from celery.app.task import Context
from celery.worker.consumer import Consumer
from celery.worker.request import Request


class _Received:
    requests: ClassVar["WeakSet[Request]"] = WeakSet()
    consumer: Consumer | None = None
    pid: int | None = None  # forked children know all this too, and are not the worker


def consumer() -> Consumer | None:
    """Return what has received here, if this is a worker's main process and anything was."""
    return _Received.consumer if _Received.pid == os.getpid() else None


def requests_of(task_id: str | None) -> list[Request]:
    """Return the requests of a task that were received here: a message may come twice."""
    return [request for request in tuple(_Received.requests) if request.id == task_id]


def message_of(task_id: str | None) -> Context | None:
    """Return what the message of a task says that was received here, as its body would see it."""
    for request in requests_of(task_id):
        return request._context  # noqa: SLF001  (Celery publishes by it)
    return None


def note(sender: Consumer, request: Request, **_: object) -> None:
    """Take note of what is received; it is forgotten when the worker itself forgets it."""
    _Received.requests.add(request)
    _Received.consumer, _Received.pid = sender, os.getpid()
