"""A worker's processes: look after the dead, and deliver before each ends."""

from typing import Any

from celery import signals

import llm_audit
from llm_audit.providers import pricing

_UID = "llm_audit.lifecycle"
_BEGUN = (signals.worker_ready, signals.task_received)  # the second where hooks came too late


def connect() -> None:
    """Follow the processes of a worker."""
    signals.worker_init.connect(_preload, weak=False, dispatch_uid=_UID)
    for begun in _BEGUN:
        begun.connect(_look_after_children, weak=False, dispatch_uid=_UID)
    signals.worker_process_shutdown.connect(_deliver, weak=False, dispatch_uid=_UID)
    signals.worker_shutdown.connect(_deliver, weak=False, dispatch_uid=_UID)


def disconnect() -> None:
    """Follow none any more."""
    signals.worker_init.disconnect(_preload, dispatch_uid=_UID)
    for begun in _BEGUN:
        begun.disconnect(_look_after_children, dispatch_uid=_UID)
    signals.worker_process_shutdown.disconnect(_deliver, dispatch_uid=_UID)
    signals.worker_shutdown.disconnect(_deliver, dispatch_uid=_UID)


def _preload(**_: Any) -> None:
    """Load the price list before the pool is forked, once for all its children."""
    pricing.preload()


def _look_after_children(**_: Any) -> None:
    """Start looking for the journals of dead processes in the main process.

    It records nothing itself, so nothing else would start it there.
    """
    for begun in _BEGUN:
        begun.disconnect(_look_after_children, dispatch_uid=_UID)
    llm_audit.recover()


def _deliver(**_: Any) -> None:
    """Flush with a deadline: Celery ends a pool child with os._exit, which runs no atexit."""
    llm_audit.shutdown()
