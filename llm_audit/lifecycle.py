"""Flush, stop and look after this process's recording; starting needs nobody."""

from collections.abc import Mapping
from typing import Any

from llm_audit.logger import LLMLogger
from llm_audit.recorder import process, retry
from llm_audit.recorder.retry import RetryResult
from llm_audit.recorder.shipper import FlushResult
from llm_audit.settings import get_settings


def flush(timeout_seconds: float = 10.0) -> FlushResult:
    """Wait until MongoDB has acknowledged everything that this process recorded so far.

    Args:
        timeout_seconds: How long to wait at the most.

    Returns:
        A result that is true if everything arrived; else it says how many operations did not, and
        why. Those stay in the journal and are shipped later.
    """
    return process.flush(timeout_seconds)


def shutdown(timeout_seconds: float | None = None, *, ended_by: str = "shutdown") -> FlushResult:
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


def recover() -> None:
    """Have the journals of dead processes shipped and their open calls closed; returns at once.

    The work is done by this process's shipping thread, so the process has to stay alive meanwhile.

    Every process does so at its start and then every `recovery_interval_seconds`; call it when you
    know that one has just died, or where a process should look after others without recording.
    """
    if get_settings().enabled:
        process.recorder().shipper.wake()


def retry_rejected() -> RetryResult:
    """Send again what MongoDB refused, once its rules, a validator say, have been mended.

    Returns:
        How many records arrived, and how many were refused again and are still kept.

    Raises:
        UnavailableError: MongoDB cannot be reached; what was not sent stays where it is.
    """
    return retry.retry_rejected(get_settings())


def stats() -> Mapping[str, Any]:
    """Return how many operations this process recorded, and what became of them.

    The process's document in `llm_audit_processes` says the same in the database, a heartbeat late.

    Returns:
        By name: recorded, the number of the last operation; acked_through, up to where everything
        is in MongoDB, save what is named below; backlog_bytes and backlog_age_seconds of the
        journal; not_journaled, kept in memory only; ended_twice; superseded by outcomes of higher
        precedence; closed_for_the_dead; rejected by MongoDB and dropped, each a list with one entry
        for each kind and reason. Empty if nothing was recorded.
    """
    running = process.running()
    return {} if running is None else running.stats()
