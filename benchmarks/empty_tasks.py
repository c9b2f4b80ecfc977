"""A Celery app whose tasks do nothing, for `benchmarks.celery_tasks`."""

import os
import time

from celery import Celery

import celery_hooks

app = Celery("empty", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue=os.environ["QUEUE"],
    worker_prefetch_multiplier=100,
    broker_connection_retry_on_startup=True,
)
if os.environ.get("HOOKS"):
    celery_hooks.install(app)


@app.task
def nothing() -> None:
    """Do nothing."""


@app.task
def mark(name: str) -> None:
    """Note when this task ran, and what this process has taken of the processor."""
    with app.connection_for_write() as connection:
        redis = connection.channel().client
        redis.hset(os.environ["MARKS"], name, f"{time.monotonic()} {time.process_time()}")
