"""What is special in uWSGI, which forks in C, and before 2.0.27 may run no threads of Python."""

import os
import sys
from typing import Any

WORKERS_DELIVER = "this is uWSGI's master, its workers deliver"
NO_THREADS = (
    "uWSGI runs no thread of Python between requests: calls are in the journal at once, and reach "
    "MongoDB while later requests wait for something, or when the worker ends. Set enable-threads."
)
_THREADS_SINCE = (2, 0, 27)


def is_master() -> bool:
    """Tell whether this is the master: it loads the app, forks, and then runs no Python any more.

    Its workers would wait for ever for what a thread of Python held when they were forked.
    """
    uwsgi = _uwsgi()
    return hasattr(uwsgi, "masterpid") and bool(uwsgi.masterpid() == os.getpid())


def runs_no_threads() -> bool:
    """Tell whether threads go on only while a request waits for something."""
    options = getattr(_uwsgi(), "opt", {})
    version = getattr(_uwsgi(), "version_info", _THREADS_SINCE)
    return tuple(version[:3]) < _THREADS_SINCE and options.keys().isdisjoint(
        ("enable-threads", "threads")
    )


def _uwsgi() -> Any:
    """Return the module that uWSGI has put into its interpreters; elsewhere None."""
    return sys.modules.get("uwsgi")
