"""What llm-audit raises, and how a mistake is reported where raising would hurt the audited code.

LLMAuditError
├── UsageError            an argument of ours is wrong
├── ConfigurationError    a setting is wrong
├── NotInitializedError   a query before `await llm_audit.init()`
├── UnavailableError      MongoDB cannot be reached, or does not let us do what was asked
├── TookTooLongError      MongoDB ended its work on a question when the time for it was over
└── EmbeddedUnavailableError   (llm_audit.embedded) no server binary for this machine
"""

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from llm_audit.runtime.interruption import from_outside
from llm_audit.runtime.transient import is_transient

logger = logging.getLogger("llm_audit")

OF_A_KIND = 5  # messages of one line of the source
KINDS_MAX = 1_000
_LONGEST = 2_000  # characters of a message
_FRAMES_MAX = 20
# Control characters, ends of lines, what turns text around, and what nobody sees.
_NOT_IN_A_LINE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)


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


class TookTooLongError(LLMAuditError):
    """MongoDB ended its work on a question when the time for it was over."""


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
        logger.log(level, message, *map(_shown, arguments))
    except BaseException as error:  # noqa: BLE001
        # neither the audited call nor the shipping thread may end for it; it cannot be logged
        let_through(error)
        traceback.print_exception(error, limit=-1)


def _shown(argument: object) -> object:
    return in_a_line(argument) if isinstance(argument, str) else argument


def let_through(error: BaseException) -> None:
    """Raise again what did not come out of our work, but struck it from outside: a time limit.

    Args:
        error: What was caught where anything may be raised.
    """
    struck = from_outside(error)
    if struck is not None:
        raise struck


@contextmanager
def passing_over(*kinds: type[BaseException]) -> Iterator[None]:
    """Leave a block where it raises one of these, and go on; `let_through` what struck it.

    Args:
        *kinds: For which it can be done without. A time limit may be a TimeoutError, an OSError.
    """
    try:
        yield
    except kinds as error:
        let_through(error)


def let_through_what_passes(error: BaseException) -> None:
    """Raise again what a later try may be spared, so that nothing is given up for it.

    That is what `let_through` raises, and that there is no memory or descriptor to spare, just now.

    Args:
        error: What was caught where anything may be raised.
    """
    let_through(error)
    if is_transient(error):
        raise error


def is_soft_time_limit(error: BaseException) -> bool:
    """Tell Celery's soft time limit by its name, because billiard may not be installed."""
    return any(cls.__name__ == "SoftTimeLimitExceeded" for cls in type(error).__mro__)


def log_fault(error: BaseException) -> None:
    """Log where a fault of ours happened, without its text, which may hold recorded content."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    places = ", ".join(f"{one.filename}:{one.lineno} in {one.name}" for one in frames)
    log_once(
        f"The shipper failed with {type(error).__name__} and will try again: {places}.",
        level=logging.ERROR,
    )


def in_a_line(text: str) -> str:
    """Return a text without what would begin another line of a log, steer a terminal, or hide."""
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    plain = _NOT_IN_A_LINE.sub(lambda found: ascii(found[0])[1:-1], shown)
    return plain.encode("utf-8", "backslashreplace").decode()  # handlers write UTF-8


class _Said:
    """What was logged once, by its kind: a key, or the line of the source that says it."""

    messages: ClassVar[dict[str, set[str]]] = {}


def log_once(
    message: str, *, level: int = logging.WARNING, key: str | None = None, of_caller: int = 1
) -> None:
    """Log a message the first time that it is said in this process.

    Messages may name what comes from outside, such as a type or a folder. So of one line of the
    source only the first few different ones are logged, and in all there is a bound to them.

    Args:
        message: One sentence, free of recorded content.
        level: A `logging` level, WARNING by default.
        key: What counts as the same message, whatever it says; one of a few.
        of_caller: How far up the line is that says it, if no key is given.
    """
    kind, most = key, 1
    if kind is None:
        frame = sys._getframe(of_caller)  # noqa: SLF001
        kind, most = f"{frame.f_code.co_filename}:{frame.f_lineno}", OF_A_KIND
    if kind not in _Said.messages and len(_Said.messages) >= KINDS_MAX:
        return
    said, message = _Said.messages.setdefault(kind, set()), in_a_line(message)
    if message not in said and len(said) < most:
        said.add(message)
        more = ", as are no more of its kind" if len(said) == most > 1 else ""
        log(level, "%s (said once%s)", message, more)


def forget_logged() -> None:
    """Let every message be logged again (for tests)."""
    _Said.messages.clear()
