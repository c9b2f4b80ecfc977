"""Tasks that pass a context on in every way that Celery knows."""

from typing import Any

from audited_tasks import app, one_call
from celery import Task, chain, group
from celery.exceptions import Reject

from celery_hooks.propagation import HEADER
from llm_audit import audit_context


@app.task(bind=True, autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
def retried_by_itself(self: Task, text: str) -> str:
    """Make a call at each of two attempts."""
    call_id = one_call(text)
    if self.request.retries == 0:
        raise ValueError("once more")
    return call_id


@app.task(bind=True, acks_late=True)
def delivered_twice(self: Task, text: str) -> str:
    """Make a call, put the message back into the queue, and make one when it comes again."""
    call_id = one_call(text)
    if not self.request.delivery_info["redelivered"]:
        raise Reject("once more", requeue=True)
    return call_id


@app.task(bind=True)
def replaced(self: Task, text: str) -> str:
    """Make a call and leave the rest to another task."""
    one_call(text)
    raise self.replace(app.signature("audited_tasks.analyze", (text,)))


@app.task
def failing(text: str) -> None:
    """Make a call and fail."""
    one_call(text)
    raise ValueError("the provider said no")


@app.task(bind=True)
def headers(self: Task) -> list[str]:
    """Make a call, and return which headers have arrived."""
    one_call("headers")
    inner = self.request.headers or {}
    names = (HEADER, "sentry-trace", "traceparent")
    return [name for name in names if self.request.get(name) or inner.get(name)]


@app.task
def publish_all(trace_id: str, about: dict[str, Any]) -> list[str]:
    """Publish in some ways out of a worker; return the tasks whose results say what arrived."""
    with audit_context(trace_id=trace_id, **about):
        retried_by_itself.delay("x")
        replaced.delay("x")
        chain(headers.si(), headers.si(), retried_by_itself.si("y"))()
        group(headers.si(), headers.si())()
        return [headers.delay().id, retried_often.delay([]).id]


@app.task(bind=True, max_retries=50)
def retried_often(self: Task, seen: list[Any]) -> list[Any]:
    """Return how the context travelled to each of 51 attempts."""
    request = self.request
    seen = [*seen, request.get(HEADER) or (request.headers or {}).get(HEADER)]
    if request.retries < self.max_retries:
        raise self.retry(args=(seen,), countdown=0)
    return seen
