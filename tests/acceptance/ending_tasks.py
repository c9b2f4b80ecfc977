"""Tasks that have a call in flight when something ends them."""

import asyncio
import json
import os
import signal
import sys
import threading
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from audited_tasks import app, one_call
from celery import Task
from celery._state import _task_stack
from celery.exceptions import Ignore, Reject
from greenlet import GreenletExit

from llm_audit import LLMLogger, carry_context

IN_FLIGHT = [{"role": "user", "content": "in flight"}]


def who_asks(task: Task) -> dict[str, Any]:
    """Return what the provider is told of a task, and of the worker that runs it."""
    node = _task_stack.stack[0].request.hostname  # of the outermost task: one in it has no worker
    request = task.request
    return {"task_id": request.id, "retries": request.retries, "pid": os.getpid(), "node": node}


def ask_provider(about: dict[str, Any]) -> None:
    """Ask the slow provider, and wait for its answer."""
    request = urllib.request.Request(os.environ["PROVIDER_URL"], json.dumps(about).encode())
    with urllib.request.urlopen(request) as response:
        response.read()


def converse(task: Task, *, in_block: bool) -> None:
    """Make a call that succeeds and one that is left without its end, then one that takes long."""
    one_call("finished")
    with LLMLogger.log_call(model="gpt-4", messages=[{"role": "user", "content": "left"}]):
        pass
    about = who_asks(task)
    if in_block:
        with LLMLogger.log_call(model="gpt-4", messages=IN_FLIGHT) as call_id:
            ask_provider(about)
            LLMLogger.complete(call_id)
    else:
        call_id = LLMLogger.start(model="gpt-4", messages=IN_FLIGHT)
        ask_provider(about)
        LLMLogger.complete(call_id)


@app.task(bind=True)
def ask(self: Task, *, in_block: bool = False) -> None:
    """Be acknowledged early."""
    converse(self, in_block=in_block)


@app.task
def ask_within() -> None:
    """Have the call in flight in another task that is applied in place."""
    ask.apply(throw=True)


async def ask_provider_async(about: dict[str, Any]) -> None:
    """Ask the slow provider, and wait for its answer while other coroutines may run."""
    body = json.dumps(about).encode()
    provider = urlsplit(os.environ["PROVIDER_URL"])
    reader, writer = await asyncio.open_connection(provider.hostname, provider.port)
    writer.write(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await reader.read()
    writer.close()


async def converse_async(about: dict[str, Any]) -> None:
    """Have a call in flight."""
    async with LLMLogger.log_call(model="gpt-4", messages=IN_FLIGHT) as call_id:
        await ask_provider_async(about)
        await LLMLogger.complete(call_id)


@app.task(bind=True)
def ask_in_loop(self: Task) -> None:
    """Have the call in flight in a coroutine, in a loop of its own."""
    asyncio.run(converse_async(who_asks(self)))


@app.task(bind=True)
async def ask_as_coroutine(self: Task) -> None:
    """Have the call in flight in a task that is a coroutine itself."""
    await converse_async(who_asks(self))


@app.task(bind=True)
async def ask_in_child(self: Task) -> None:
    """Have the call in flight in a coroutine that the task awaits beside another."""
    await asyncio.gather(converse_async(who_asks(self)), asyncio.Event().wait())


@app.task(bind=True)
async def ask_in_blocked_child(self: Task) -> None:
    """Have the call in flight in such a coroutine, which blocks the loop."""
    about = who_asks(self)

    async def block() -> None:
        with LLMLogger.log_call(model="gpt-4", messages=IN_FLIGHT):
            ask_provider(about)

    await asyncio.gather(block(), asyncio.Event().wait())


@app.task(bind=True, acks_late=True)
def ask_late(self: Task, *, in_block: bool = False) -> None:
    """Be acknowledged late."""
    converse(self, in_block=in_block)


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def ask_requeued(self: Task, *, in_block: bool = False) -> None:
    """Be put back into the queue when the worker is lost."""
    converse(self, in_block=in_block)


@app.task(bind=True, retry_on_worker_lost=True, default_retry_delay=0)
def ask_retried(self: Task, *, in_block: bool = False) -> None:
    """Be published again when the worker is lost."""
    converse(self, in_block=in_block)


@app.task
def ask_then_end(how: str, *, in_block: bool = False) -> None:
    """End the task in an unusual way while a call is in flight."""
    ways = {
        "exit": lambda: sys.exit(3),
        "os._exit": lambda: os._exit(3),
        "ignore": lambda: throw(Ignore()),
        "reject": lambda: throw(Reject("no", requeue=False)),
        "greenlet": lambda: throw(GreenletExit()),
        "interrupt": lambda: throw(KeyboardInterrupt()),
        "error": lambda: throw(ValueError("the provider said no")),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    }
    if in_block:
        with LLMLogger.log_call(model="gpt-4", messages=IN_FLIGHT):
            ways[how]()
    else:
        LLMLogger.start(model="gpt-4", messages=IN_FLIGHT)
        ways[how]()


def throw(error: BaseException) -> None:
    """Raise it."""
    raise error


@app.task(bind=True, max_retries=1)
def ask_again(self: Task) -> None:
    """Leave a call open and be retried; at the second attempt have one in flight."""
    if self.request.retries:
        converse(self, in_block=False)
        return
    LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": "first attempt"}])
    raise self.retry(countdown=0)


@app.task(bind=True)
def replace_by_ask(self: Task) -> None:
    """Leave a call open and be replaced by a task of the same id."""
    LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": "replaced"}])
    raise self.replace(ask.si())


@app.task(bind=True)
def leave_thread(self: Task) -> None:
    """Return while a thread still has a call in flight."""
    about = who_asks(self)
    started = threading.Event()

    def work() -> None:
        call_id = LLMLogger.start(model="gpt-4", messages=IN_FLIGHT)
        started.set()
        ask_provider(about)
        LLMLogger.complete(call_id)

    threading.Thread(target=carry_context(work), daemon=True).start()
    started.wait()


@app.task
def leave_stream() -> None:
    """Return with a stream that nobody has read to its end."""

    def stream() -> Any:
        with LLMLogger.log_call(model="gpt-4", messages=IN_FLIGHT):
            yield "a chunk"

    global _stream  # noqa: PLW0603  (kept, so that it is not closed either)
    _stream = stream()
    next(_stream)
