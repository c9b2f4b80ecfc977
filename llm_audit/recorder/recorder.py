"""What records: one journal, the thread that ships it, and the calls that are open."""

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from bson.int64 import Int64

from llm_audit import gate
from llm_audit.call import SCHEMA_VERSION, LLMCallStatusEnum
from llm_audit.context.faults import ContextFaults
from llm_audit.encoding.notes import Notes
from llm_audit.errors import ConfigurationError, let_through, log, log_once
from llm_audit.ids import created_at
from llm_audit.journal.complaints import DISK_REFUSED, UNTIL_THEN
from llm_audit.journal.precedence import (
    UNWINDING_CAUSES,
    Rank,
    attempt_key,
    later_key,
    outcome_key,
)
from llm_audit.journal.records import (
    ENDED,
    LATER,
    OTHER,
    OWN,
    RECEIVED,
    SENT,
    START,
    STARTS,
    VERDICT,
)
from llm_audit.journal.segments.memory import give_up
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.unread import TOLD_AS, fields_of
from llm_audit.journal.writer import Journal
from llm_audit.recorder.captured import Captured, captured_stats
from llm_audit.recorder.content import ContentPolicy
from llm_audit.recorder.journaling import Journaling
from llm_audit.recorder.listening import Listening
from llm_audit.recorder.open_calls import OpenCall, OpenCalls, Origin
from llm_audit.recorder.shipping.acknowledged import FlushResult
from llm_audit.recorder.shipping.shipper import POLL_SECONDS, Shipper
from llm_audit.recorder.uwsgi import WORKERS_DELIVER
from llm_audit.redaction.apply import Redaction
from llm_audit.runtime import clock
from llm_audit.runtime.trusted import DoubtfulError
from llm_audit.settings import Settings
from llm_audit.store.answers.shortfalls import noted


class Recorder:
    """One process's journal with the thread that ships it.

    Args:
        settings: In force for its whole life.
        open_calls: The calls of this process, which outlive a recorder that is stopped.
        successor: Returns who records from now on, once this one is stopped: where some settings
            say or, given none, whatever begins now.

    Raises:
        ConfigurationError: In strict mode, if the spool cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        open_calls: OpenCalls,
        successor: Callable[[Settings | None], "Recorder"],
    ) -> None:
        self.settings = settings
        self.open_calls = open_calls
        self.ended_twice = 0
        self._successor = successor
        nonce = str(uuid4())
        self.origin = Origin(settings, nonce)
        self.path = settings.spool_dir / settings.target() / nonce
        self._folder = ProcessFolder(self.path, target_name=settings.target_name())
        _make(self._folder, settings)
        self.journal = Journal(
            self.path,
            settings.segment_max_bytes,
            settings.spool_max_bytes,
            self._folder.ensure,
        )
        self.redaction = Redaction(settings)
        journaling = Journaling(settings, self.redaction, self.journal, self._hand_on)
        self.record, self.reads_ends_later = journaling.record, journaling.reads_ends_later
        self._content = ContentPolicy(settings, open_calls)
        self._captured = Captured.counts
        self.shipper = Shipper(settings, self.journal, self._folder, open_calls, self.stats)
        self.shipper.start()
        constants = {
            "schema_version": SCHEMA_VERSION,
            "environment": settings.environment,
            "service": settings.service,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_nonce": nonce,
        }
        self.constants = {name: value for name, value in constants.items() if value is not None}
        gate.fit(self.constants, Notes())

    def start(
        self,
        call_id: str,
        created_ms: int,
        fields: dict[str, Any],
        attempt_id: str | None,
        *,
        doubtful: bool = False,
        model: str | None = None,
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
        """
        trace_id = fields["trace_id"]
        if doubtful:
            trace_id = gate.shortened(str(trace_id))
        if "parent_call_id" not in fields and (parent := Listening.parent()) is not None:
            fields["parent_call_id"] = parent
        fields |= self.constants
        notes: Sequence[str] = fields.pop("encoding_notes", ())
        began = OpenCall(
            clock.monotonic_ns(),
            created_ms,
            fields.get("provider"),
            fields.get("model", model),
            attempt_id,
            trace_id,
            origin=self.origin,
            call_type=fields.get("call_type"),
        )
        try:
            if not self._content.is_full:
                fields = self._content.of_start(began, fields)
                notes = (*notes, *fields.pop("encoding_notes", ()))
                doubtful = doubtful or not gate.fits(fields)
            self.open_calls.begin(call_id, began)
            op = SENT if TOLD_AS[SENT] in fields else START
            self.record(op, call_id, 0, fields, notes, of=began, doubtful=doubtful)
        except BaseException:  # a time limit may strike anywhere, and nobody has the call's id
            self.open_calls.take_back(call_id, began)
            raise

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
            if self.open_calls.take(call_id, call, fields):
                self._end(call_id, call, fields, ended_ns, Rank.OWNER)
                call.outcome = None
                self._content.is_over(call)
                return
        except BaseException:  # a time limit may strike anywhere, and fail() comes next
            self.open_calls.give_back(call, fields)
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
        call = self.open_calls.get(call_id)
        if call is None or call.over:
            return
        call.unfinished = False
        key = attempt_key(2 * number - 1)
        nonce = self._nonce_of(call)
        if not self._content.is_full:
            fields = self._content.of_attempts(call, fields)
        own = {"status": LLMCallStatusEnum.PENDING, "outcome_key": key, "process_nonce": nonce}
        self.record(OTHER, call_id, key, {**fields, **own}, ())

    def _give_up(
        self,
        call_id: str,
        fields: dict[str, Any],
        ended_ns: int,
        rank: Rank,
        key: Int64 | None = None,
    ) -> None:
        call = self.open_calls.get(call_id)
        try:
            known = self.open_calls.give_up(call_id)
            self._end(call_id, known, fields, ended_ns, rank, key=key)
            if known is not None and rank is Rank.LEFT:
                self._content.is_over(known)
        except BaseException:
            if call is not None:
                call.unfinished = False  # at worst it is said twice
            raise

    def pass_verdict(self, attempt_id: str, fields: dict[str, Any]) -> None:
        """Journal how an attempt of a task ended, and look soon at what its process has left.

        Args:
            attempt_id: The attempt.
            fields: How the calls end that it left open, and of which task it is.
        """
        now = datetime.now(UTC)
        key = outcome_key(Rank.MAIN_PROCESS, now.timestamp())
        fields = {**fields, "completed_at": now, "outcome_key": key}
        if not self._content.is_full:
            fields = self._content.of_end(None, fields)
        self.record(VERDICT, attempt_id, key, fields, ())
        self.shipper.recovery.look_often()

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
            self.record(LATER, call_id, key, fields, ())

    def stop(self, timeout_seconds: float) -> FlushResult:
        """Flush and end the thread, which leaves the folder, or nothing if all has arrived."""
        deadline = clock.monotonic() + timeout_seconds
        self.journal.close()
        self.journal.save_memory()
        result = self.shipper.flush(timeout_seconds)
        self.shipper.recovery.look_for_children()
        while self.shipper.recovery.expects_more() and clock.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if not result:
            self.journal.save_memory()  # as late as can be: the disk may take it by now
            self._folder.note_end()
        self.shipper.stop(max(0.0, deadline - clock.monotonic()))
        lost = 0 if result else give_up(self.journal.segments, self.journal.losses)
        if not lost:
            return result
        log(
            logging.ERROR,
            "%s operations are lost: they were in memory only, because spool_dir cannot be "
            "written, and MongoDB did not acknowledge them in time (%s).",
            lost,
            result.reason,
        )
        reason = f"{result.reason}; {lost} operations were in memory only, and are lost"
        return FlushResult(result.unacknowledged_operations, reason)

    def forget(self) -> None:
        """Close inherited descriptors in a forked child; its parent goes on recording."""
        if self.shipper.unavailable == WORKERS_DELIVER:
            self._folder.hand_over()
        self.journal.forget()
        self.shipper.recovery.forget()
        self._folder.forget()

    def stats(self) -> dict[str, Any]:
        """Return how many operations were recorded, and what became of them."""
        shipper, journal = self.shipper, self.journal
        unfinished = shipper.own.reader.unfinished
        begun = journal.begun  # first: at least so many of those recorded
        recorded, acknowledged = journal.last_seq, shipper.acknowledged.through
        return {
            "recorded": recorded,
            "begun": begun,
            "acked_through": acknowledged,
            "backlog_bytes": sum(segment.end for segment in unfinished),
            "backlog_age_seconds": round(shipper.backlog.age_seconds(recorded, acknowledged), 3),
            "not_journaled": journal.not_journaled,
            "ended_twice": self.ended_twice,
            "superseded": shipper.own.delivery.superseded,
            "of_no_call": shipper.own.delivery.of_no_call,
            "closed_for_the_dead": shipper.closing.closed,
            "rejected": shipper.own.rejected.counted.entries(),
            "dropped": journal.losses.entries(),
            "done_without": noted(self.settings.database),
            **captured_stats(self._captured),
            **self._content.stats(),
            **({"context_faults": ContextFaults.count} if ContextFaults.count else {}),
        }

    def _hand_on(
        self,
        op: str,
        call_id: str,
        key: int,
        fields: dict[str, Any],
        notes: Sequence[str],
        *,
        of: OpenCall | None,
        doubtful: bool,
    ) -> None:
        """Have an operation recorded by whoever takes the place of this one. As of `record`."""
        successor = self._successor(None if op in STARTS else self.settings)
        if op in STARTS and of is not None and not (of.over or of.unfinished):
            # whoever adopts a journal closes the calls of the nonce it is named by; one that was
            # ended meanwhile, as this recorder was stopped, keeps the nonce that its end has
            fields = fields | {"process_nonce": successor.constants["process_nonce"]}
            of.origin = successor.origin
        elif of is not None:
            fields = fields | {"process_nonce": self._nonce_of(of)}
        successor.record(op, call_id, key, fields, notes, of=of, doubtful=doubtful)

    def _nonce_of(self, call: OpenCall) -> str:
        """Return the process by which the document of a call knows that it is the same call."""
        return (call.origin or self.origin).process_nonce

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
        if call is not None and (call.origin is not self.origin or rank is not Rank.OWNER):
            fields["process_nonce"] = self._nonce_of(call)  # else it is this journal's
        if not self._content.is_full:
            fields = self._content.of_end(call, fields)
        notes: Sequence[str] = fields.pop("encoding_notes", ())
        seen = TOLD_AS[RECEIVED] in fields
        if rank is Rank.OWNER:
            op = RECEIVED if seen else ENDED if "said" in fields else OWN
            self.record(op, call_id, key, fields, notes, of=call)
            return
        if seen:
            fields, changes = fields_of(RECEIVED, fields, at_once=True)
            notes = (*notes, *changes)
        self.record(OTHER, call_id, key, fields, notes)


def _make(folder: ProcessFolder, settings: Settings) -> None:
    try:
        folder.ensure()
    except OSError as error:
        let_through(error)
        why = f"cannot be written ({error.strerror})"
        if isinstance(error, DoubtfulError):
            why = f"is not safe: {error.strerror}"
        message = (
            f"spool_dir {settings.spool_dir} {why}. Give this process a folder of its own on a "
            "local disk through llm_audit.configure(spool_dir=...) or LLM_AUDIT_SPOOL_DIR."
        )
        if settings.strict:
            raise ConfigurationError(message) from None
        log_once(
            f"{message} {UNTIL_THEN}",
            level=logging.ERROR,
            key=DISK_REFUSED,
        )
