"""What is journaled as it was told or seen, and read when it is read from the journal.

To take a request or a response apart, and to count and price its tokens, takes longer than all else
that a call costs the thread that makes it. So it waits in the journal as it came. Whoever reads the
journal makes the operation of it that it stands for, the same one each time:

    SENT      a START: its fields, and `{sent, body}`, the request as it was seen on the wire
    ENDED     an OWN: `{said, asked, completed_at, outcome_key, latency_ms}`, told to `complete`
    RECEIVED  an OWN: `{received, body}`, the answer as it was seen, and the rest as above
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from llm_audit import gate
from llm_audit.encoding.encode import Blob, encode, encode_carefully
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.errors import let_through, log_once
from llm_audit.given import outcomes
from llm_audit.journal.records import (
    ENDED,
    OUTCOME_MAX_BYTES,
    OWN,
    RECEIVED,
    SENT,
    START,
    START_MAX_BYTES,
    Record,
)
from llm_audit.settings import get_settings, made_before

STANDS_FOR = {SENT: START, ENDED: OWN, RECEIVED: OWN}
TOLD_AS = {SENT: "sent", RECEIVED: "received"}
BODY = "body"
_MAX_BYTES = {SENT: START_MAX_BYTES, RECEIVED: OUTCOME_MAX_BYTES}

# They are written back as they are read, times and UUIDs that Python cannot hold included.
AS_STORED: CodecOptions[Any] = CODEC_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    tz_aware=False,
    unicode_decode_error_handler="backslashreplace",
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)
_RAW = DEFAULT_RAW_BSON_OPTIONS.with_options(tz_aware=False)

Keep = Callable[[Sequence[Blob]], list[str]]


def made_of(record: Record, keep: Keep | None = None) -> Record:
    """Return the operation that a record stands for; itself, if it says what it is.

    Args:
        record: Any.
        keep: Writes what moves out of the document beside the journal, and returns the names of the
            files; its OSError leaves it in the document. None is nowhere.
    """
    if record.op not in STANDS_FOR:
        return record
    told: Mapping[str, Any]
    try:
        told = bson.decode(record.doc, AS_STORED)
    except Exception as fault:  # noqa: BLE001  (bytes that were given as BSON may be none)
        told = RawBSONDocument(bytes(record.doc), _RAW)
        fields, notes = _unread(told, fault) if record.op == ENDED else fields_of(record.op, told)
    else:
        fields, notes = fields_of(record.op, told)
    gate.have_fit(fields)
    if "encoding_notes" in fields:
        notes = [*notes, *fields.pop("encoding_notes")]
    doc, changes, names = _encoded(fields, record, keep)
    notes = [*record.notes, *notes, *changes] if notes or changes else record.notes
    op = STANDS_FOR[record.op]
    return Record(op, record.id, record.seq, record.key, doc, notes, names, record.redacted)


def fields_of(
    op: str, told: Mapping[str, Any], *, at_once: bool = False
) -> tuple[dict[str, Any], Sequence[str]]:
    """Return the fields of what a record stands for, and what was changed in them.

    Args:
        op: SENT, ENDED or RECEIVED.
        told: What is in it.
        at_once: Whether it has not been in a journal: then the user's own prices are asked.
    """
    if op == ENDED:
        return _end(told)
    from llm_audit.given import received, sent  # most calls are recorded by hand

    fields = dict(told)
    seen, body = fields.pop(TOLD_AS[op]), fields.pop(BODY, None)
    if op == SENT:
        found = sent.fields_of(seen, body)
    else:
        ended_at = None if at_once else fields["completed_at"].replace(tzinfo=UTC)
        found = received.fields_of(seen, body or b"", fields.pop("asked"), ended_at)
    notes = found.pop("encoding_notes", ())
    return found | fields, notes


def _encoded(
    fields: dict[str, Any], record: Record, keep: Keep | None
) -> tuple[bytes, Sequence[str], Sequence[str]]:
    """Return a document, what was changed in it, and the files of what moved out of it."""
    if record.op == ENDED:
        try:
            return bson.encode(fields, codec_options=CODEC_OPTIONS), (), ()
        except BaseException as fault:  # noqa: BLE001  (something new is in it that BSON refuses)
            let_through(fault)
            raw, changes, _ = encode_carefully(fields, sys.maxsize, sys.maxsize)
            return raw, changes, ()
    if keep is not None:
        found = encode(fields, _MAX_BYTES[record.op], get_settings().media_limit_bytes)
        try:
            return found.raw, found.notes, keep(found.blobs) if found.blobs else ()
        except OSError as error:
            let_through(error)
    # it stays in its place; where that is too much, whoever sends it leaves it out and says so
    raw, changes, _ = encode(fields, sys.maxsize, sys.maxsize)
    return raw, changes, ()


def _end(told: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
    """Return the fields of the outcome that was told to `complete` or `fail`.

    Args:
        told: Under `said` what `outcomes.told` returned.
    """
    fields = dict(told)
    said, asked = fields.pop("said"), fields.pop("asked")
    reading = made_before.set(True)
    try:
        found = outcomes.fields_told(said, asked, fields["completed_at"].replace(tzinfo=UTC))
    except Exception as fault:  # noqa: BLE001  (a response may hold anything; its call is recorded)
        return _unread(told, fault)
    finally:
        made_before.reset(reading)
    notes = found.pop("encoding_notes", ())
    return found | fields, notes


def _unread(end: Mapping[str, Any], fault: BaseException) -> tuple[dict[str, Any], Sequence[str]]:
    """Return the same of an end that could not be read, without a look at what is in it."""
    let_through(fault)
    log_once(f"how a call ended could not be read: {type(fault).__name__}")
    said = end["said"]
    given = {**said, "response": said.get("response", {}).get("body")}
    found = outcomes.unread_fields(given, fault)
    notes = found.pop("encoding_notes")
    rest = {name: value for name, value in end.items() if name not in {"said", "asked"}}
    return found | rest, notes
