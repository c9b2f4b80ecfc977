"""A worker's processes: look after the dead, and deliver before each ends."""

import sys
from typing import Any

import llm_audit
from llm_audit import prices
from llm_audit.lifecycle import leave, rest

_TESTING = "celery.contrib.testing.worker"


def preload(**_: Any) -> None:
    """Load the price list before the pool is forked, once for all its children."""
    prices.preload()


def look_after_the_dead(sender: object, **_: Any) -> None:
    """Start looking for the journals of dead processes in the worker's main process.

    It may record nothing itself, so nothing else would start it there.

    Args:
        sender: Of `worker_ready`; tests of a worker's parts send it without one.
    """
    from celery.worker.consumer import Consumer

    if isinstance(sender, Consumer):
        llm_audit.recover()


def deliver(**_: Any) -> None:
    """Flush with a deadline: Celery ends a pool child with os._exit, which runs no atexit.

    An agent delivers without us: a child that is recycled then waits for nothing.
    """
    leave()


def heed_tests() -> None:
    """Hear of the end of a worker in a thread of a test, which sends none of the usual signals."""
    testing = sys.modules.get(_TESTING)
    if testing is not None:
        testing.test_worker_stopped.connect(_deliver_for_a_test, weak=False, dispatch_uid=__name__)


def heed_no_tests() -> None:
    """Undo `heed_tests`."""
    testing = sys.modules.get(_TESTING)
    if testing is not None:
        testing.test_worker_stopped.disconnect(_deliver_for_a_test, dispatch_uid=__name__)


def _deliver_for_a_test(**_: Any) -> None:
    """Deliver what a worker in a thread of a test has made; the test's own calls go on."""
    rest()
