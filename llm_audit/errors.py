"""What llm-audit raises, and how a mistake is reported where raising would hurt the audited code.

LLMAuditError
├── UsageError            an argument of ours is wrong
├── ConfigurationError    a setting is wrong
├── NotInitializedError   a query before `await llm_audit.init()`
├── UnavailableError      MongoDB cannot be reached, or does not let us do what was asked
└── EmbeddedUnavailableError   (llm_audit.embedded) no server binary for this machine
"""

import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from llm_audit.runtime.interruption import from_outside

logger = logging.getLogger("llm_audit")


class LLMAuditError(Exception):
    """Base of every error that llm-audit raises."""


class UsageError(LLMAuditError, ValueError):
    """An argument is wrong; the message names it and the fix."""


class ConfigurationError(LLMAuditError, ValueError):
    """A setting is wrong; the message names it and the fix."""


class NotInitializedError(LLMAuditError, RuntimeError):
    """A query ran before the database was bound: call `await llm_audit.init()` first."""


class UnavailableError(LLMAuditError):
    """MongoDB cannot be reached or does not let us in; the text holds no content."""


class _Held(threading.local):
    """What this thread says once it holds no lock; None where it may say it at once."""

    messages: list[tuple[int, str, tuple[object, ...]]] | None = None


_held = _Held()


@contextmanager
def saying_after() -> Iterator[None]:
    """Say what is logged in the block when that is left, and with it a lock.

    A handler of the program's own may record, in another thread that waits for this lock, while
    this one waits for the handler's.
    """
    if _held.messages is not None:
        yield
        return
    try:
        _held.messages = []
        yield
    finally:
        say_held()


def say_held() -> None:
    """Say what has waited."""
    held, _held.messages = _held.messages, None
    for level, message, arguments in held or ():
        log(level, message, *arguments)


def log(level: int, message: str, *arguments: object) -> None:
    """Log, whatever the filters of the program's own logging raise.

    Args:
        level: A `logging` level.
        message: A sentence free of recorded content, with %s for each argument.
        *arguments: What the message names.
    """
    if _held.messages is not None:
        _held.messages.append((level, message, arguments))
        return
    try:
        logger.log(level, message, *arguments)
    except BaseException as error:  # noqa: BLE001
        # neither the audited call nor the shipping thread may end for it; it cannot be logged
        let_through(error)
        traceback.print_exception(error, limit=-1)


def let_through(error: BaseException) -> None:
    """Raise again what did not come out of our work, but struck it from outside: a time limit.

    Args:
        error: What was caught where anything may be raised.
    """
    struck = from_outside(error)
    if struck is not None:
        raise struck


def is_soft_time_limit(error: BaseException) -> bool:
    """Tell Celery's soft time limit by its name, because billiard may not be installed."""
    return any(cls.__name__ == "SoftTimeLimitExceeded" for cls in type(error).__mro__)


def log_fault(error: BaseException) -> None:
    """Log where a fault of ours happened, without its text, which may hold recorded content."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log_once(
        f"The shipper failed with {type(error).__name__} and will try again:\n{frames}",
        level=logging.ERROR,
    )


_logged: set[str] = set()
_LOGGED_MAX = 10_000  # messages may hold names from outside; after so many, all may be said again


def log_once(message: str, *, level: int = logging.WARNING, key: str | None = None) -> None:
    """Log a message the first time its key is seen in this process.

    Args:
        message: One sentence, free of recorded content.
        level: A `logging` level, WARNING by default.
        key: What counts as the same message; the message itself by default.
    """
    key = key or message
    if key not in _logged:
        if len(_logged) >= _LOGGED_MAX:
            _logged.clear()
        _logged.add(key)
        # handlers write UTF-8, and a key in what was recorded may be no text
        log(level, "%s (said once)", message.encode("utf-8", "backslashreplace").decode())


def forget_logged() -> None:
    """Let every message be logged again (for tests)."""
    _logged.clear()
