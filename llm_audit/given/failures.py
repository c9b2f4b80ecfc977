"""How a call ended, as fields: from an exception or a text."""

import asyncio
import concurrent.futures
import sys
import traceback
from typing import Any

from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum
from llm_audit.encoding.bounds import TooMuchError, is_within
from llm_audit.errors import is_soft_time_limit, let_through
from llm_audit.providers.errors import ErrorSeen, is_of_a_store, is_of_the_call
from llm_audit.runtime.interruption import cancels_task
from llm_audit.settings import report_mistake

MAX_CHARACTERS = 20_000
_CAUSES_MAX = 8
_FRAMES_MAX = 1_000
_CHAIN_MAX = 1_000  # exceptions in a traceback
_ARGUMENTS_MAX = 10_000  # values in one
_SAID_MAX = 1_000_000  # characters in the texts of all of these
_TELLING_CHARACTERS = 8  # a shorter text may be in another by chance
CAUSE_BY_NAME = {
    "SoftTimeLimitExceeded": causes.SOFT_TIME_LIMIT,
    "TimeLimitExceeded": causes.HARD_TIME_LIMIT,
    "WorkerLostError": causes.WORKER_LOST,
    "SystemExit": causes.PROCESS_EXIT,
    "KeyboardInterrupt": causes.PROCESS_EXIT,
    **dict.fromkeys(
        ("Exception", "CancelledError", "Cancelled", "GeneratorExit"), causes.EXCEPTION
    ),
    "BaseException": causes.INTERRUPTED,
}


def error_fields(error: object) -> tuple[LLMCallStatusEnum, dict[str, Any]]:
    """Return the status that an error means, and what is stored of it.

    A text that is the message of the exception being handled right now, as in
    `except Exception as e: fail(call_id, str(e))`, brings that exception's type and traceback.

    Args:
        error: An exception, or a text.
    """
    error = _meant(error)
    if isinstance(error, str):
        fields = {"error_message": _beginning(error), "ended_by": causes.EXCEPTION}
        return LLMCallStatusEnum.ERROR, fields
    if not isinstance(error, BaseException):
        report_mistake("error has to be an exception or a str.")
        fields = {"error_message": _beginning(_text(error)), "ended_by": causes.EXCEPTION}
        return LLMCallStatusEnum.ERROR, fields
    names = [cls.__name__ for cls in type(error).__mro__]
    cause = next(CAUSE_BY_NAME[name] for name in names if name in CAUSE_BY_NAME)
    chain = [ErrorSeen(one) for one in _causes(error)]
    fields = {
        "error_type": names[0],
        "error_message": _beginning(_text(error)),
        "error_traceback": _traceback(error)[-MAX_CHARACTERS:],
        "ended_by": cause,
        **_said_by(chain),
    }
    return _status_of(error, chain), fields


def cause_handled(status: LLMCallStatusEnum) -> str | None:
    """Return the cause that the exception being handled right now means, if it means this status.

    Args:
        status: The status that a call was given without an error.
    """
    handled = sys.exc_info()[1]
    if handled is None:
        return None
    meant, fields = error_fields(behind(handled))
    return fields["ended_by"] if meant is status else None


def completion_in(error: object) -> tuple[object, object]:
    """Return the response that an exception carries, or one that it wraps, and its usage.

    Args:
        error: What `error_fields` takes; None for what is not there.
    """
    error = _meant(error)
    if isinstance(error, BaseException):
        for cause in _causes(error):
            completion, usage = ErrorSeen(cause).completion()
            if completion is not None:
                return completion, usage
    return None, None


def behind(error: BaseException) -> BaseException:
    """Return what a cancellation is really about, where asyncio has made one of something else.

    When a time limit or the end of the process strikes `asyncio.run`, it cancels what still runs:
    the coroutine sees the cancellation, and the cause as its context.
    """
    cause: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if not isinstance(cause, asyncio.CancelledError):
            break
        cause = cause.__context__
    if cause is None or (owner_knows(cause) and not is_soft_time_limit(cause)):
        return error
    return cause


def owner_knows(error: BaseException) -> bool:
    """Tell whether an exception says how a call ended; of SystemExit and the like others may."""
    return isinstance(error, Exception) or cancels_task(error)


def _meant(error: object) -> object:
    """Return the exception being handled right now for its text; anything else as it is."""
    handled = sys.exc_info()[1]
    repeated = isinstance(error, str) and handled is not None and _text(handled) == error
    return handled if repeated else error


def _status_of(error: BaseException, chain: list[ErrorSeen]) -> LLMCallStatusEnum:
    for seen in chain:
        if seen.is_timeout():
            return LLMCallStatusEnum.TIMEOUT
        if seen.http_status:  # the provider has answered
            break
    if isinstance(error, concurrent.futures.CancelledError) or cancels_task(error):
        return LLMCallStatusEnum.CANCELLED
    if isinstance(error, Exception):
        return LLMCallStatusEnum.ERROR
    return LLMCallStatusEnum.INCOMPLETE


def _said_by(chain: list[ErrorSeen]) -> dict[str, Any]:
    """Return what exceptions say of one failure, the outer ones before those that they wrap."""
    said: dict[str, Any] = {}
    for seen in chain:
        if said.get("http_status") and seen.http_status not in {None, said["http_status"]}:
            break  # of another failure
        fields = seen.fields()
        details = fields.get("error_details", {}) | said.get("error_details", {})
        said = fields | said | ({"error_details": details} if details else {})
    return said


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what it wraps: its cause, or what its text or arguments repeat.

    A cancellation, or the end of the process, is not about what was being handled when it came.
    Those of the app's surroundings are left out: that its database is slow is no timeout of the
    call, and what it answers itself is not what the provider answered.
    """
    chain = [error]
    if isinstance(error, concurrent.futures.CancelledError) or not isinstance(error, Exception):
        return chain
    while len(chain) < _CAUSES_MAX and not is_of_a_store(chain[-1]):
        inner = _wrapped_in(chain[-1])
        if inner is None or any(inner is seen for seen in chain):
            break
        chain.append(inner)
    return [cause for cause in chain if is_of_the_call(cause)]


def _wrapped_in(error: BaseException) -> BaseException | None:
    try:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            return error.exceptions[0]
        if isinstance(cause := error.__cause__, BaseException):
            return cause
        context = error.__context__
        if error.__suppress_context__ or not isinstance(context, Exception):
            return None
        repeated = any(context is given for given in error.args)
        text = _text(context)
        if len(text) >= _TELLING_CHARACTERS and text in _text(error):
            repeated = True
    except BaseException as fault:  # noqa: BLE001  (a hostile exception)
        let_through(fault)
        return None
    return context if repeated else None


def _traceback(error: BaseException) -> str:
    """Return files, lines and functions, and what the exceptions say; no line of the source.

    A key stands in many a line: `OpenAI(api_key="sk-...")`.
    """
    try:
        if not _can_be_written(error):
            raise TooMuchError  # noqa: TRY301  (like one that cannot be written out)
        whole = traceback.TracebackException.from_exception(error, lookup_lines=False)
        parts = {id(whole): whole}
        waiting = [whole]
        for part in waiting:  # which grows meanwhile
            _forget_source(part)
            inner = (part.__cause__, part.__context__, *(part.exceptions or ()))
            new = {id(one): one for one in inner if one is not None and id(one) not in parts}
            parts |= new
            waiting += new.values()
        return "".join(whole.format())
    except BaseException as fault:  # noqa: BLE001  (of a SyntaxError whose text is none, say)
        let_through(fault)
        frames = traceback.extract_tb(error.__traceback__, limit=-_FRAMES_MAX)
        places = (f'  File "{one.filename}", line {one.lineno}, in {one.name}\n' for one in frames)
        return f"{''.join(places)}{type(error).__name__}: {_text(error)}\n"


def _can_be_written(error: BaseException) -> bool:
    """Tell whether an exception and all that it is chained with are few, and say little."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    long = 0
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        said = (*one.args, *getattr(one, "__notes__", ()))
        long += sum(len(text) for text in said if isinstance(text, str | bytes))
        few = is_within(said, _ARGUMENTS_MAX, written_out=True)
        if len(seen) > _CHAIN_MAX or not few or long > _SAID_MAX:
            return False
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += (one.__cause__, one.__context__, *inner[:_CHAIN_MAX])
    return True


def _forget_source(part: traceback.TracebackException) -> None:
    part.stack = traceback.StackSummary.from_list(
        [
            traceback.FrameSummary(one.filename, one.lineno, one.name, lookup_line=False, line="")
            for one in part.stack
        ]
    )
    if hasattr(part, "text"):  # of a SyntaxError
        part.text = ""


def _text(value: object) -> str:
    try:
        if not is_within(value, _ARGUMENTS_MAX, written_out=True):
            raise TooMuchError  # noqa: TRY301  (like one whose text raises)
        return str(value)
    except BaseException as error:  # noqa: BLE001  (a hostile __str__ must not hide the call's end)
        let_through(error)
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"


def _beginning(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[:MAX_CHARACTERS]}… ({len(text)} characters)"
