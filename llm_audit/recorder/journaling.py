"""Encodes what is recorded, each operation once, and journals it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_audit import gate
from llm_audit.encoding.encode import Blob, encode_carefully, encode_plain, encode_short, with_bytes
from llm_audit.encoding.notes import Notes
from llm_audit.errors import let_through
from llm_audit.journal.blob_files import missing_bytes, write_blobs
from llm_audit.journal.records import (
    ENDED,
    LATER,
    LATER_MAX_BYTES,
    NOTHING,
    OUTCOME_MAX_BYTES,
    OWN,
    RECEIVED,
    SENT,
    START,
    START_MAX_BYTES,
    is_numbered,
    pack,
)
from llm_audit.journal.stripped import strip_content
from llm_audit.journal.unread import BODY, STANDS_FOR, TOLD_AS, fields_of
from llm_audit.journal.writer import Journal, JournalClosedError
from llm_audit.recorder.listening import Listening
from llm_audit.recorder.open_calls import OpenCall
from llm_audit.recorder.shipping.chores import Every
from llm_audit.redaction.apply import Redaction, Rewriting
from llm_audit.runtime import clock
from llm_audit.settings import Settings

# Of what is seen: what the user gives, and what a client makes several of.
_MAY_BE_LONG = frozenset({"metadata", "task", "tags", "attempts", "failed", "notes"})
_NOTHING_APART = frozenset({BODY}), b""
_ASKED_ELSEWHERE = frozenset({START, ENDED})
_MAX_BYTES = {
    START: START_MAX_BYTES,
    LATER: LATER_MAX_BYTES,
    # whoever reads it may say the names of tools three times, and moves nothing to GridFS
    ENDED: OUTCOME_MAX_BYTES // 3,
    # in the document it may take more; then whoever reads it moves the largest to GridFS
    SENT: START_MAX_BYTES,
    RECEIVED: OUTCOME_MAX_BYTES,
}


@dataclass(eq=False, slots=True)
class Same:
    """What the starts of several calls have in common: it is encoded and looked through once.

    Attributes:
        fields: Of which nothing changes.
        doubts: Those of them that may not hold what they have to, see `gate`.
    """

    fields: Mapping[str, Any]
    doubts: Sequence[str]


SAME_MAX = 256  # kept at a time
_Given = tuple[str, str, int, dict[str, Any], Sequence[str], OpenCall | None, bool]  # to `record`


class Journaling:
    """One way into a journal.

    Args:
        settings: How much may be in a document.
        redaction: Looks at it first.
        journal: Where it goes.
        constants: Fields that are the same for each call of this process.
        hand_on: Is called like `record` with what the journal takes no more.
        look: What is done now and then once an operation is on disk.
    """

    def __init__(
        self,
        settings: Settings,
        redaction: Redaction,
        journal: Journal,
        constants: Mapping[str, Any],
        hand_on: Callable[..., None],
        *,
        look: Every | None = None,
    ) -> None:
        # A rule has to see the fields before the disk does, and content that is not to be recorded
        # stays out of it; who adopts a journal may not know the user's own prices.
        self.reads_ends_later = (
            not redaction.needs_fields and settings.prices is None and settings.content_is_full()
        )
        self.reads_bodies_later = not (redaction.rules or redaction.functions)
        self._redaction = redaction
        self._media_limit_bytes = settings.media_limit_bytes
        self._journal = journal
        self._constants = constants
        self._encoded: dict[Same, tuple[frozenset[str], bytes]] = {}
        self._hand_on = hand_on
        self._look = look

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
        same: Same | None = None,
    ) -> None:
        """Encode an operation once and journal it; it is on disk when this returns.

        Args:
            op: START, or SENT with the request as it was seen; OWN, if this process holds the call
                open and ends it for the first time, ENDED or RECEIVED if that is still to be read;
                VERDICT, on an attempt of a task; LATER, a score, say; else OTHER.
            call_id: The call, or the attempt.
            key: The outcome's precedence, the order of what is said later; 0 for a start.
            fields: The operation's fields.
            notes: What was changed in them before.
            of: The call that it is the start or the outcome of, which is told when the journal
                has it.
            doubtful: Of a start, whether fields may not hold what they have to; of an end that is
                asked when it is read, and of all else here.
            same: What the fields of a start have in common with those of others.
        """
        lost = self._journal.full
        if op in TOLD_AS:
            doc = self._as_seen(op, fields, same) if lost is None else None
            if doc is None:
                fields, changes = fields_of(op, fields, at_once=True)
                op, notes = STANDS_FOR[op], (*notes, *changes)
                self.record(op, call_id, key, fields, notes, of=of, doubtful=not gate.fits(fields))
                return
            given = op, call_id, key, fields, notes, of, doubtful
            self._append(pack(op, call_id, key, doc, notes=notes), None, given)
            return
        max_bytes = _MAX_BYTES.get(op, OUTCOME_MAX_BYTES)
        kept, told = fields, notes
        names: Sequence[str] = ()
        if lost is not None and op != ENDED:
            kept, note = strip_content(fields, f"dropped: {lost}")
            told = (*notes, note)
        fits = not doubtful if op in _ASKED_ELSEWHERE else gate.fits(kept)
        doc = encode_plain(kept, max_bytes, self._media_limit_bytes) if fits else None
        # who has stopped may have known of no rule for what is in the outcome, and of no own prices
        if op == ENDED and (doc is None or lost is not None or not self.reads_ends_later):
            fields, notes = fields_of(ENDED, fields)
            self.record(OWN, call_id, key, fields, notes, of=of)
            return
        # a start that is handed on is counted anew
        redacted = (of and op != START and of.redacted) or NOTHING
        if doc is None or not self._redaction.is_clean(doc, kept):
            rewriting = Rewriting(self._redaction, of and of.call_type, doc)
            most = sys.maxsize if op == ENDED else max_bytes
            doc, changes, names, media_lost = self._encode_carefully(kept, most, rewriting)
            # its figures are in what is left out; or what was put in is longer than what was there
            if op == ENDED and (rewriting.failed is not None or len(doc) > max_bytes):
                fields, notes = fields_of(ENDED, fields)
                self.record(OWN, call_id, key, fields, notes, of=of)
                return
            told, lost = rewriting.lines((*told, *changes)), lost or media_lost
            redacted = rewriting.counts_with(redacted)
            if op == START and of is not None:
                of.redacted = redacted
                of.provider, of.model = rewriting.asked
        record = pack(op, call_id, key, doc, notes=told, blobs=names, redacted=redacted)
        self._append(record, lost, (op, call_id, key, fields, notes, of, doubtful))

    def _append(self, record: bytearray, lost: str | None, given: _Given) -> None:
        """Append a record, or hand on what it was made of.

        Args:
            record: Without its number.
            lost: Why content of it is lost.
            given: What it was made of.
        """
        op, call_id, key, fields, notes, of, doubtful = given
        try:
            self._journal.append(record, call_id, lost)
            if of is not None:
                of.recorded = True
            Listening.listener(op, record)
            if self._look is not None and clock.monotonic() >= self._look.due_at:
                self._look()
        except JournalClosedError:  # stopped a moment ago by another thread
            self._hand_on(op, call_id, key, fields, notes, of=of, doubtful=doubtful)
        except BaseException:
            if of is not None:
                of.recorded = is_numbered(record)
            raise

    def _as_seen(self, op: str, fields: dict[str, Any], same: Same | None) -> bytes | None:
        """Return what was seen on the wire as it may wait in the journal; None if it may not.

        Args:
            op: SENT or RECEIVED.
            fields: With the body as it was seen.
            same: Those of them that others have in common.
        """
        body, told = fields.get(BODY, b""), fields[TOLD_AS[op]]
        later = self.reads_bodies_later and (op == SENT or self.reads_ends_later)
        if not later or type(body) is not bytes or len(body) > _MAX_BYTES[op]:
            return None
        apart, before = _NOTHING_APART if same is None else self._in_common(same)
        beside = {name: value for name, value in fields.items() if name not in apart}
        doc = encode_short(beside) if _MAY_BE_LONG.isdisjoint((*beside, *told)) else None
        if doc is None or len(doc) > self._media_limit_bytes:
            doc = encode_plain(beside, _MAX_BYTES[op], self._media_limit_bytes)
        if op == SENT:  # of which only the answer comes in pieces
            told = {"content_type": told.get("content_type")}
        if doc is None or not self._redaction.is_clean_as_seen(doc, body, told):
            return None
        return with_bytes(doc, BODY, body, before)

    def _in_common(self, same: Same) -> tuple[frozenset[str], bytes]:
        """Return the names of what starts have in common, and these fields as they are in BSON."""
        found = self._encoded.get(same)
        if found is None:
            found, fields = _NOTHING_APART, {**same.fields, **self._constants}
            doc = encode_plain(fields, START_MAX_BYTES, self._media_limit_bytes)
            if doc is not None and not self._redaction.may_hold_secrets(doc):
                found = frozenset((BODY, *fields)), doc[4:-1]
            if len(self._encoded) >= SAME_MAX:
                self._encoded.clear()
            self._encoded[same] = found
        return found

    def _encode_carefully(
        self, fields: dict[str, Any], max_bytes: int, rewriting: Rewriting
    ) -> tuple[bytes, tuple[str, ...], list[str], str | None]:
        """Return the document, what was changed, the names of its blobs, and why they are lost."""
        cut = Notes()

        def rewrite(document: dict[str, Any]) -> dict[str, Any]:
            clean = rewriting(document)
            gate.fit(clean, cut)  # not before: half a secret is not known as one
            return clean

        doc, changes, blobs = encode_carefully(fields, max_bytes, self._media_limit_bytes, rewrite)
        changes = (*changes, *cut.lines())
        names, lost = self._write_blobs(blobs)
        if lost is not None:
            changes = (*changes, f"what moved to GridFS is lost: {lost} in the spool")
        return doc, changes, names, lost

    def _write_blobs(self, blobs: Sequence[Blob]) -> tuple[list[str], str | None]:
        """Write blobs to the spool; return their names, or why they are lost."""
        try:
            if not blobs or self._journal.take_room(missing_bytes(self._journal.folder, blobs)):
                return write_blobs(self._journal.folder, blobs), None
        except OSError as error:
            let_through(error)
            return [], str(error.strerror)
        return [], self._journal.room.scarce
