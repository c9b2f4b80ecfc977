"""How a call ended, read from an exception, a text, or a response."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import math
import signal
from collections.abc import Callable, Coroutine
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import billiard.exceptions
import celery.exceptions
import openai
import pytest
from openai.types.chat import ChatCompletionMessage

from llm_audit import LLMCallStatusEnum, UsageError, configure
from llm_audit.outcomes import MAX_CHARACTERS, behind, error_fields, response_fields

REQUEST: Any = None  # of which nothing is read


class ReadTimeout(Exception):  # noqa: N818  (the name that httpx and requests give it)
    """A client's timeout, which has no base in common with the others."""


def raise_error(error: BaseException) -> None:
    raise error


def fields_of_response(**given: Any) -> dict[str, Any]:
    arguments = {"response_message": None, "tokens": None, "estimated_cost": None}
    return response_fields(**(arguments | given), provider="openai", models=("gpt-4o",))


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


@dataclasses.dataclass(slots=True)
class Message:
    """A message in a user's own type."""

    role: str
    content: str


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "hi", "unknown": 1},
        Message("assistant", "hi"),
        ChatCompletionMessage(role="assistant", content="hi"),
        {},
    ],
    ids=["dict", "dataclass", "openai", "empty"],
)
def test_a_message_stays_what_it_is(message: Any) -> None:
    """Dicts, dataclasses and the SDKs' objects go to the encoder as they are."""
    configure(strict=True)
    assert fields_of_response(response_message=message)["response_message"] is message


def test_the_fields_of_an_object_are_its_message() -> None:
    """An object of an unknown kind is stored by its attributes."""
    configure(strict=True)
    message = SimpleNamespace(role="assistant", content="hi")
    stored = fields_of_response(response_message=message)["response_message"]
    assert stored == {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize("message", [MagicMock(), Message], ids=["mock", "class"])
def test_a_message_is_stored_as_a_document(message: Any) -> None:
    """A mock, which has every method, and a class are stored as what a call's model can read."""
    stored = fields_of_response(response_message=message)["response_message"]
    assert isinstance(stored, dict)


@pytest.mark.parametrize("message", ["hi", ["hi"], 5, b"hi"], ids=["str", "list", "int", "bytes"])
def test_what_is_no_message_is_a_mistake(message: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Content without a message raises in strict mode; else it becomes the content of one."""
    configure(strict=True)
    with pytest.raises(UsageError, match="response_message"):
        fields_of_response(response_message=message)
    configure(strict=False)
    stored = fields_of_response(response_message=message)["response_message"]
    assert stored == {"role": "assistant", "content": message}
    assert len(caplog.messages) == 1


def test_tools_called_are_listed() -> None:
    """The names of the tools that a message asks for are a field of their own."""
    calls = [{"type": "function", "function": {"name": name}} for name in ("search", "search")]
    fields = fields_of_response(response_message={"role": "assistant", "tool_calls": calls})
    assert fields["tools_called"] == ["search", "search"]
    assert "malformed_tool_calls" not in fields


def test_malformed_tool_calls_are_listed() -> None:
    """So are those of them whose arguments no program can read."""
    calls = [
        {"type": "function", "function": {"name": "search", "arguments": arguments}}
        for arguments in ("{}", '{"query": "Par')
    ]
    fields = fields_of_response(response_message={"role": "assistant", "tool_calls": calls})
    assert fields["malformed_tool_calls"] == ["search"]


@pytest.mark.parametrize("count", [-5, 1.5, "many", 2**70])
def test_what_is_no_token_count_is_a_mistake(count: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A negative or broken count raises in strict mode; else the other counts are kept."""
    tokens = {"prompt_tokens": count, "completion_tokens": 2}
    configure(strict=True)
    with pytest.raises(UsageError, match="prompt_tokens"):
        fields_of_response(tokens=tokens)
    configure(strict=False)
    fields = fields_of_response(tokens=tokens)
    assert "prompt_tokens" not in fields
    assert fields["completion_tokens"] == 2
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("cost", [0.5, "0.5", Decimal("0.5")], ids=["float", "str", "Decimal"])
def test_a_given_cost_counts(cost: Any) -> None:
    """A cost from the caller is stored as such, whatever the price list says."""
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    fields = fields_of_response(tokens=tokens, estimated_cost=cost)
    assert (fields["estimated_cost"], fields["cost_source"]) == (0.5, "caller")


def test_a_cost_not_given_is_computed() -> None:
    """Without a cost, the model's price and the tokens give it, and say where it comes from."""
    fields = fields_of_response(tokens={"prompt_tokens": 10, "completion_tokens": 5})
    assert fields["estimated_cost"] > 0
    assert fields["cost_source"].startswith("genai-prices")


@pytest.mark.parametrize("cost", [-1, math.nan, math.inf, 10**400, "much", object()])
def test_what_is_no_cost_is_a_mistake(cost: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A cost that cannot be raises in strict mode; else there is none."""
    configure(strict=True)
    with pytest.raises(UsageError, match="estimated_cost"):
        fields_of_response(estimated_cost=cost)
    configure(strict=False)
    assert fields_of_response(estimated_cost=cost) == {}
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
        signal.setitimer(signal.ITIMER_REAL, 0.01)
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
