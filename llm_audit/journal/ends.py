"""How a call ended: journaled as it was told, and read when it is read from the journal.

To take a response apart, and to count and price its tokens, takes longer than all else that the
end of a call costs the thread that makes it. So what was told waits in the journal, in a record of
the op ENDED: `{said, asked, completed_at, outcome_key, latency_ms}`. Whoever reads the journal
makes the OWN of it that it stands for, the same one each time.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from llm_audit import gate
from llm_audit.encoding.encode import encode_carefully
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.errors import let_through, log_once
from llm_audit.given import outcomes
from llm_audit.journal.records import OWN, Record
from llm_audit.settings import made_before

# They are written back as they are read, times and UUIDs that Python cannot hold included.
AS_STORED: CodecOptions[Any] = CODEC_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    tz_aware=False,
    unicode_decode_error_handler="backslashreplace",
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)
_RAW = DEFAULT_RAW_BSON_OPTIONS.with_options(tz_aware=False)


def read_end(record: Record) -> Record:
    """Return the outcome that a record of the op ENDED stands for."""
    try:
        fields, notes = outcome_of(bson.decode(record.doc, AS_STORED))
    except Exception as fault:  # noqa: BLE001  (bytes that were given as BSON may be none)
        fields, notes = _unread(RawBSONDocument(bytes(record.doc), _RAW), fault)
    gate.have_fit(fields)
    if "encoding_notes" in fields:
        notes = [*notes, *fields.pop("encoding_notes")]
    try:
        doc = bson.encode(fields, codec_options=CODEC_OPTIONS)
    except BaseException as fault:  # noqa: BLE001  (then something new is in it that BSON refuses)
        let_through(fault)
        doc, changes, _ = encode_carefully(fields, sys.maxsize, sys.maxsize)
        notes = (*notes, *changes)
    notes = [*record.notes, *notes] if record.notes else notes
    return Record(OWN, record.id, record.seq, record.key, doc, notes, (), record.redacted)


def outcome_of(end: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
    """Return the fields of the outcome that an end stands for, and what was changed in them.

    Args:
        end: What was told, under `said` what `outcomes.told` returned.
    """
    fields = dict(end)
    said, asked = fields.pop("said"), fields.pop("asked")
    reading = made_before.set(True)
    try:
        found = outcomes.fields_told(said, asked, fields["completed_at"].replace(tzinfo=UTC))
    except Exception as fault:  # noqa: BLE001  (a response may hold anything; its call is recorded)
        return _unread(end, fault)
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
