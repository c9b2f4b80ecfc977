"""The calls of one recorder: how each begins, ends and goes on, as operations for its journal."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64

from llm_audit import gate
from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import log_once
from llm_audit.ids import created_at
from llm_audit.journal.precedence import (
    UNWINDING_CAUSES,
    Rank,
    attempt_key,
    later_key,
    lowest_key,
    outcome_key,
)
from llm_audit.journal.records import ENDED, LATER, OTHER, OWN, RECEIVED, SENT, START
from llm_audit.journal.unread import TOLD_AS, fields_of
from llm_audit.recorder.content import ContentPolicy
from llm_audit.recorder.journaling import Same
from llm_audit.recorder.listening import Listening
from llm_audit.recorder.open_calls import OpenCall, OpenCalls, Origin
from llm_audit.runtime import clock

# Of the constants, what is true of calls that another process has made.
_BROUGHT_IN = ("schema_version", "environment", "service")


class Calls:
    """What is said of calls, on its way into a journal.

    Args:
        origin: Of the calls that begin here.
        constants: Fields that are the same for each of them.
        open_calls: The calls of this process, which outlive a recorder that is stopped.
        content: What of them is recorded.
        record: `Journaling.record`.
    """

    def __init__(
        self,
        origin: Origin,
        constants: Mapping[str, Any],
        open_calls: OpenCalls,
        content: ContentPolicy,
        record: Callable[..., None],
    ) -> None:
        self.ended_twice = 0
        self._origin = origin
        self._constants = constants
        self._open_calls = open_calls
        self._content = content
        self._record = record

    def start(
        self,
        call_id: str,
        created_ms: int,
        fields: dict[str, Any],
        attempt_id: str | None,
        *,
        doubtful: bool = False,
        model: str | None = None,
        same: Same | None = None,
    ) -> None:
        """Journal that a call begins, and hold it open.

        Args:
            call_id: The call.
            created_ms: The id's instant, of the epoch.
            fields: What is known of it, its trace included; what is the same for each call of this
                process is added.
            attempt_id: Of the task that makes it.
            doubtful: Whether fields may not hold what they have to, see `gate`.
            model: That is asked, if the fields do not say it yet.
            same: Those of the fields that others have in common with it.
        """
        trace_id = fields["trace_id"]
        if doubtful:
            trace_id = gate.shortened(str(trace_id))
        if "parent_call_id" not in fields and (parent := Listening.parent()) is not None:
            fields["parent_call_id"] = parent
        fields |= self._constants
        notes: Sequence[str] = fields.pop("encoding_notes", ())
        began = OpenCall(
            clock.monotonic_ns(),
            created_ms,
            fields.get("provider"),
            fields.get("model", model),
            attempt_id,
            trace_id,
            origin=self._origin,
            call_type=fields.get("call_type"),
        )
        try:
            if not self._content.is_full:
                fields = self._content.of_start(began, fields)
                notes = (*notes, *fields.pop("encoding_notes", ()))
                doubtful = doubtful or not gate.fits(fields)
            self._open_calls.begin(call_id, began)
            if TOLD_AS[SENT] in fields:
                self._record(
                    *(SENT, call_id, 0, fields, notes), of=began, doubtful=doubtful, same=same
                )
            else:
                self._record(START, call_id, 0, fields, notes, of=began, doubtful=doubtful)
        except BaseException:  # a time limit may strike anywhere, and nobody has the call's id
            self._open_calls.take_back(call_id, began)
            raise

    def bring_in(self, call_id: str, fields: dict[str, Any]) -> None:
        """Journal a call that was made elsewhere, whole; what is known of it already beats it.

        Args:
            call_id: The call, whose id is the same whoever brings it in.
            fields: Of its start and its end, with `completed_at`.
        """
        key = Int64(lowest_key(Rank.ELSEWHERE))
        here = {name: self._constants[name] for name in _BROUGHT_IN if name in self._constants}
        fields = {**here, **fields, "outcome_key": key}
        if not self._content.is_full:
            fields = self._content.of_a_whole(fields)
        notes: Sequence[str] = fields.pop("encoding_notes", ())
        self._record(OTHER, call_id, key, fields, notes, doubtful=True)

    def end(
        self, call_id: str, call: OpenCall | None, fields: dict[str, Any], ended_ns: int
    ) -> None:
        """Journal how a call ended, as its owner if this process holds it open.

        Args:
            call_id: The call.
            call: What `open_calls` has of it.
            fields: How it ended; under `said` and `asked` what is still to be read of it, if
                `reads_ends_later` and the call is open.
            ended_ns: When, on the monotonic clock.
        """
        if call is None:
            self._end(call_id, None, fields, ended_ns, Rank.ELSEWHERE)
            return
        try:
            if self._open_calls.take(call_id, call, fields):
                self._end(call_id, call, fields, ended_ns, Rank.OWNER)
                call.outcome = None
                self._content.is_over(call)
                return
        except BaseException:  # a time limit may strike anywhere, and fail() comes next
            self._open_calls.give_back(call, fields)
            raise
        self.ended_twice += 1
        log_once("A call was ended twice: the first complete() or fail() stands.")

    def end_unfinished(self, call_id: str, fields: dict[str, Any]) -> None:
        """Journal that a call ended without its outcome being known; a real one still beats this.

        Args:
            call_id: The call.
            fields: What is known of its end.
        """
        rank = Rank.UNWINDING if fields.get("ended_by") in UNWINDING_CAUSES else Rank.LEFT
        self._give_up(call_id, fields, clock.monotonic_ns(), rank)

    def end_attempt(
        self, call_id: str, fields: dict[str, Any], ended_ns: int, *, number: int
    ) -> None:
        """Journal how a call ended if its client asks no more; whatever else is said beats this.

        Args:
            call_id: The call.
            fields: How its last request so far ended.
            ended_ns: When, on the monotonic clock.
            number: Of that request, from 1 on.
        """
        self._give_up(call_id, fields, ended_ns, Rank.ATTEMPT, attempt_key(2 * number))

    def begin_attempt(self, call_id: str, fields: dict[str, Any], *, number: int) -> None:
        """Journal that a client asks again for the same call, which is open by that.

        Args:
            call_id: The call.
            fields: What is known of its requests so far.
            number: Of the one that leaves now.
        """
        call = self._open_calls.get(call_id)
        if call is None or call.over:
            return
        call.unfinished = False
        key = attempt_key(2 * number - 1)
        nonce = self.nonce_of(call)
        if not self._content.is_full:
            fields = self._content.of_attempts(call, fields)
        own = {"status": LLMCallStatusEnum.PENDING, "outcome_key": key, "process_nonce": nonce}
        self._record(OTHER, call_id, key, {**fields, **own}, ())

    def _give_up(
        self,
        call_id: str,
        fields: dict[str, Any],
        ended_ns: int,
        rank: Rank,
        key: Int64 | None = None,
    ) -> None:
        call = self._open_calls.get(call_id)
        try:
            known = self._open_calls.give_up(call_id)
            self._end(call_id, known, fields, ended_ns, rank, key=key)
            if known is not None and rank is Rank.LEFT:
                self._content.is_over(known)
        except BaseException:
            if call is not None:
                call.unfinished = False  # at worst it is said twice
            raise

    def say_later(self, call_id: str, fields: dict[str, Any]) -> None:
        """Journal what is said of a call, whether or not it is of this process or has ended.

        Args:
            call_id: The call.
            fields: Of `SaidLater`.
        """
        now = datetime.now(UTC)
        key = later_key(now.timestamp())
        if scores := fields.get("scores"):
            fields["scores"] = [{**score, "at": now, "key": key} for score in scores]
        if fields:
            self._record(LATER, call_id, key, fields, ())

    def nonce_of(self, call: OpenCall) -> str:
        """Return the process by which the document of a call knows that it is the same call."""
        return (call.origin or self._origin).process_nonce

    def _end(
        self,
        call_id: str,
        call: OpenCall | None,
        fields: dict[str, Any],
        ended_ns: int,
        rank: Rank,
        *,
        key: Int64 | None = None,
    ) -> None:
        if call is not None:
            elapsed_us = (ended_ns - call.started_ns) // 1000
            fields["latency_ms"] = elapsed_us / 1000
            ended_at = call.created_ms / 1000 + elapsed_us / 1_000_000
        else:
            ended_at = time.time()
            began = created_at(call_id)
            if began is not None:  # by another clock, or by this one before it was put back
                ended_at = max(ended_at, began.timestamp())
                fields["latency_ms"] = round((ended_at - began.timestamp()) * 1000, 3)
        fields["completed_at"] = datetime.fromtimestamp(ended_at, UTC)
        key = outcome_key(rank, ended_at) if key is None else key
        fields["outcome_key"] = key
        if call is not None and (call.origin is not self._origin or rank is not Rank.OWNER):
            fields["process_nonce"] = self.nonce_of(call)  # else it is this journal's
        if not self._content.is_full:
            fields = self._content.of_end(call, fields)
        notes: Sequence[str] = fields.pop("encoding_notes", ())
        seen = TOLD_AS[RECEIVED] in fields
        if rank is Rank.OWNER:
            op = RECEIVED if seen else ENDED if "said" in fields else OWN
            self._record(op, call_id, key, fields, notes, of=call)
            return
        if seen:
            fields, changes = fields_of(RECEIVED, fields, at_once=True)
            notes = (*notes, *changes)
        self._record(OTHER, call_id, key, fields, notes)
