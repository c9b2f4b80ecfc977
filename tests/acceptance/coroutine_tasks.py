"""Tasks that are coroutine functions, of every kind that Celery knows."""

import asyncio
import contextvars
import os
import threading
from typing import Any

import redis.asyncio
from audited_tasks import app, one_call
from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from pydantic import BaseModel
from pymongo import AsyncMongoClient

_seen: contextvars.ContextVar[int] = contextvars.ContextVar("seen", default=0)


class _Here(threading.local):
    redis: "redis.asyncio.Redis | None" = None
    mongo: "AsyncMongoClient[dict[str, Any]] | None" = None


_here = _Here()


@app.task(bind=True)
async def look_around(self: Task) -> dict[str, Any]:
    """Use clients that are kept, and say where this runs."""
    monitors = len([task for task in asyncio.all_tasks() if "pymongo" in task.get_name()])
    if _here.redis is None:
        _here.redis = redis.asyncio.Redis.from_url(os.environ["BROKER_URL"])
    if _here.mongo is None:
        _here.mongo = AsyncMongoClient(os.environ["LLM_AUDIT_MONGO_URL"])
    await _here.mongo.admin.command("ping")
    seen = _seen.get()
    _seen.set(seen + 1)
    return {
        "place": [os.getpid(), threading.get_ident()],
        "loop": id(asyncio.get_running_loop()),
        "connection": await _here.redis.client_id(),
        "monitors": monitors,
        "seen": seen,
        "is_its_own": self.request.id == look_around.request.id,
    }


@app.task
async def analyze_async(text: str) -> str:
    """Make one call."""
    await asyncio.sleep(0)
    return one_call(text)


@app.task
async def then_async(earlier: Any, text: str) -> str:
    """Make one call after another task, or after a group."""
    await asyncio.sleep(0)
    return one_call(f"{len(str(earlier))} {text}")


@app.task(bind=True, max_retries=2)
async def retry_async(self: Task) -> list[Any]:
    """Be retried twice, each attempt with a call."""
    call_id = one_call("again")
    await asyncio.sleep(0)
    if self.request.retries < 2:
        await self.retry(countdown=0.01 * self.request.retries)
    return [self.request.retries, call_id]


@app.task(bind=True, autoretry_for=(ConnectionError,), default_retry_delay=0)
async def autoretry_async(self: Task) -> int:
    """Be retried because of an exception."""
    await asyncio.sleep(0)
    if self.request.retries < 2:
        raise ConnectionError("again")
    return int(self.request.retries)


@app.task(bind=True)
async def replace_async(self: Task, text: str) -> None:
    """Be replaced by another coroutine."""
    await asyncio.sleep(0)
    raise self.replace(analyze_async.s(text))


@app.task
async def fail_async() -> None:
    """Raise."""
    await asyncio.sleep(0)
    raise LookupError("not there")


@app.task(ignore_result=True)
async def ignore_async(text: str) -> str:
    """Have a result that nobody wants."""
    return one_call(text)


class Review(BaseModel):
    """An argument and a result."""

    stars: int


@app.task(bind=True, pydantic=True)
async def rate_async(self: Task, review: Review) -> Review:
    """Be given a model, and return one."""
    assert self.request.id
    await asyncio.sleep(0)
    return Review(stars=review.stars + 1)


class _Wrapped(Task):  # type: ignore[misc]
    """A base with a way of its own to be called, as Flask's documentation has it."""

    open_contexts = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _Wrapped.open_contexts += 1
        try:
            return super().__call__(*args, **kwargs)
        finally:
            _Wrapped.open_contexts -= 1


@app.task(base=_Wrapped)
async def within_async() -> int:
    """Say how many of its contexts are open while it runs."""
    await asyncio.sleep(0)
    return _Wrapped.open_contexts


class Classy(Task):  # type: ignore[misc]
    """A task that is a class."""

    name = "coroutine_tasks.classy"

    async def run(self, number: int) -> list[Any]:
        """Return its argument."""
        await asyncio.sleep(0)
        return [number, self.request.id is not None]


classy = app.register_task(Classy())


@shared_task
async def shared_async(number: int) -> int:
    """Belong to no app."""
    await asyncio.sleep(0)
    return number


@app.task
async def within_another_async(text: str) -> list[Any]:
    """Await one task, and run another in place."""
    awaited = await analyze_async(text)
    applied = analyze_async.apply(args=[text])
    return [awaited, applied.id, applied.result]


@app.task
async def clean_up_async() -> list[str]:
    """Handle its soft time limit, and await something while doing so."""
    done = []
    try:
        await asyncio.gather(asyncio.Event().wait(), asyncio.Event().wait())
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0.01)
        done.append("caught")
    finally:
        await asyncio.sleep(0.01)
        done.append("cleaned up")
    return done


@app.task
async def spans_async() -> list[Any]:
    """Say in which spans of other tools it runs."""
    import sentry_sdk
    from opentelemetry import trace

    await asyncio.sleep(0)
    span = sentry_sdk.get_current_span()
    return [span and span.op, trace.get_current_span().is_recording()]
