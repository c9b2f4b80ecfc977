"""The end of a call on its way into the journal: who speaks of it, when it was, what is known."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from llm_audit import outcomes, redaction
from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import log_once
from llm_audit.ids import created_at
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import OTHER, OWN
from llm_audit.recorder.open_calls import OpenCall, open_calls
from llm_audit.recorder.process import recorder
from llm_audit.settings import get_settings, not_recorded


def end(call_id: str, fields: dict[str, Any], ended_ns: int) -> None:
    """Journal an outcome, as the call's owner if this process holds it open.

    Args:
        call_id: The call.
        fields: How it ended.
        ended_ns: When, on the monotonic clock.
    """
    call = open_calls.end(call_id)
    if call is not None:
        try:
            _journal(call_id, fields, Rank.OWNER, call, ended_ns)
        finally:
            open_calls.ended(call_id)
    elif open_calls.trace_of(call_id) is None:
        _journal(call_id, fields, Rank.ELSEWHERE, None, ended_ns)
    else:
        recorder().ended_twice += 1
        log_once("A call was ended twice: the first complete() or fail() stands.")


def end_unfinished(call_id: str, error: BaseException | None, ended_by: str | None) -> None:
    """Journal that a call ended without its outcome being known; a real one still beats this.

    Args:
        call_id: The call.
        error: What ended it, if it was an exception.
        ended_by: The cause; by default what the exception means, else "task_ended".
    """
    try:
        status, fields = LLMCallStatusEnum.INCOMPLETE, {"ended_by": "task_ended"}
        if error is not None:
            status, fields = outcomes.error_fields(error)
        if ended_by is not None:
            fields["ended_by"] = ended_by
        call = open_calls.end_unfinished(call_id)
        fields["status"] = status
        _journal(call_id, fields, Rank.UNWINDING, call, time.monotonic_ns())
    except Exception as fault:  # noqa: BLE001
        not_recorded("ending a call", fault)


def _journal(
    call_id: str, fields: dict[str, Any], rank: Rank, call: OpenCall | None, ended_ns: int
) -> None:
    if call is not None:
        elapsed_ms = (ended_ns - call.started_ns) / 1e6
        fields["latency_ms"] = round(elapsed_ms, 3)
        ended_at = (call.created_ms + elapsed_ms) / 1000
    else:
        ended_at = time.time()
        began = created_at(call_id)
        if began is not None:
            fields["latency_ms"] = max(0.0, round((ended_at - began.timestamp()) * 1000, 3))
    fields["completed_at"] = datetime.fromtimestamp(ended_at, UTC)
    fields["outcome_key"] = key = outcome_key(rank, ended_at)
    notes: Sequence[str] = ()
    redact = get_settings().redact
    if redact is not None:
        fields, notes = redaction.apply(redact, fields)
    recorder().record(OWN if rank is Rank.OWNER else OTHER, call_id, key, fields, notes)
