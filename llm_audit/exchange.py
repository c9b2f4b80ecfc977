"""A call as it goes over the wire: its request and its answer, recorded as they were seen."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.context import NOWHERE, current_context
from llm_audit.given import arguments, failures, received, sent
from llm_audit.given.received import Received
from llm_audit.given.sent import Sent
from llm_audit.ids import new_call_id
from llm_audit.journal.records import RECEIVED, SENT
from llm_audit.journal.unread import BODY, TOLD_AS
from llm_audit.recorder.journaling import SAME_MAX, Same
from llm_audit.recorder.open_calls import OpenCall
from llm_audit.recorder.process import open_calls, recorder, recorder_of
from llm_audit.recording import cut_short, trace_of
from llm_audit.references import CallReference
from llm_audit.settings import get_settings
from llm_audit.wire.to_come import may_be_to_come

# What an answer that is whole most likely has near its end; of others it is read at once.
_END = re.compile(
    rb"\[DONE\]|\"message_stop\"|response\.(?:completed|incomplete|failed)|\"done\"\s*:\s*true|"
    rb"\"(?:finish_reason|finishReason|stopReason)\"\s*:\s*\""
)
_LAST_BYTES = (64, 4_096)  # that are looked at: mostly it is what comes last
_known: dict[tuple[object, ...], Same] = {}  # see `_same`

__all__ = [
    "Received",
    "Sent",
    "ToCome",
    "begin",
    "begin_attempt",
    "end",
    "end_left",
    "end_with",
    "result_in",
    "said_of",
    "when_left",
]


class ToCome(NamedTuple):
    """What an answer says of a result that is still being made.

    Attributes:
        response_id: By which it is fetched.
        asked: The provider and the model that were asked, for the price.
    """

    response_id: str
    asked: tuple[str | None, str | None]


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
            context, body = current_context(), request.body
            same = _same(request, context.call_type)
            doubts = [*same.doubts]
            fields = {**same.fields} if body is None else {**same.fields, BODY: body}
            if context is not NOWHERE:
                arguments.inherit(fields, context, doubts)
            if "trace_id" not in fields:
                fields["trace_id"] = trace_of(fields.get("parent_call_id"), context, call_id)
            recorder().calls.start(
                *(call_id, created_ms, fields, context.attempt_id),
                doubtful=bool(doubts),
                model=sent.model_in(request.asked, body),
                same=same,
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
) -> ToCome | None:
    """Record how a call ended.

    Args:
        call_id: What `begin` returned.
        answer: What came back, as far as it came.
        ended_ns: When, on the monotonic clock.
        error: What it ended with, if that was raised.
        attempt: The number of its request, from 1 on, if its client may ask again. Then anything
            else that is said of the call counts more: see `begin_attempt`.
        left: Whether the app has left the answer. If that is not whole, its task may know why.

    Returns:
        What may still end the call, see `end_with`; None if that is over.
    """
    try:
        if not get_settings().enabled:
            return None
        error = None if error is None else failures.behind(error)
        call = open_calls().get(call_id)
        if call is not None:
            call.arrived = None
        asked = call.asked if call else (None, None)
        told = received.told(answer, _failed(error))
        calls = recorder_of(call).calls
        if attempt is None and _is_end(answer, error, left=left):
            fields = {TOLD_AS[RECEIVED]: told, BODY: answer.body, "asked": asked}
            calls.end(call_id, call, fields, ended_ns)
            return None
        fields = received.fields_of(told, answer.body, asked)
        if attempt is not None:
            calls.end_attempt(call_id, fields, ended_ns, number=attempt)
        elif _is_outcome(fields, error):
            calls.end(call_id, call, fields, ended_ns)
        else:
            calls.end_unfinished(call_id, fields)
            if _may_be_to_come(answer) and "response_id" in fields:
                return ToCome(str(fields["response_id"]), asked)
    except BaseException as struck:  # noqa: BLE001
        cut_short("a captured call's end", struck)
    return None


def end_left(call_id: str, answer: Received, ended_ns: int, error: BaseException | None) -> None:
    """Record why the app has left an answer, where that was seen only later. As of `end`."""
    try:
        call = open_calls().get(call_id)
        if call is not None and not call.over:
            recorder_of(call).calls.end(call_id, call, _read(answer, call.asked, error), ended_ns)
    except BaseException as struck:  # noqa: BLE001
        cut_short("a captured call's end", struck)


def said_of(error: BaseException) -> dict[str, Any]:
    """Return what is stored of an error of the app's, for which it left an answer."""
    _, fields = failures.error_fields(error)
    return {name: fields[name] for name in ("error_type", "error_message")}


def _read(
    answer: Received, asked: tuple[str | None, str | None], error: BaseException | None = None
) -> dict[str, Any]:
    """Return everything that is stored of how a call ended. As of `received.fields_of`."""
    return received.fields_of(received.told(answer, _failed(error)), answer.body, asked)


def _failed(error: BaseException | None) -> dict[str, Any] | None:
    """Return what is stored of an exception that an answer ended with."""
    if error is None:
        return None
    status, fields = failures.error_fields(error)
    return {**fields, "status": status}


def _is_end(answer: Received, error: BaseException | None, *, left: bool) -> bool:
    """Tell whether an answer ends its call whatever it says, so that it may be read behind."""
    if error is not None and not failures.owner_knows(error):
        return False
    if left and not any(_END.search(answer.body[-last:]) for last in _LAST_BYTES):
        return False
    return not _may_be_to_come(answer)


def _is_outcome(fields: Mapping[str, Any], error: BaseException | None) -> bool:
    """Tell whether an answer that may not be its call's end says all the same how that ended."""
    if error is None:
        return bool(fields["status"] != LLMCallStatusEnum.INCOMPLETE)
    return failures.owner_knows(error) and fields["status"] == LLMCallStatusEnum.SUCCESS


def _may_be_to_come(answer: Received) -> bool:
    return may_be_to_come(
        answer.asked.api.api, answer.body, answer.content_encoding, streamed=answer.streamed
    )


def result_in(answer: Received, asked: tuple[str | None, str | None]) -> dict[str, Any] | None:
    """Return the outcome that a fetched result is; None if it is still to come.

    Args:
        answer: To the request that fetched it.
        asked: As of `ToCome`.
    """
    fields = _read(answer, asked)
    return None if fields["status"] == LLMCallStatusEnum.INCOMPLETE else fields


def end_with(call_id: str, fields: dict[str, Any], ended_ns: int) -> None:
    """Record the result of a call that was to come.

    Args:
        call_id: The call.
        fields: What `result_in` returned.
        ended_ns: When it was fetched, on the monotonic clock.
    """
    try:
        call = open_calls().get(call_id)
        if call is None or not call.over:  # else the app has told the outcome itself
            recorder_of(call).calls.end(call_id, call, fields, ended_ns)
    except BaseException as struck:  # noqa: BLE001
        cut_short("a captured call's result", struck)


def begin_attempt(call_id: str, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Record that the client asks again for the same call; it is open by that.

    Args:
        call_id: The call.
        attempts: What became of its requests so far, see `call.Attempt`.
    """
    try:
        calls = recorder_of(open_calls().get(call_id)).calls
        number = len(attempts) + 1
        calls.begin_attempt(call_id, {"attempts": list(attempts)}, number=number)
    except BaseException as struck:  # noqa: BLE001
        cut_short("a captured call's next request", struck)


def when_left(call: OpenCall | None, arrived: Callable[[], Received | None]) -> None:
    """Have somebody asked what has come back, if others have to end a call: with its task, say.

    Args:
        call: What `open_calls` has of it.
        arrived: Returns what has come so far; None if there is nothing to say.
    """

    def fields() -> dict[str, Any]:
        if call is None or (came := arrived()) is None:
            return {}
        found = _read(came, call.asked)
        return {name: value for name, value in found.items() if name not in {"status", "ended_by"}}

    if call is not None:
        call.arrived = fields


def _same(request: Sent, call_type: LLMCallTypeEnum | None) -> Same:
    """Return what the starts of all calls have in common that ask the same place in the same way.

    Args:
        request: The first one, or the next.
        call_type: What it is for; None for what the API says.
    """
    asked, kind = request.asked, request.content_type
    api = asked.rows[0]
    call_type = call_type or api.call_type
    key = (
        *(request.captured_by, request.endpoint, request.provider, call_type, api.api),
        *(asked.model, asked.streamed, asked.is_first, kind if isinstance(kind, str) else None),
    )
    found = _known.get(key)
    if found is None:
        doubts: list[str] = []
        given = {"provider": request.provider, "call_type": call_type}
        fields = arguments.checked(given, {}, doubts)
        fields |= {
            "captured_by": request.captured_by,
            "endpoint": request.endpoint,
            TOLD_AS[SENT]: sent.told(request),
        }
        if len(request.endpoint) > arguments.NAME_MAX:
            doubts.append("endpoint")
        if len(_known) >= SAME_MAX:
            _known.clear()
        found = _known[key] = Same(fields, tuple(doubts))
    return found
