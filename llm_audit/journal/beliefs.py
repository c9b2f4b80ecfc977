"""What is believed of a record that another process has left: no more than that it may have said.

Its checksum only says that it is whole. So its fields have to be those of its operation, its call
one that this process can have begun, and its precedence that of who speaks in such a record.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import bson
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from llm_audit import gate
from llm_audit.call import AtMost, OutcomeFields, SaidLater, StartFields
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.errors import let_through
from llm_audit.journal.precedence import Rank, outcome_key_of, rank_of
from llm_audit.journal.records import (
    ENDED,
    LATER,
    OTHER,
    OWN,
    OWNS,
    RECEIVED,
    SENT,
    START,
    STARTS,
    VERDICT,
    InvalidRecordError,
    Record,
)
from llm_audit.journal.unread import AS_STORED, BODY, STANDS_FOR, TOLD_AS, made_of

LATER_KEY_MAX = 2**60
_BEGAN = "process_nonce"
_OUTCOME = frozenset(OutcomeFields.model_fields)
_OF_ENDS = frozenset({"asked", "completed_at", "outcome_key", "latency_ms", _BEGAN})
_FIELDS = {
    START: frozenset(StartFields.model_fields),
    SENT: frozenset((*StartFields.model_fields, TOLD_AS[SENT], BODY)),
    OWN: _OUTCOME | {_BEGAN},
    ENDED: _OF_ENDS | {"said"},
    RECEIVED: _OF_ENDS | {TOLD_AS[RECEIVED], BODY},
    OTHER: _OUTCOME | {_BEGAN},
    VERDICT: _OUTCOME | {"task_id"},
    LATER: frozenset(SaidLater.model_fields) - {"annotations"},
}
_TOLD = _OUTCOME | {"response", "tokens", "error"}  # what may be under `said`
_RANKS = {
    **{op: {Rank.OWNER} for op in OWNS},
    OTHER: {Rank.ELSEWHERE, Rank.LEFT, Rank.UNWINDING, Rank.INFERENCE, Rank.ATTEMPT},
    VERDICT: {Rank.MAIN_PROCESS},
}
_MOMENTS = (datetime, DatetimeMS, type(None))
_TEXTS = (_BEGAN, "status", "ended_by", "task_id")  # what decides where something goes, and how
_TOP = DEFAULT_RAW_BSON_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, tz_aware=False
)


def of_process(nonce: str, *, names_who_began: bool) -> Callable[[Record], Record]:
    """Return what tells what is believed of the records in a folder.

    Args:
        nonce: The folder's name.
        names_who_began: As of `ProcessFolder`.

    Returns:
        A function that takes a record, and returns it with the weight that it has, or raises
        InvalidRecordError.
    """
    return partial(_believed, nonce=nonce, names_who_began=names_who_began)


def _believed(record: Record, *, nonce: str, names_who_began: bool) -> Record:
    if len(record.id) > AtMost().characters:
        raise InvalidRecordError("its id is too long")
    fields = _fields(record)
    if not fields.keys() <= _FIELDS[record.op]:
        raise InvalidRecordError(f"it has other fields than {record.op} has")
    if not all(type(fields.get(name)) in {str, type(None)} for name in _TEXTS):
        raise InvalidRecordError("it has a field of a wrong type")
    if record.op in STARTS:
        if (fields.get(_BEGAN) or nonce) != nonce:
            raise InvalidRecordError("another process has begun its call")
        if record.op == SENT and not _is_seen(SENT, fields):
            raise InvalidRecordError("it does not say what was sent")
    elif record.op == LATER:
        _check_said(record, fields)
    else:
        _check_outcome(record, fields)
        began = fields.get(_BEGAN) or (nonce if names_who_began else None)
        if record.op in OWNS and began != nonce:
            record = _from_elsewhere(record)
            fields = _fields(record)
    return record if record.op in STANDS_FOR else _fitting(record, fields)


def _fields(record: Record) -> dict[str, Any]:
    try:
        return bson.decode(record.doc, AS_STORED)
    except Exception as fault:  # noqa: BLE001  (bytes deep in it that were given as BSON may be none)
        let_through(fault)
    try:
        return dict(RawBSONDocument(bytes(record.doc), _TOP).items())
    except (BSONError, ValueError, OverflowError):
        raise InvalidRecordError("its fields are no BSON") from None


def _fitting(record: Record, fields: dict[str, Any]) -> Record:
    """Return the record with each field as `gate` lets it through; it may be older than that."""
    if gate.fits(fields):
        return record
    changes = Notes()
    gate.fit(fields, changes)
    try:
        doc = bson.encode(fields, codec_options=CODEC_OPTIONS)
    except Exception as fault:  # noqa: BLE001  (whatever it holds)
        let_through(fault)
        raise InvalidRecordError("its fields are no BSON") from None
    return record._replace(doc=doc, notes=[*record.notes, *changes.lines()])


def _check_outcome(record: Record, fields: Mapping[str, Any]) -> None:
    if rank_of(record.key) not in _RANKS[record.op]:
        raise InvalidRecordError(f"its precedence is not that of {record.op}")
    said = fields.get("status")
    if record.op in STANDS_FOR:
        said = _is_end(record.op, fields)
    elif record.op == VERDICT:
        said = said and fields.get("task_id")
    at = fields.get("completed_at")
    if not said or fields.get("outcome_key") != record.key or not isinstance(at, _MOMENTS):
        raise InvalidRecordError("it does not say how its call ended")


def _is_end(op: str, fields: Mapping[str, Any]) -> bool:
    """Tell whether fields are those of an end that `unread.made_of` takes."""
    said, asked = fields.get("said"), fields.get("asked")
    is_told = isinstance(said, Mapping) and said.keys() <= _TOLD
    return (
        (is_told if op == ENDED else _is_seen(op, fields))
        and type(asked) is list
        and [type(name) in {str, type(None)} for name in asked] == [True, True]
        and isinstance(fields.get("completed_at"), datetime)
    )


def _is_seen(op: str, fields: Mapping[str, Any]) -> bool:
    """Tell whether fields have what was seen on the wire as `unread.made_of` takes it."""
    from llm_audit.given import received, sent  # most calls are recorded by hand

    told, body = fields.get(TOLD_AS[op]), fields.get(BODY)
    types = sent.TYPES if op == SENT else received.TYPES
    return (
        isinstance(told, Mapping)
        and all(isinstance(value, types.get(name, ())) for name, value in told.items())
        and all(type(note) is str for note in told.get("notes", ()))
        and type(body) in {bytes, type(None)}
    )


def _check_said(record: Record, fields: Mapping[str, Any]) -> None:
    scores, metadata = fields.get("scores", []), fields.get("metadata", {})
    if not (
        0 < record.key < LATER_KEY_MAX
        and type(scores) is list
        and all(isinstance(score, Mapping) for score in scores)
        and isinstance(metadata, Mapping)
        and type(fields.get("tags", [])) is list
    ):
        raise InvalidRecordError("it says nothing of a call")


def _from_elsewhere(record: Record) -> Record:
    """Return an outcome of a call that its process may have begun, in another journal.

    Nobody knows that here, so it counts like one from any process.
    """
    if record.op in STANDS_FOR:
        try:
            record = made_of(record)
        except Exception as fault:  # noqa: BLE001  (whatever it holds, others follow)
            let_through(fault)
            raise InvalidRecordError("its end cannot be read") from None
    key = outcome_key_of(Rank.ELSEWHERE, like=record.key)
    doc = bson.encode({**_fields(record), "outcome_key": key})
    return record._replace(op=OTHER, key=key, doc=doc)
