"""Processes that record and then end, each in another way: `python -m ending_processes WAY...`.

Each way has a process of its own, forked from one that has imported everything but recorded
nothing. What one records names its way as the service.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import llm_audit
from llm_audit import LLMLogger

DONE, OPEN = "done", "open"  # models
COUNT = 5  # calls that are done


def record(_: object = None) -> None:
    """Record some calls that end, and one that does not."""
    for _number in range(COUNT):
        LLMLogger.complete(LLMLogger.start(model=DONE, messages=[]))
    LLMLogger.start(model=OPEN, messages=[])


def record_and_exit() -> None:
    """Record, and leave the process."""
    record()
    sys.exit(3)


def record_and_raise() -> None:
    """Record, and fail."""
    record()
    raise RuntimeError("an error that nobody handles")


async def app(scope: dict[str, Any], _: Any, send: Any) -> None:
    """Record in each request, as an ASGI app that knows nothing of us."""
    if scope["type"] == "http":
        record()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


def wsgi_app(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Record in each request, as a WSGI app that knows nothing of us."""
    record()
    start_response("204 No Content", [])
    return []


def _started(method: str, target: Callable[[], None]) -> None:
    """Start a process of multiprocessing, and end without a word of our own."""
    process = multiprocessing.get_context(method).Process(target=target)
    process.start()
    process.join()
    os._exit(0)


def _pooled(method: str) -> None:
    pool = multiprocessing.get_context(method).Pool(1)
    pool.map(record, [1])
    pool.close()
    pool.join()
    os._exit(0)


def _executed(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
        list(executor.map(record, [1]))
    os._exit(0)


def _billiard() -> None:
    import billiard

    process = billiard.Process(target=record)
    process.start()
    process.join()
    os._exit(0)


def _terminated() -> None:
    """Leave a pool's block, which kills its processes; this process records, too, and ends well."""
    LLMLogger.complete(LLMLogger.start(model="parent", messages=[]))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(record, [1])


def _in_thread() -> None:
    """Leave a thread in a call, which ends the thread and the call, but not the process."""

    def leave() -> None:
        with LLMLogger.log_call(model=OPEN, messages=[]):
            sys.exit(3)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    for _ in range(COUNT):
        LLMLogger.complete(LLMLogger.start(model=DONE, messages=[]))


def _lifespan() -> None:
    """Live as an app does whose server ends at once afterwards."""

    async def live() -> None:
        async with llm_audit.lifespan(app):
            record()
        os._exit(0)

    asyncio.run(live())


def _killed(number: signal.Signals) -> None:
    record()
    os.kill(os.getpid(), number)
    signal.pause()


def _handled() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _killed(signal.SIGTERM)


def _executes() -> None:
    record()
    os.execv(sys.executable, [sys.executable, "-c", ""])


def _os_exit() -> None:
    record()
    os._exit(0)


WAYS: dict[str, Callable[[], None]] = {
    "returns": record,
    "exits": record_and_exit,
    "raises": record_and_raise,
    "exits in a thread": _in_thread,
    "lifespan": _lifespan,
    "fork": lambda: _started("fork", record),
    "fork exits": lambda: _started("fork", record_and_exit),
    "fork raises": lambda: _started("fork", record_and_raise),
    "forkserver": lambda: _started("forkserver", record),
    "spawn": lambda: _started("spawn", record),
    "billiard": _billiard,
    "pool": lambda: _pooled("fork"),
    "pool forkserver": lambda: _pooled("forkserver"),
    "pool spawn": lambda: _pooled("spawn"),
    "pool terminated": _terminated,
    "executor": lambda: _executed("fork"),
    "executor forkserver": lambda: _executed("forkserver"),
    "executor spawn": lambda: _executed("spawn"),
    "os._exit": _os_exit,
    "exec": _executes,
    "SIGTERM": lambda: _killed(signal.SIGTERM),
    "SIGTERM handled": _handled,
    "SIGINT": lambda: _killed(signal.SIGINT),
    "SIGKILL": lambda: _killed(signal.SIGKILL),
}


def _main() -> None:
    for way in sys.argv[1:]:
        if os.fork() == 0:
            os.environ["LLM_AUDIT_SERVICE"] = way
            WAYS[way]()
            return
    for _ in sys.argv[1:]:
        os.wait()


if __name__ == "__main__":
    _main()
