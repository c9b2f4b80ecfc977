"""What records: one journal, the thread that ships it, and the calls that are open."""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from llm_audit import gate
from llm_audit.call import SCHEMA_VERSION
from llm_audit.encoding.encode import Blob, encode_carefully, encode_plain
from llm_audit.encoding.notes import Notes
from llm_audit.errors import ConfigurationError, let_through, log, log_once
from llm_audit.ids import created_at
from llm_audit.journal.blob_files import missing_bytes, write_blobs
from llm_audit.journal.complaints import DISK_REFUSED, UNTIL_THEN
from llm_audit.journal.ends import outcome_of
from llm_audit.journal.precedence import UNWINDING_CAUSES, Rank, later_key, outcome_key
from llm_audit.journal.records import (
    ENDED,
    LATER,
    NOTHING,
    OTHER,
    OWN,
    START,
    VERDICT,
    is_numbered,
    pack,
)
from llm_audit.journal.segments.memory import give_up
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.statements.bare import strip_content
from llm_audit.journal.statements.writes import LATER_MAX_BYTES, OUTCOME_MAX_BYTES, START_MAX_BYTES
from llm_audit.journal.writer import Journal, JournalClosedError
from llm_audit.recorder.open_calls import OpenCall, OpenCalls, Origin
from llm_audit.recorder.shipper import POLL_SECONDS, FlushResult, Shipper
from llm_audit.recorder.uwsgi import WORKERS_DELIVER
from llm_audit.redaction.apply import Redaction, Rewriting
from llm_audit.runtime import clock
from llm_audit.runtime.trusted import DoubtfulError
from llm_audit.settings import Settings
from llm_audit.store.shortfalls import noted

_ASKED_ELSEWHERE = frozenset({START, ENDED})
_MAX_BYTES = {
    START: START_MAX_BYTES,
    LATER: LATER_MAX_BYTES,
    # whoever reads it may say the names of tools three times, and moves nothing to GridFS
    ENDED: OUTCOME_MAX_BYTES // 3,
}


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
        # A rule has to see the fields before the disk does, and who adopts a journal may not know
        # the user's own prices.
        self.redaction = Redaction(settings)
        self.reads_ends_later = not self.redaction.needs_fields and settings.prices is None
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
    ) -> None:
        """Journal that a call begins, and hold it open.

        Args:
            call_id: The call.
            created_ms: The id's instant, of the epoch.
            fields: What is known of it, its trace included; what is the same for each call of this
                process is added.
            attempt_id: Of the task that makes it.
            doubtful: Whether fields may not hold what they have to, see `gate`.
        """
        trace_id = fields["trace_id"]
        if doubtful:
            trace_id = gate.shortened(str(trace_id))
        fields |= self.constants
        notes: Sequence[str] = fields.pop("encoding_notes", ())
        began = OpenCall(
            clock.monotonic_ns(),
            created_ms,
            fields.get("provider"),
            fields.get("model"),
            attempt_id,
            trace_id,
            origin=self.origin,
            call_type=fields.get("call_type"),
        )
        try:
            self.open_calls.begin(call_id, began)
            self.record(START, call_id, 0, fields, notes, of=began, doubtful=doubtful)
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
        call = self.open_calls.get(call_id)
        rank = Rank.UNWINDING if fields.get("ended_by") in UNWINDING_CAUSES else Rank.LEFT
        try:
            known = self.open_calls.give_up(call_id)
            self._end(call_id, known, fields, clock.monotonic_ns(), rank)
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

    def record(
        self,
        op: str,
        call_id: str,
        key: int,
        fields: dict[str, Any],
        notes: Sequence[str],
        *,
        of: OpenCall | None = None,
        doubtful: bool = False,
    ) -> None:
        """Encode an operation once and journal it; it is on disk when this returns.

        Args:
            op: START; OWN, if this process holds the call open and ends it for the first time;
                VERDICT, on an attempt of a task; LATER, a score, say; else OTHER.
            call_id: The call, or the attempt.
            key: The outcome's precedence, the order of what is said later; 0 for a start.
            fields: The operation's fields.
            notes: What was changed in them before.
            of: The call that it is the start or the outcome of, which is told when the journal
                has it.
            doubtful: Of a start, whether fields may not hold what they have to; of an end that is
                asked when it is read, and of all else here.
        """
        max_bytes = _MAX_BYTES.get(op, OUTCOME_MAX_BYTES)
        lost = self.journal.full
        kept, told = fields, notes
        names: Sequence[str] = ()
        if lost is not None and op != ENDED:
            kept, note = strip_content(fields, f"dropped: {lost}")
            told = (*notes, note)
        fits = not doubtful if op in _ASKED_ELSEWHERE else gate.fits(kept)
        doc = encode_plain(kept, max_bytes, self.settings.media_limit_bytes) if fits else None
        # who has stopped may have known of no rule for what is in the outcome, and of no own prices
        if op == ENDED and (doc is None or lost is not None or not self.reads_ends_later):
            fields, notes = outcome_of(fields)
            self.record(OWN, call_id, key, fields, notes, of=of)
            return
        # a start that is handed on is counted anew
        redacted = (of and op != START and of.redacted) or NOTHING
        if doc is None or not self.redaction.is_clean(doc, kept):
            rewriting = Rewriting(self.redaction, of and of.call_type, doc)
            most = sys.maxsize if op == ENDED else max_bytes
            doc, changes, names, media_lost = self._encode_carefully(kept, most, rewriting)
            # its figures are in what is left out; or what was put in is longer than what was there
            if op == ENDED and (rewriting.failed is not None or len(doc) > max_bytes):
                fields, notes = outcome_of(fields)
                self.record(OWN, call_id, key, fields, notes, of=of)
                return
            told, lost = rewriting.lines((*told, *changes)), lost or media_lost
            redacted = rewriting.counts_with(redacted)
            if op == START and of is not None:
                of.redacted = redacted
                of.provider, of.model = rewriting.asked
        record = pack(op, call_id, key, doc, notes=told, blobs=names, redacted=redacted)
        try:
            self.journal.append(record, call_id, lost)
            if of is not None:
                of.recorded = True
        except JournalClosedError:  # stopped a moment ago by another thread
            successor, fields = self._handed_on(op, fields, of)
            successor.record(op, call_id, key, fields, notes, of=of, doubtful=doubtful)
        except BaseException:
            if of is not None:
                of.recorded = is_numbered(record)
            raise

    def _handed_on(
        self, op: str, fields: dict[str, Any], of: OpenCall | None
    ) -> tuple["Recorder", dict[str, Any]]:
        """Return who records it instead, and its fields there. The parameters: as of `record`."""
        successor = self._successor(None if op == START else self.settings)
        if op == START and of is not None and not (of.over or of.unfinished):
            # whoever adopts a journal closes the calls of the nonce it is named by; one that was
            # ended meanwhile, as this recorder was stopped, keeps the nonce that its end has
            fields = fields | {"process_nonce": successor.constants["process_nonce"]}
            of.origin = successor.origin
        elif of is not None:
            fields = fields | {"process_nonce": self._nonce_of(of)}
        return successor, fields

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
        }

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
        fields["outcome_key"] = key = outcome_key(rank, ended_at)
        if call is not None and (call.origin is not self.origin or rank is not Rank.OWNER):
            fields["process_nonce"] = self._nonce_of(call)  # else it is this journal's
        notes: Sequence[str] = fields.pop("encoding_notes", ())
        if rank is Rank.OWNER:
            op = ENDED if "said" in fields else OWN
            self.record(op, call_id, key, fields, notes, of=call)
        else:
            self.record(OTHER, call_id, key, fields, notes)

    def _encode_carefully(
        self, fields: dict[str, Any], max_bytes: int, rewriting: Rewriting
    ) -> tuple[bytes, tuple[str, ...], list[str], str | None]:
        """Return the document, what was changed, the names of its blobs, and why they are lost."""
        cut = Notes()

        def rewrite(document: dict[str, Any]) -> dict[str, Any]:
            clean = rewriting(document)
            gate.fit(clean, cut)  # not before: half a secret is not known as one
            return clean

        limit = self.settings.media_limit_bytes
        doc, changes, blobs = encode_carefully(fields, max_bytes, limit, rewrite)
        changes = (*changes, *cut.lines())
        names, lost = self._write_blobs(blobs)
        if lost is not None:
            changes = (*changes, f"what moved to GridFS is lost: {lost} in the spool")
        return doc, changes, names, lost

    def _write_blobs(self, blobs: Sequence[Blob]) -> tuple[list[str], str | None]:
        """Write blobs to the spool; return their names, or why they are lost."""
        try:
            if not blobs or self.journal.take_room(missing_bytes(self.journal.folder, blobs)):
                return write_blobs(self.journal.folder, blobs), None
        except OSError as error:
            let_through(error)
            return [], str(error.strerror)
        return [], self.journal.scarce


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
