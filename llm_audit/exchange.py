"""A call as it goes over the wire: its request and its answer, recorded as they were seen."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_audit.call import LLMCallStatusEnum
from llm_audit.context import CallContext, current_context
from llm_audit.given import arguments, failures, received, sent
from llm_audit.given.received import Received
from llm_audit.given.sent import Sent
from llm_audit.ids import new_call_id
from llm_audit.journal.records import RECEIVED, SENT
from llm_audit.journal.unread import BODY, TOLD_AS
from llm_audit.recorder.process import open_calls, recorder, recorder_of
from llm_audit.recording import cut_short, trace_of
from llm_audit.references import CallReference
from llm_audit.settings import get_settings

# What an answer that is whole most likely has near its end; of others it is read at once.
_END = re.compile(
    rb"\[DONE\]|\"message_stop\"|response\.(?:completed|incomplete|failed)|\"done\"\s*:\s*true|"
    rb"\"(?:finish_reason|finishReason|stopReason)\"\s*:\s*\""
)
_LOOKED_AT = 4_096

__all__ = ["Received", "Sent", "begin", "begin_attempt", "end", "when_left"]


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
            recorder().start(
                *(call_id, created_ms, fields, attempt_id),
                doubtful=bool(doubts),
                model=sent.model_in(request.asked, request.body),
            )
    except BaseException as error:  # noqa: BLE001
        cut_short("a captured call's start", error)
    return CallReference(call_id)


def end(
    call_id: str,
    answer: Received,
    ended_ns: int,
    error: BaseException | None = None,
    *,
    attempt: int | None = None,
    left: bool = False,
) -> None:
    """Record how a call ended.

    Args:
        call_id: What `begin` returned.
        answer: What came back, as far as it came.
        ended_ns: When, on the monotonic clock.
        error: What it ended with, if that was raised.
        attempt: The number of its request, from 1 on, if its client may ask again. Then anything
            else that is said of the call counts more: see `begin_attempt`.
        left: Whether the app has left the answer. If that is not whole, its task may know why.
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
        if call is not None:
            call.arrived = None
        asked = (call.provider, call.model) if call else (None, None)
        told = received.told(answer, failed)
        recording = recorder_of(call)
        left = left and _END.search(answer.body, max(0, len(answer.body) - _LOOKED_AT)) is None
        if known and attempt is None and not left:
            fields = {TOLD_AS[RECEIVED]: told, BODY: answer.body, "asked": asked}
            recording.end(call_id, call, fields, ended_ns)
        else:
            fields = received.fields_of(told, answer.body, asked)
            if left and fields["status"] != LLMCallStatusEnum.INCOMPLETE:
                recording.end(call_id, call, fields, ended_ns)
            elif attempt is None:
                recording.end_unfinished(call_id, fields)
            else:
                recording.end_attempt(call_id, fields, ended_ns, number=attempt)
    except BaseException as struck:  # noqa: BLE001
        cut_short("a captured call's end", struck)


def begin_attempt(call_id: str, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Record that the client asks again for the same call; it is open by that.

    Args:
        call_id: The call.
        attempts: What became of its requests so far, see `call.Attempt`.
    """
    try:
        recording = recorder_of(open_calls().get(call_id))
        number = len(attempts) + 1
        recording.begin_attempt(call_id, {"attempts": list(attempts)}, number=number)
    except BaseException as struck:  # noqa: BLE001
        cut_short("a captured call's next request", struck)


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
        found = received.fields_of(received.told(came, None), came.body, asked)
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
    given = {**request.fields, "provider": request.provider}
    given.setdefault("call_type", context.call_type or request.asked.api.call_type)
    started = arguments.start_fields(given, {}, context, doubts)
    started |= {
        "captured_by": request.captured_by,
        "endpoint": request.endpoint,
        TOLD_AS[SENT]: sent.told(request),
    }
    if request.body is not None:
        started[BODY] = request.body
    if len(request.endpoint) > arguments.NAME_MAX:
        doubts.append("endpoint")
    return started
