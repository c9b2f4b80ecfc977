"""The statements that make a call's records one document, whatever order they arrive in.

    start       insert the call as PENDING
    own         the outcome from the process that holds the call open; only one can exist
    other       an outcome from elsewhere, which yields to one of equal or higher precedence
    verdict     how an attempt of a task ended: an `other` for every call that it left open
    merged      start and own outcome that met on the way: one insert of the whole call
    later       scores, tags and metadata that are added, whether or not the call has ended

Every statement may be sent again at any time without harm. A duplicate `_id` says which form to
take next. Each outcome sets its fields and unsets the other outcome fields, so a loser leaves
nothing behind.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

import bson
from bson.codec_options import DatetimeConversion
from bson.int64 import Int64
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo import InsertOne, UpdateOne

from llm_audit.call import OUTCOME_FIELD_NAMES, LLMCallStatusEnum
from llm_audit.ids import created_at
from llm_audit.journal.blob_files import sha256_of
from llm_audit.journal.precedence import Rank, lowest_key, rank_of
from llm_audit.journal.records import LATER, OTHER, OWN, START, VERDICT, Record
from llm_audit.journal.statements.later import may_be_on_its_way, said_later, start_beside
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.unread import STANDS_FOR, made_of
from llm_audit.runtime.kept import kept

Statement = InsertOne[RawBSONDocument] | UpdateOne

# dates that Python cannot hold stay as they are
RAW = DEFAULT_RAW_BSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_pack_length = struct.Struct("<i").pack

ANOTHERS = "another process has a call of this id"  # the reason why a record is kept


@kept  # a write that waits for MongoDB keeps its own
class Form(Enum):
    """How a write is put to the server; a duplicate `_id` moves it on to the next form."""

    INSERT_START = 1
    UPSERT_START = 2
    INSERT_MERGED = 3
    UPSERT_OWN = 4
    UPSERT_OTHER = 5
    UPDATE_OTHER = 6
    ADD_NOTES = 7
    ADD_LATER = 8
    KEEP_VERDICT = 9  # these two are no statement about one call, see store/verdicts.py
    ASK_FOR_VERDICT = 10
    SET_START = 11  # UPSERT_START where the server takes no pipelines: nothing comes before a start
    UNREAD = 12  # what it says is read when it is sent: before, that has failed


ABOUT_ATTEMPTS = (Form.KEEP_VERDICT, Form.ASK_FOR_VERDICT)  # no set: hashing an Enum is slow
PIPELINES = (Form.UPSERT_START, Form.ADD_LATER)
# These may make a document, if there is none of the call; and none of them speaks to another's.
_OF_ITS_PROCESS = (Form.UPSERT_START, Form.SET_START, Form.UPSERT_OWN, Form.ADD_NOTES)
# These set fields that may be there; and what has an end without a key was not made by a journal.
_TAKING = (
    *(Form.UPSERT_START, Form.SET_START),
    *(Form.UPSERT_OWN, Form.UPSERT_OTHER, Form.UPDATE_OTHER),
)
_MADE_HERE: dict[str, Any] = {
    "$or": [
        {"status": {"$in": [LLMCallStatusEnum.PENDING, None]}},
        {"outcome_key": {"$exists": True}},
    ]
}
_OWN_CALLS = (OWN, START)
FIRST_FORM = {
    START: Form.INSERT_START,
    OWN: Form.UPSERT_OWN,
    **dict.fromkeys(STANDS_FOR, Form.UNREAD),
    OTHER: Form.UPSERT_OTHER,
    VERDICT: Form.KEEP_VERDICT,
    LATER: Form.ADD_LATER,
}


@dataclass(eq=False, slots=True)
class Write:
    """One record, or a start and its own outcome, on the way into MongoDB.

    Attributes:
        form: How it is put.
        record: What it says.
        outcome: Its own outcome, if that goes with a start.
        bare: Whether it has lost its content.
        nonce: The process whose journal it is of; None if it is the one that is being sent.
        errors: How often the server has refused it.
        duplicates: How often a call of its id was there that it does not speak to.
    """

    form: Form
    record: Record
    outcome: Record | None = None
    bare: bool = False
    nonce: str | None = None
    errors: int = 0
    duplicates: int = 0

    @property
    def is_of_anothers(self) -> bool:
        """Whether the call that has this id was begun by another process, and is another one.

        One upsert may have raced with another of the same call; the next one finds the document.
        """
        return self.duplicates > 1

    def opened(self) -> "list[Write]":
        """Return what is sent of what could not be read before.

        Raises:
            Exception: It still cannot.
        """
        outcome = None if self.outcome is None else made_of(self.outcome)
        return [
            replace(write, nonce=self.nonce) for write in writes_for(made_of(self.record), outcome)
        ]

    def halves(self, start: Form, own: Form) -> "list[Write]":
        """Return what to send of a start and its own outcome apart, in these forms."""
        pair = (start, self.record), (own, self.outcome)
        return [
            Write(form, record, nonce=self.nonce) for form, record in pair if record is not None
        ]

    def after_duplicate(self) -> "list[Write]":
        """Return what to send instead when the `_id` turned out to exist."""
        if self.form is Form.INSERT_START:
            return [replace(self, form=Form.UPSERT_START, errors=0)]
        if self.outcome is not None:
            return self.halves(Form.UPSERT_START, Form.UPSERT_OWN)
        if self.form is Form.UPSERT_OTHER:
            return [replace(self, form=Form.UPDATE_OTHER, errors=0)]
        if self.form in _OF_ITS_PROCESS:
            self.duplicates += 1
        return [self]

    def statement(
        self, retention: Retention, nonce: str | None = None, *, adopted: bool = False
    ) -> Statement:
        """Return the PyMongo operation.

        Args:
            retention: How long calls are kept.
            nonce: The process whose journal is being sent.
            adopted: Whether another process sends it: then nothing of it may take the place of what
                a process has said of a call that is not its own.
        """
        record = self.record
        key = record.key
        if self.form is Form.INSERT_START:
            return InsertOne(_join(_identity(record.id, retention, pending=True), record.doc))
        if self.form is Form.INSERT_MERGED and self.outcome is not None:
            identity = _identity(record.id, retention, pending=False)
            return InsertOne(_join(identity, record.doc, self.outcome.doc))
        on_insert = _on_insert(record.id, retention)
        fields = RawBSONDocument(bytes(record.doc), RAW)
        of_call = {"_id": record.id, **self._of_its_process(fields, self.nonce or nonce)}
        if adopted and self.form in _TAKING:
            of_call |= _MADE_HERE
        if self.form is Form.ADD_NOTES:
            if self.bare:  # perhaps all that is ever taken of the call, which has to be closed
                began = fields.get("process_nonce")
                on_insert |= {"process_nonce": began} if began else {}
            media = [sha256_of(name) for name in record.blobs]
            lists = {"encoding_notes": list(record.notes), "media": media}
            update: dict[str, Any] = {
                "$addToSet": {name: {"$each": items} for name, items in lists.items() if items},
                # the owner of a call counts its start and its end together, and comes in any order
                "$max": {f"redacted.{rule}": count for rule, count in record.redacted.items()},
                "$setOnInsert": {**on_insert, "status": LLMCallStatusEnum.PENDING},
            }
            given = {operator: items for operator, items in update.items() if items}
            return UpdateOne(of_call, given, upsert=self._may_insert(retention))
        if self.form in (Form.UPSERT_START, Form.ADD_LATER):
            on_insert["status"] = LLMCallStatusEnum.PENDING
            stages = (
                start_beside(fields, on_insert)
                if self.form is Form.UPSERT_START
                else said_later(fields, record.key, on_insert)
            )
            return UpdateOne(of_call, stages, upsert=self._may_insert(retention))
        if self.form is Form.SET_START:
            on_insert["status"] = LLMCallStatusEnum.PENDING
            update = {"$set": fields, "$setOnInsert": on_insert}
        else:
            update = {"$set": fields, "$unset": _unset_beside(fields), "$setOnInsert": on_insert}
        if self.form in (Form.UPSERT_OWN, Form.SET_START):
            return UpdateOne(of_call, update, upsert=True)
        if adopted and fields.get("process_nonce") != (self.nonce or nonce):
            key = Int64(lowest_key(rank_of(key)))
        unless_newer = {**of_call, "outcome_key": {"$not": {"$gte": key}}}
        return UpdateOne(unless_newer, update, upsert=self.form is Form.UPSERT_OTHER)

    def _of_its_process(self, fields: Mapping[str, Any], nonce: str | None) -> dict[str, Any]:
        """Return what a document has to say of who began the call; nothing if anybody may have.

        Ids are drawn by lot, so somebody may have drawn the same one.

        Args:
            fields: The record's, which name who began the call where it was not this journal's.
            nonce: The process whose journal the record is of.
        """
        began = fields.get("process_nonce") or (nonce if self.record.op in _OWN_CALLS else None)
        return {"process_nonce": {"$in": [began, None]}} if began else {}

    def _may_insert(self, retention: Retention) -> bool:
        """Tell whether this may make a document: not of a call that was removed long ago."""
        record = self.record
        return record.op != LATER or may_be_on_its_way(record.id, retention.days)


def writes_for(record: Record, outcome: Record | None = None) -> list[Write]:
    """Return how a record, or a start and its own outcome together, are first sent."""
    form = FIRST_FORM[record.op]
    if outcome is not None and form is not Form.UNREAD:
        form = Form.UNREAD if outcome.op in STANDS_FOR else Form.INSERT_MERGED
    writes = [Write(form, record, outcome)]
    # of a verdict there is no document that could have its notes
    if form is Form.UNREAD or record.op == VERDICT:
        return writes
    if record.op == OTHER and rank_of(record.key) == Rank.UNWINDING:
        writes.append(Write(Form.ASK_FOR_VERDICT, record))
    writes += [
        Write(Form.ADD_NOTES, part)
        for part in (record, outcome)
        if part is not None and (part.notes or part.redacted)
    ]
    return writes


def _on_insert(call_id: str, retention: Retention) -> dict[str, Any]:
    created, expires = created_at(call_id), retention.expires_at(call_id)
    dates = {} if created is None else {"created_at": created}
    return dates if expires is None else {**dates, "expires_at": expires}


def _identity(call_id: str, retention: Retention, *, pending: bool) -> bytes:
    fields = {"_id": call_id, **_on_insert(call_id, retention)}
    if pending:
        fields["status"] = LLMCallStatusEnum.PENDING
    return bson.encode(fields)


def _join(*documents: bytes | memoryview) -> RawBSONDocument:
    """Make one BSON document of several that share no key, without decoding any."""
    body = b"".join(document[4:-1] for document in documents)
    return RawBSONDocument(_pack_length(len(body) + 5) + body + b"\0")


def _unset_beside(fields: Iterable[str]) -> RawBSONDocument:
    return _unset_document(frozenset(fields))


@lru_cache(maxsize=256)
def _unset_document(present: frozenset[str]) -> RawBSONDocument:
    return RawBSONDocument(
        bson.encode({name: "" for name in OUTCOME_FIELD_NAMES if name not in present})
    )
