"""What the methods of `LLMLogger` have in common: how a start, an end or a remark is recorded."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from llm_audit import causes, gate, misspelt
from llm_audit.call import LLMCallStatusEnum
from llm_audit.context import CallContext, current_context
from llm_audit.encoding.bounds import TooMuchError
from llm_audit.errors import ConfigurationError, UsageError
from llm_audit.given import arguments, failures, outcomes
from llm_audit.ids import call_id_of, new_call_id
from llm_audit.recorder.captured import end_dropped
from llm_audit.recorder.exits import at_end
from llm_audit.recorder.process import let_go, open_calls, recorder, recorder_of
from llm_audit.recorder.started_here import note_start
from llm_audit.references import CallReference
from llm_audit.settings import get_settings, not_recorded, report_mistake

Method = Callable[..., CallReference]


def start(
    method: Method,
    given: dict[str, Any],
    request_params: dict[str, Any],
    *,
    began_ms: int | None = None,
) -> CallReference:
    """Record that a call begins.

    Args:
        method: `LLMLogger.start`.
        given: Its arguments by name.
        request_params: Every other argument.
        began_ms: When it began, in milliseconds of the epoch; by default now.
    """
    call_id, created_ms = new_call_id()
    if began_ms is not None:
        call_id, created_ms = call_id_of(began_ms), began_ms
    try:
        if get_settings().enabled:
            if request_params:
                misspelt.report_near_misses(method, request_params)
            context = current_context()
            doubts: list[str] = []
            fields = arguments.start_fields(given, request_params, context, doubts)
            if "trace_id" not in fields:
                fields["trace_id"] = trace_of(fields.get("parent_call_id"), context, call_id)
            recorder().calls.start(
                call_id, created_ms, fields, context.attempt_id, doubtful=bool(doubts)
            )
            note_start(call_id)
    except BaseException as error:  # noqa: BLE001
        cut_short("start", error)
    return CallReference(call_id)


def say_later(
    method: Method,
    call_id: str,
    unknown: Mapping[str, Any],
    fields: Callable[[], dict[str, Any]],
) -> CallReference:
    """Record what is said of a call beside its start and its end.

    Args:
        method: `LLMLogger.score` or `annotate`.
        call_id: What was given as such.
        unknown: Arguments that it does not take.
        fields: Returns what is said.
    """
    known, doing = arguments.known_identifier(call_id), method.__name__
    if not known:
        report_mistake(f"call_id has to be what LLMLogger.start returned; {doing} records nothing.")
    elif get_settings().enabled:
        try:
            if unknown:
                misspelt.report_unknown(method, unknown)
            if said := fields():
                recorder_of(open_calls().get(known)).calls.say_later(known, said)
        except BaseException as error:  # noqa: BLE001
            cut_short(doing, error)
    return CallReference(known)


def end(
    method: Method,
    call_id: str,
    given: dict[str, Any],
    unknown: Mapping[str, Any],
    ended_ns: int,
) -> CallReference:
    """Record how a call ended, for `complete` and `fail`.

    Args:
        method: Which of them.
        call_id: What was given as such.
        given: Its arguments by name, the error only if there is one.
        unknown: Arguments that it does not take.
        ended_ns: When, on the monotonic clock.
    """
    call_id = arguments.known_identifier(call_id) or arguments.call_identifier(call_id)
    if not get_settings().enabled:
        return CallReference(call_id)
    try:
        if unknown:
            misspelt.report_unknown(method, unknown)
        known = True
        error: Any = given.get("error")
        if issubclass(type(error), BaseException):  # not isinstance: its __class__ may raise
            given["error"] = error = failures.behind(error)
            known = given["status"] is not None or failures.owner_knows(error)
        call = open_calls().get(call_id)
        recording = recorder_of(call)
        asked = call.asked if call else (None, None)
        later = recording.reads_ends_later and call is not None and not _asks_for_a_cause(given)
        fields = _end_of(given, asked, later=later)
        if known:
            recording.calls.end(call_id, call, fields, ended_ns)
        else:
            recording.calls.end_unfinished(call_id, fields)
    except BaseException as struck:  # noqa: BLE001
        cut_short(method.__name__, struck)
    return CallReference(call_id)


def _asks_for_a_cause(given: Mapping[str, Any]) -> bool:
    """Tell whether how a call ended is in an exception, which does not wait in a journal."""
    handled = given["status"] is not None and sys.exc_info()[1] is not None
    return handled or "error" in given


def _end_of(
    given: dict[str, Any], asked: tuple[str | None, str | None], *, later: bool
) -> dict[str, Any]:
    """Return how a call ended; if that cannot be read, what was given as it is.

    Args:
        given: As `end` takes it.
        asked: The provider and the model that were asked.
        later: Whether to return what is still to be read, see `journal.unread`.
    """
    try:
        said = outcomes.told(given)
        if later and not get_settings().strict:  # which raises a mistake where it is made
            return {"said": said, "asked": asked}
        fields = outcomes.fields_told(said, asked)
    except (UsageError, ConfigurationError):
        raise
    except TooMuchError as fault:  # which is no mistake of who calls
        return outcomes.unread_fields(given, fault)
    except BaseException as fault:  # noqa: BLE001  (a foreign object may raise anything)
        not_recorded("reading how it ended", fault)
        return outcomes.unread_fields(given, fault)
    return {"said": said, "asked": asked} if later else fields


def end_open_calls(
    attempt_id: str | None, error: BaseException | None, ended_by: str | None
) -> int:
    """End what one attempt of a task left open, and return how many calls that were.

    Args:
        attempt_id: The attempt; None for every open call of the process.
        error: As of `end_unfinished`.
        ended_by: The same.
    """
    try:
        end_dropped()
        call_ids = open_calls().unended(attempt_id)
    except BaseException:
        let_go()
        raise
    for call_id in call_ids:
        end_unfinished(call_id, error, ended_by)
    return len(call_ids)


def end_unfinished(
    call_id: str, error: BaseException | None, ended_by: str | None, **known: Any
) -> None:
    """Record that a call ended without its outcome being known.

    Args:
        call_id: The call.
        error: What ended it, if it was an exception.
        ended_by: The cause; by default what the exception means, else "task_ended".
        **known: Fields of the outcome that are known all the same.
    """
    try:
        status, fields = LLMCallStatusEnum.INCOMPLETE, {"ended_by": causes.TASK_ENDED}
        if error is not None:
            status, fields = failures.error_fields(error)
        if ended_by is not None:
            fields["ended_by"] = ended_by
        call = open_calls().get(call_id)
        came = call.arrived() if call is not None and call.arrived is not None else {}
        recorder_of(call).calls.end_unfinished(
            call_id, {**came, **known, **fields, "status": status}
        )
    except BaseException as struck:  # noqa: BLE001
        cut_short("ending a call", struck)


def cut_short(doing: str, error: BaseException) -> None:
    """Leave everything as it has to be for the next call, and keep faults of ours to ourselves.

    Args:
        doing: What was cut short.
        error: By what; what struck from outside is raised again, whatever else it is stays here.
    """
    let_go()
    not_recorded(doing, error)


def trace_here(first: str) -> str | None:
    """Return the trace that a call made here would join, or None where it would begin its own.

    Args:
        first: Names the trace of the `audit_context` around, if nothing has happened in it yet.
    """
    context = current_context()
    if context.trace_id is None and (context.shared or context.parent_call_id):
        return trace_of(context.parent_call_id, context, gate.shortened(first))
    return context.trace_id or _trace_of_span()


def trace_of(parent_call_id: str | None, context: CallContext, call_id: str) -> str:
    """Return the trace of a call where none is named.

    That is its parent's, OpenTelemetry's, the one that its `audit_context` shares, or a new one. A
    new trace is named after its first call, so a child finds it even in another process that has
    never seen its parent.
    """
    if parent_call_id is not None:
        known = open_calls().trace_of(parent_call_id)
        if known is not None:
            return known
    if (of_span := _trace_of_span()) is not None:
        return of_span
    if parent_call_id is not None or context.shared is None:
        return parent_call_id or call_id
    return context.shared.named_after(call_id)


def _trace_of_span() -> str | None:
    """Return the trace of the span that OpenTelemetry has here; None without one.

    The span that is made for a message alone, as it is published, is no unit of work.
    """
    opentelemetry = sys.modules.get("opentelemetry.trace")
    # where its context is empty there is no span, which is asked for faster
    if opentelemetry is None or not sys.modules["opentelemetry.context"].get_current():
        return None
    span = opentelemetry.get_current_span()
    here = span.get_span_context()
    if not here.is_valid:
        return None
    kind = getattr(span, "kind", None)
    is_alone = kind is opentelemetry.SpanKind.PRODUCER and getattr(span, "parent", None) is None
    return None if is_alone else f"{here.trace_id:032x}"


# Registered after the recorder's own, so it runs before: what is still open is journaled first.
at_end("open calls", partial(end_open_calls, None, None, causes.PROCESS_EXIT))
