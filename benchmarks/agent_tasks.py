"""The Celery app that `benchmarks.agent` measures: each child has its turn in every step."""

import json
import os
import time

import redis
from celery import Celery

import celery_hooks
from benchmarks.recorders import record_with_llm_audit

PACE_SECONDS = 0.01
SETTLING_SECONDS = 2.0  # in which what was recorded is shipped
PATIENCE_SECONDS = 120.0

app = Celery("agent", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue=os.environ["QUEUE"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
celery_hooks.install(app)


@app.task
def step(name: str, calls: int) -> None:
    """Record some calls, and say what that took of this child, once all children are at it."""
    with redis.from_url(os.environ["BROKER_URL"]) as broker:
        _meet(broker, f"{os.environ['QUEUE']} {name} began")
        before = time.process_time()
        for _ in range(calls):
            record_with_llm_audit()
            time.sleep(PACE_SECONDS)
        time.sleep(SETTLING_SECONDS)
        used = {"pid": os.getpid(), "cpu_seconds": time.process_time() - before}
        broker.rpush(f"{os.environ['QUEUE']} {name}", json.dumps(used))
        _meet(broker, f"{os.environ['QUEUE']} {name} ended")


def _meet(broker: redis.Redis, where: str) -> None:
    """Wait for all children, so that no child has two turns and another none."""
    broker.incr(where)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while int(broker.get(where) or 0) < int(os.environ["CHILDREN"]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all children have come to {where}")
        time.sleep(0.05)
