"""A Celery app whose tasks do next to nothing, each kind its way: `benchmarks.coroutine_tasks`."""

import asyncio
import os
import time
from functools import cache

from celery import Celery
from openai import DefaultAsyncHttpxClient

import celery_hooks

app = Celery("async", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue=os.environ["QUEUE"],
    worker_prefetch_multiplier=100,
    broker_connection_retry_on_startup=True,
)
celery_hooks.install(app, coroutines=True)

kept_client = cache(DefaultAsyncHttpxClient)


async def pause() -> None:
    """Let the loop go round once."""
    await asyncio.sleep(0)


async def ask(client: DefaultAsyncHttpxClient) -> None:
    """Ask the server."""
    response = await client.get(os.environ["SERVER_URL"])
    response.raise_for_status()


async def ask_anew() -> None:
    """Ask with a client made for it."""
    async with DefaultAsyncHttpxClient() as client:
        await ask(client)


@app.task
def plain() -> None:
    """Do nothing."""


@app.task
def in_asyncio_run() -> None:
    """Have a loop of its own."""
    asyncio.run(pause())


@app.task
async def coroutine() -> None:
    """Run in the loop that is kept."""
    await pause()


@app.task
def ask_in_asyncio_run() -> None:
    """Have a loop and a client of its own."""
    asyncio.run(ask_anew())


@app.task
async def ask_in_coroutine() -> None:
    """Ask with the client that is kept."""
    await ask(kept_client())


@app.task
def mark(name: int) -> None:
    """Note when this task ran, and what this process has taken of the processor."""
    with app.connection_for_write() as connection:
        redis = connection.channel().client
        redis.hset(os.environ["MARKS"], name, f"{time.monotonic()} {time.process_time()}")
