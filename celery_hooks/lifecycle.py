"""A worker's processes: look after the dead, and deliver before each ends."""

from typing import Any

from celery.worker.consumer import Consumer

import llm_audit
from llm_audit import prices
from llm_audit.lifecycle import rest


def preload(**_: Any) -> None:
    """Load the price list before the pool is forked, once for all its children."""
    prices.preload()


def look_after_the_dead(sender: object, **_: Any) -> None:
    """Start looking for the journals of dead processes in the worker's main process.

    It may record nothing itself, so nothing else would start it there.

    Args:
        sender: Of `worker_ready`; tests of a worker's parts send it without one.
    """
    if isinstance(sender, Consumer):
        llm_audit.recover()


def deliver(**_: Any) -> None:
    """Flush with a deadline: Celery ends a pool child with os._exit, which runs no atexit."""
    llm_audit.shutdown()


def deliver_for_a_test(**_: Any) -> None:
    """Deliver what a worker in a thread of a test has made; the test's own calls go on."""
    rest()
