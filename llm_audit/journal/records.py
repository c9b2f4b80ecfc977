"""A record: one operation in the journal.

It is `{crc, v, seq, op, id, key, doc, notes?, blobs?, redacted?}`.
Every version begins with `crc` and `v`, so that damage is told from a newer version.
"""

import re
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

import bson
from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from llm_audit.encoding.safe_text import escape_surrogates
from llm_audit.errors import LLMAuditError

FORMAT_VERSION = 1
START = "start"
SENT = "sent"  # a START that is still to be read, see `unread`
OWN = "own"
ENDED = "ended"  # an OWN that is
RECEIVED = "received"  # another one
OTHER = "other"
VERDICT = "verdict"
LATER = "later"
STARTS = (START, SENT)
OWNS = (OWN, ENDED, RECEIVED)

# together they fit into the 16 MB that MongoDB allows a document
START_MAX_BYTES = 10 * 2**20
OUTCOME_MAX_BYTES = 4 * 2**20
LATER_MAX_BYTES = 2**18  # of one thing that is said of a call later

LENGTH_BYTES = 4
SHORTEST_BYTES = 37  # up to where the number ends
_CRC_OFFSET = 9  # length (4), "\x12crc\0" (5)
_CRC_END = 17
_SEQ_OFFSET = 29  # "\x10v\0" and an int32 (7), "\x12seq\0" (5)
_SEQ_END = 37
_KEY_BYTES = 8
_INTS = {int, Int64}
RECORD_MAX_BYTES = 2**25  # twice what MongoDB takes: what is longer nobody wrote
SEQ_MAX = 2**48  # an operation each microsecond, for nine years
_RULE_NAME = re.compile(r"[^.$\0][^.\0]{0,127}")
_BLOB_NAME = re.compile(r"[0-9a-f]{64}\.[0-9a-f-]{36}\.blob", re.ASCII)

_EMPTY = bytearray()
_UNKNOWN = Int64(0)
_ID = b"\x02id\0"
_KEY = b"\0\x12key\0"
_DOC = b"\x03doc\0"
# An llm-audit that does not know these yet takes them for a newer one's, and leaves them alone.
_VERSIONS = {
    **dict.fromkeys((START, OWN, OTHER, VERDICT, LATER), FORMAT_VERSION),
    ENDED: 2,
    **dict.fromkeys((SENT, RECEIVED), 3),
}
# A record as `bson.encode` would make it, up to its id; what of that is the same in each tells op.
_HEADS = {
    op: bson.encode({"crc": _UNKNOWN, "v": version, "seq": _UNKNOWN, "op": op})[:-1] + _ID
    for op, version in _VERSIONS.items()
}
_OPS = {
    head[LENGTH_BYTES:_CRC_OFFSET] + head[_CRC_END:_SEQ_OFFSET] + head[_SEQ_END:]: op
    for op, head in _HEADS.items()
}

_BEGINS = tuple(_HEADS[op][_SEQ_END : -len(_ID)] for op in STARTS)
_ENDS = tuple(_HEADS[op][_SEQ_END : -len(_ID)] for op in OWNS)

_INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_pack_int32 = _INT32.pack
_pack_int32_into = _INT32.pack_into
_pack_int64 = _INT64.pack
_pack_int64_into = _INT64.pack_into
_read_int64 = _INT64.unpack_from
read_length = _INT32.unpack_from


NOTHING: Mapping[str, int] = MappingProxyType({})


class JournalVersionError(LLMAuditError):
    """A journal was written by a newer llm-audit, which has to read it."""


class DamagedRecordError(LLMAuditError):
    """Bytes in a journal are no record, or not as they were written."""


class InvalidRecordError(DamagedRecordError):
    """A record is whole, and yet none that a recorder writes; what follows it may be one."""


class Record(NamedTuple):
    """One operation; `doc` is BSON that nobody needs to decode."""

    op: str
    id: str
    seq: int
    key: int
    doc: bytes | memoryview
    notes: Sequence[str]
    blobs: Sequence[str]
    redacted: Mapping[str, int] = NOTHING  # how often each rule has replaced something


def pack(
    op: str,
    call_id: str,
    key: int,
    doc: bytes,
    *,
    notes: Sequence[str] = (),
    blobs: Sequence[str] = (),
    redacted: Mapping[str, int] = NOTHING,
) -> bytearray:
    """Return a record, still without its number and checksum.

    Args:
        op: START, SENT, OWN, ENDED, RECEIVED, OTHER, VERDICT or LATER.
        call_id: The call's id; of a verdict, that of the attempt of a task that it is about.
        key: The outcome's precedence, or the order of what is said later; 0 for a start.
        doc: The operation's fields, as BSON.
        notes: What encoding changed in them.
        blobs: Names of the files beside the journal that hold what was too large for it.
        redacted: How often each rule has replaced something, of the whole call as far as known.
    """
    name = call_id.encode()
    length = _pack_int32(len(name) + 1)
    tail = b"\0"
    if notes or blobs or redacted:
        # what notes name may be a key that is no text
        extra = {
            "notes": [*map(escape_surrogates, notes)],
            "blobs": list(blobs),
            "redacted": dict(redacted),
        }
        tail = bson.encode({name: value for name, value in extra.items() if value})[LENGTH_BYTES:]
    parts = (_HEADS[op], length, name, _KEY, _pack_int64(key), _DOC, doc, tail)
    record = _EMPTY.join(parts)
    _pack_int32_into(record, 0, len(record))
    return record


def seal(record: bytearray, seq: int) -> None:
    """Give a record, as BSON, its number and its checksum."""
    _pack_int64_into(record, _SEQ_OFFSET, seq)
    _pack_int64_into(record, _CRC_OFFSET, crc32(memoryview(record)[_CRC_END:]))


def begins_call(record: bytearray) -> bool:
    """Tell whether a record is the start of a call."""
    return record.startswith(_BEGINS, _SEQ_END)


def ends_call(record: bytearray) -> bool:
    """Tell whether a record from `pack` ends a call that its process held open."""
    return record.startswith(_ENDS, _SEQ_END)


def unseal(record: bytearray) -> None:
    """Take its number from a record: the journal has not taken it."""
    _pack_int64_into(record, _SEQ_OFFSET, _UNKNOWN)


def is_numbered(record: bytearray) -> bool:
    """Tell whether a record has its number, which it keeps only if the journal has taken it."""
    return seq_of(record) != _UNKNOWN


def seq_of(record: bytes | bytearray) -> int:
    """Return the number of a record."""
    return int(_read_int64(record, _SEQ_OFFSET)[0])


def unpack(raw: bytes) -> Record:
    """Return a record, its `doc` still in BSON.

    Raises:
        DamagedRecordError: It is not what was written.
        InvalidRecordError: It was written, and by no recorder.
        JournalVersionError: A newer llm-audit wrote it.
    """
    if len(raw) < SHORTEST_BYTES or _read_int64(raw, _CRC_OFFSET)[0] != crc32(
        memoryview(raw)[_CRC_END:]
    ):
        raise DamagedRecordError
    try:
        sliced = _sliced(raw)
    except (struct.error, UnicodeDecodeError):
        sliced = None
    record = sliced or _decoded(raw)
    if not (0 <= record.seq <= SEQ_MAX and record.key >= 0):
        raise InvalidRecordError("its number or its order is out of range")
    return record


def _sliced(raw: bytes) -> Record | None:
    """Return a record that is as `pack` makes it, without notes and blobs; nothing is decoded."""
    length_at = raw.find(_ID, _SEQ_END) + len(_ID)
    op = _OPS.get(
        raw[LENGTH_BYTES:_CRC_OFFSET] + raw[_CRC_END:_SEQ_OFFSET] + raw[_SEQ_END:length_at]
    )
    if op is None:
        return None
    id_at = length_at + LENGTH_BYTES
    id_end = id_at + read_length(raw, length_at)[0] - 1
    key_at = id_end + len(_KEY)
    doc_at = key_at + _KEY_BYTES + len(_DOC)
    doc_end = doc_at + read_length(raw, doc_at)[0]
    if (
        raw[id_end:key_at] != _KEY
        or raw[key_at + _KEY_BYTES : doc_at] != _DOC
        or doc_end != len(raw) - 1
        or raw[doc_end - 1 :] != b"\0\0"
    ):
        return None
    return Record(
        op,
        raw[id_at:id_end].decode(),
        _read_int64(raw, _SEQ_OFFSET)[0],
        _read_int64(raw, key_at)[0],
        raw[doc_at:doc_end],
        (),
        (),
    )


def _decoded(raw: bytes) -> Record:
    try:
        fields = dict(RawBSONDocument(raw).items())  # decodes the top level once
        op, version = fields.get("op", ""), fields["v"]
        if version != _VERSIONS.get(op if type(op) is str else "", FORMAT_VERSION):
            raise JournalVersionError
        record = Record(
            op,
            fields["id"],
            fields["seq"],
            fields["key"],
            fields["doc"].raw,
            fields.get("notes", ()),
            fields.get("blobs", ()),
            fields.get("redacted", NOTHING),
        )
    except BSONError:
        raise DamagedRecordError from None
    except (KeyError, AttributeError):  # an AttributeError: `doc` is no document
        raise InvalidRecordError("it lacks what a record has") from None
    _check_types(record)
    return record


def _check_types(record: Record) -> None:
    """Look that a record holds what it has to, but for its document.

    Raises:
        InvalidRecordError: It does not.
    """
    notes, blobs, redacted = record.notes, record.blobs, record.redacted
    lists, numbers = {type(notes), type(blobs)}, {type(record.seq), type(record.key)}
    if not (lists <= {list, tuple} and numbers <= _INTS and isinstance(redacted, Mapping)):
        raise InvalidRecordError("it has a field of a wrong type")
    if not all(type(text) is str for text in (record.op, record.id, *notes, *blobs, *redacted)):
        raise InvalidRecordError("it has a text that is none")
    if record.op not in _VERSIONS or not all(map(is_blob_name, blobs)):
        raise InvalidRecordError("it names an operation or a file that there is not")
    if not all(
        type(count) in _INTS and count >= 0 and _RULE_NAME.fullmatch(name)
        for name, count in redacted.items()
    ):
        raise InvalidRecordError("it counts by no rule")


def is_blob_name(name: str) -> bool:
    """Tell whether this may be the name of a blob's file beside the journal."""
    return _BLOB_NAME.fullmatch(name) is not None
