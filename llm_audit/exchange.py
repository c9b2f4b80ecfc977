"""A call as it goes over the wire: its request and its answer, recorded as they were seen."""

from collections.abc import Callable
from typing import Any

from llm_audit.context import CallContext, current_context
from llm_audit.given import arguments, failures, received, sent
from llm_audit.given.received import Received
from llm_audit.given.sent import Sent
from llm_audit.ids import new_call_id
from llm_audit.recorder.process import open_calls, recorder, recorder_of
from llm_audit.recording import cut_short, trace_of
from llm_audit.references import CallReference
from llm_audit.settings import get_settings, made_before

__all__ = ["Received", "Sent", "begin", "end"]


def begin(request: Sent) -> CallReference:
    """Record that a call begins; it is on disk before its request leaves.

    Args:
        request: As it was seen.

    Returns:
        The call's id, for `end`.
    """
    call_id, created_ms = new_call_id()
    try:
        if get_settings().enabled:
            context = current_context()
            doubts: list[str] = []
            fields = _start_fields(request, context, doubts)
            if "trace_id" not in fields:
                fields["trace_id"] = trace_of(fields.get("parent_call_id"), context, call_id)
            attempt_id = context.task.get("attempt_id") if context.task else None
            recorder().start(call_id, created_ms, fields, attempt_id, doubtful=bool(doubts))
    except BaseException as error:  # noqa: BLE001
        cut_short("a captured call's start", error)
    return CallReference(call_id)


def end(
    call_id: str,
    answer: Received,
    ended_ns: int,
    error: BaseException | None = None,
    *,
    weakly: bool = False,
) -> None:
    """Record how a call ended.

    Args:
        call_id: What `begin` returned.
        answer: What came back, as far as it came.
        ended_ns: When, on the monotonic clock.
        error: What it ended with, if that was raised.
        weakly: Whether a better end may follow, as its client may try again; see `go_on`.
    """
    try:
        if not get_settings().enabled:
            return
        known, failed = True, None
        if error is not None:
            error = failures.behind(error)
            known = failures.owner_knows(error)
            status, of_error = failures.error_fields(error)
            failed = {**of_error, "status": status}
        call = open_calls().get(call_id)
        asked = (call.provider, call.model) if call else (None, None)
        fields = received.fields_of(received.told(answer, failed), asked)
        recording = recorder_of(call)
        if known and not weakly:
            recording.end(call_id, call, fields, ended_ns)
        else:
            recording.end_unfinished(call_id, fields, ended_ns=ended_ns, weakly=weakly)
    except BaseException as struck:  # noqa: BLE001
        cut_short("a captured call's end", struck)


def go_on(call_id: str) -> None:
    """Let a call run again that was ended weakly."""
    if call := open_calls().get(call_id):
        call.unfinished = False


def when_left(call_id: str, arrived: Callable[[], Received | None]) -> None:
    """Have somebody asked what has come back, if others have to end a call: with its task, say.

    Args:
        call_id: The call.
        arrived: Returns what has come so far; None if there is nothing to say.
    """

    def fields() -> dict[str, Any]:
        asked = (call.provider, call.model) if call else (None, None)
        if (came := arrived()) is None:
            return {}
        found = received.fields_of(received.told(came, None), asked)
        return {name: value for name, value in found.items() if name not in {"status", "ended_by"}}

    if call := open_calls().get(call_id):
        call.arrived = fields


def _start_fields(request: Sent, context: CallContext, doubts: list[str]) -> dict[str, Any]:
    """Return the fields of a call's start: what the request says, and what the context adds.

    Args:
        request: As it was seen.
        context: What the call inherits.
        doubts: Is told of fields that may not hold what they have to, see `gate`.
    """
    fields = sent.fields_of(sent.told(request))
    params = fields.pop("request_params", {})
    notes = fields.pop("encoding_notes", ())
    known = {**fields, **request.fields}
    if request.provider:
        known["provider"] = request.provider
    reading = made_before.set(True)  # nobody has made a mistake: it was sent so
    try:
        started = arguments.start_fields(known, params, context, doubts)
    finally:
        made_before.reset(reading)
    started |= {"captured_by": request.captured_by, "endpoint": request.endpoint}
    if len(request.endpoint) > arguments.NAME_MAX:
        doubts.append("endpoint")
    if notes:
        started["encoding_notes"] = [*started.get("encoding_notes", ()), *notes]
    return started
