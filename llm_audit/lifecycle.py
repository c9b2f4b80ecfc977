"""Flush, stop and look after this process's recording; starting needs nobody."""

from collections.abc import Mapping

from llm_audit.logger import LLMLogger
from llm_audit.recorder import process
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
    running = process.running()
    return FlushResult(0) if running is None else running.shipper.flush(timeout_seconds)


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
    """Look for calls that dead processes left open, and close them; returns at once.

    Every process does so at its start and then every `recovery_interval_seconds`; call it when you
    know that one has just died, or where a process should look after others without recording.
    """
    if get_settings().enabled:
        process.recorder().shipper.wake()


def stats() -> Mapping[str, int]:
    """Return how many operations this process recorded, and what became of them.

    Returns:
        Counts by name: recorded, acknowledged, ended_twice, superseded, rejected, not_journaled,
        dropped, closed_for_the_dead; empty if nothing was recorded.
    """
    running = process.running()
    return {} if running is None else running.stats()
