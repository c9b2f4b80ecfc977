"""Flush, stop and look after this process's recording; starting needs nobody."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum
from llm_audit.capture.instrument import instrument_as_set
from llm_audit.given import failures
from llm_audit.logger import LLMLogger
from llm_audit.recorder import process
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from llm_audit.recorder.retry import RetryResult


def flush(timeout_seconds: float = 10.0) -> FlushResult:
    """Wait until MongoDB has acknowledged everything that this process recorded so far.

    Once it records anew after a `shutdown()`, what that has left in the journal is not counted: it
    is shipped like the journal of a dead process, see `recover`.

    Args:
        timeout_seconds: How long to wait at the most.

    Returns:
        A result that is true if everything arrived; else it says how many operations did not, and
        why. Those stay in the journal and are shipped later.
    """
    return process.flush(timeout_seconds)


def shutdown(
    timeout_seconds: float | None = None, *, ended_by: str = causes.SHUTDOWN
) -> FlushResult:
    """End the calls still open as INCOMPLETE, flush, and stop; a later call starts anew.

    Args:
        timeout_seconds: How long to wait at the most; by default the setting
            `exit_timeout_seconds`.
        ended_by: The cause to store with the calls still open.

    Returns:
        What `flush` returns.
    """
    LLMLogger.end_open_calls(None, ended_by=ended_by)
    return process.stop(timeout_seconds)


def leave(*, ended_by: str = causes.SHUTDOWN) -> FlushResult:
    """Do the same at the end of a process or an app; where an agent delivers, do not wait for it.

    Args:
        ended_by: The cause to store with the calls still open.

    Returns:
        What `flush` returns.
    """
    LLMLogger.end_open_calls(None, ended_by=ended_by)
    return process.stop(waits=False)


@asynccontextmanager
async def lifespan(app: object = None) -> AsyncIterator[None]:  # noqa: ARG001
    """Look after recording as long as an ASGI app lives: `FastAPI(lifespan=llm_audit.lifespan)`.

    At its start the setting `instrument` is heeded, and the journals of dead processes are looked
    for; at its end, once the server has
    answered its last request, everything is delivered as by `shutdown()`, or left to the agent.

    Args:
        app: What a framework gives; nothing of it is used.
    """
    instrument_as_set()
    recover()
    try:
        yield
    finally:
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # trio's
            leave()
        else:
            await asyncio.to_thread(leave)


def rest() -> FlushResult:
    """Flush, and stop if no call is open: for a part of a process that is done with its own.

    Returns:
        What `flush` returns.
    """
    if process.open_calls().ids():
        return process.flush(get_settings().exit_timeout_seconds)
    return process.stop()


def recover(timeout_seconds: float = 0.0) -> bool:
    """Have the journals of dead processes shipped and their open calls closed.

    The work is done by this process's shipping thread, so the process has to stay alive meanwhile.

    Every process does so at its start and then every `recovery_interval_seconds`; call it when you
    know that one has just died, or where a process should look after others without recording.

    Args:
        timeout_seconds: How long to wait for it at the most; by default it goes on by itself.

    Returns:
        Whether nothing is left in this machine's spool that is for this MongoDB, database and
        collection and that a dead process left; false if the time was over before that was known.
    """
    return get_settings().enabled and process.recover(timeout_seconds)


def end_calls_of_attempt(
    attempt_id: str,
    error: BaseException,
    *,
    task_id: str,
    status: LLMCallStatusEnum | None = None,
    ended_by: str | None = None,
) -> None:
    """Say from outside how the calls ended that an attempt of a task left open.

    For whoever ends a task's process and knows why, as a worker's main process does. What is said
    is on disk when this returns. What the other process itself said with `complete` or `fail`
    counts more; what it said while it was being ended, or what is inferred from its death, counts
    less. Its journal is looked for soon, as it may be dying.

    Args:
        attempt_id: Of the `task` in the context of the calls.
        error: What ended the attempt.
        task_id: Celery's.
        status: A terminal status instead of the one the error means.
        ended_by: The cause instead of the one the error means.
    """
    if not get_settings().enabled:
        return
    meant, outcome = failures.error_fields(error)
    outcome.pop("error_traceback", None)  # of this process, not of the task
    outcome |= {"task_id": task_id, "status": status or meant}
    if ended_by is not None:
        outcome["ended_by"] = ended_by
    process.recorder().pass_verdict(attempt_id, outcome)


def retry_rejected() -> "RetryResult":
    """Send again what MongoDB refused, once its rules, a validator say, have been fixed.

    Returns:
        How many records arrived, and how many were refused again and are still kept.

    Raises:
        UnavailableError: MongoDB cannot be reached; what was not sent stays where it is.
        ConfigurationError: A setting that says where it is is wrong.
    """
    from llm_audit.recorder import retry  # and with it the driver

    return retry.retry_rejected(get_settings())


def stats() -> Mapping[str, Any]:
    """Return how many operations this process recorded, and what became of them.

    The process's document in `llm_audit_processes` says the same in the database, a heartbeat late.

    Returns:
        By name: recorded, the number of the last operation; acked_through, up to where everything
        is in MongoDB, save what is named below; backlog_bytes and backlog_age_seconds of the
        journal; not_journaled, kept in memory only; ended_twice; superseded by outcomes of higher
        precedence; of_no_call, scores whose call is gone; closed_for_the_dead; rejected by MongoDB
        and dropped, each a list with one entry for each kind and reason. With `instrument()`:
        instrumented, the clients whose calls are recorded by themselves; captured, how many were;
        captured_by_hand, how many were not, as the app records them; capture_faults, how often
        something of one was missed; passed_by, how many calls were of clients that were not named;
        clients_loaded, which of the clients are imported. After
        `shutdown` what it came to; empty if nothing was recorded.
    """
    recorder = process.last()
    return {} if recorder is None else recorder.stats()
