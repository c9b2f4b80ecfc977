"""How a call ended, read from an exception or a text."""

import asyncio
import concurrent.futures
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import billiard.exceptions
import celery.exceptions
import openai
import pytest

from llm_audit import LLMCallStatusEnum, UsageError, configure
from llm_audit.given.failures import MAX_CHARACTERS, behind, error_fields

REQUEST: Any = None  # of which nothing is read


class ReadTimeout(Exception):  # noqa: N818  (the name that httpx and requests give it)
    """A client's timeout, which has no base in common with the others."""


def raise_error(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "cause"),
    [
        (ValueError("x"), "ERROR", "exception"),
        (TimeoutError(), "TIMEOUT", "exception"),
        (openai.APITimeoutError(REQUEST), "TIMEOUT", "exception"),
        (ReadTimeout("slow"), "TIMEOUT", "exception"),
        (openai.APIConnectionError(request=REQUEST), "ERROR", "exception"),
        (asyncio.CancelledError(), "CANCELLED", "exception"),
        (concurrent.futures.CancelledError(), "CANCELLED", "exception"),
        (celery.exceptions.SoftTimeLimitExceeded(), "TIMEOUT", "soft_time_limit"),
        (billiard.exceptions.TimeLimitExceeded(), "TIMEOUT", "hard_time_limit"),
        (billiard.exceptions.WorkerLostError(), "ERROR", "worker_lost"),
        (SystemExit(1), "INCOMPLETE", "process_exit"),
        (KeyboardInterrupt(), "INCOMPLETE", "process_exit"),
        (GeneratorExit(), "INCOMPLETE", "exception"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(type(value)),
)
def test_an_exception_gives_status_and_cause(error: BaseException, status: str, cause: str) -> None:
    """Timeouts, cancellation and the ends of processes and tasks are told from other errors."""
    meant, fields = error_fields(error)
    assert meant == LLMCallStatusEnum(status)
    assert fields["ended_by"] == cause
    assert fields["error_type"] == type(error).__name__


def test_an_exception_brings_its_traceback() -> None:
    """Message, type and traceback of a raised exception are kept, with its cause."""
    try:
        try:
            raise_error(KeyError("inner"))
        except KeyError as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError as error:
        _, fields = error_fields(error)

    assert fields["error_message"] == "outer"
    assert "test_an_exception_brings_its_traceback" in fields["error_traceback"]
    assert "KeyError: 'inner'" in fields["error_traceback"]


def test_the_text_of_the_handled_exception_brings_the_exception() -> None:
    """str(e), given inside its except block, is recorded like e itself."""
    try:
        raise_error(TimeoutError("no answer"))
    except TimeoutError as error:
        status, fields = error_fields(str(error))

    assert status is LLMCallStatusEnum.TIMEOUT
    assert fields["error_type"] == "TimeoutError"
    assert fields["error_message"] == "no answer"
    assert "in raise_error" in fields["error_traceback"]


def test_another_text_stands_for_itself() -> None:
    """A text that is not the handled exception's, or outside of any, is an ERROR of its own."""
    try:
        raise_error(TimeoutError("no answer"))
    except TimeoutError:
        inside = error_fields("gave up")
    outside = error_fields("no answer")

    assert inside == (
        LLMCallStatusEnum.ERROR,
        {"error_message": "gave up", "ended_by": "exception"},
    )
    assert outside[1] == {"error_message": "no answer", "ended_by": "exception"}


def test_an_exception_without_a_text_is_recorded() -> None:
    """An exception whose __str__ raises loses its text, not its type."""

    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    status, fields = error_fields(HostileError())
    assert status is LLMCallStatusEnum.ERROR
    assert fields["error_type"] == "HostileError"
    assert "RuntimeError" in fields["error_message"]


def test_an_exception_whose_traceback_cannot_be_written_is_recorded() -> None:
    """What Python's own formatting refuses has its frames, type and message all the same."""
    _, fields = error_fields(SyntaxError("no text", ("a.py", "no line", "no column", 5)))

    assert fields["error_type"] == "SyntaxError"
    assert fields["error_traceback"] == "SyntaxError: no text (a.py)\n"


@pytest.mark.parametrize("as_text", [False, True], ids=["exception", "text"])
def test_a_long_message_is_cut(as_text: bool) -> None:
    """A message with a whole response body in it keeps its beginning and says how long it was."""
    text = "x" * 2 * MAX_CHARACTERS
    _, fields = error_fields(text if as_text else ValueError(text))
    assert fields["error_message"] == f"{text[:MAX_CHARACTERS]}… ({len(text)} characters)"
    assert len(fields.get("error_traceback", "")) <= MAX_CHARACTERS


@pytest.mark.parametrize("error", [None, 5, {"code": 500}], ids=["None", "int", "dict"])
def test_what_is_no_error_is_a_mistake(error: object, caplog: pytest.LogCaptureFixture) -> None:
    """What is neither exception nor str raises in strict mode; else its text is recorded."""
    configure(strict=True)
    with pytest.raises(UsageError, match="error has to be"):
        error_fields(error)
    configure(strict=False)
    status, fields = error_fields(error)
    assert status is LLMCallStatusEnum.ERROR
    assert fields["error_message"] == str(error)
    assert len(caplog.messages) == 1


def cancellation(coroutine: Callable[[], Coroutine[Any, Any, None]]) -> BaseException:
    """Run a coroutine to its end, and return the cancellation that it sees."""
    seen: list[BaseException] = []

    async def watch() -> None:
        try:
            await coroutine()
        except asyncio.CancelledError as cancelled:
            seen.append(cancelled)
            raise

    with contextlib.suppress(BaseException):
        asyncio.run(watch())
    return seen[0]


@pytest.mark.parametrize(
    "struck",
    [celery.exceptions.SoftTimeLimitExceeded(), SystemExit(), KeyboardInterrupt()],
    ids=lambda value: str(type(value)),
)
def test_what_strikes_a_loop_is_behind_the_cancellation(struck: BaseException) -> None:
    """A signal handler that raises ends the loop, which then cancels what runs in it."""

    async def be_struck() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.2)  # by then the loop waits
        await asyncio.sleep(60)

    earlier = signal.signal(signal.SIGALRM, lambda *_: raise_error(struck))
    try:
        cancelled = cancellation(be_struck)
    finally:
        signal.signal(signal.SIGALRM, earlier)

    assert isinstance(cancelled, asyncio.CancelledError)
    assert behind(cancelled) is struck


def test_a_cancellation_is_not_about_an_error_that_was_handled() -> None:
    """What was being handled when somebody cancelled has not caused it."""

    async def cancel_itself() -> None:
        try:
            raise_error(ValueError("handled"))
        except ValueError:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(60)

    cancelled = cancellation(cancel_itself)
    assert isinstance(cancelled.__context__, ValueError)
    assert behind(cancelled) is cancelled
