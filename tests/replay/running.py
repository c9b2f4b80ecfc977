"""One event loop for many calls, and no traces of the clients that were used in it."""

import asyncio
import contextvars
import gc
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@contextmanager
def running() -> Iterator[Run]:
    """Give what runs a coroutine in its caller's context; the clients' warnings are ignored."""
    with warnings.catch_warnings(), asyncio.Runner() as runner:
        warnings.simplefilter("ignore")

        def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return runner.run(coroutine, context=contextvars.copy_context())

        try:
            yield run
        finally:
            gc.collect()
            runner.run(asyncio.sleep(0))  # connections close that clients have left open
