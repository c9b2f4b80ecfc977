"""A record without its content: what is sent, or kept, where the whole of it cannot be."""

from collections.abc import Mapping
from typing import Any

import bson
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from llm_audit.call import LLMCallStatusEnum
from llm_audit.encoding.notes import Notes
from llm_audit.gate import fit
from llm_audit.journal.losses import INTERNAL
from llm_audit.journal.records import OTHER, OWN, VERDICT, Record
from llm_audit.journal.statements.writes import FIRST_FORM, RAW, Form, Write
from llm_audit.journal.stripped import strip_content
from llm_audit.journal.unread import STANDS_FOR
from llm_audit.redaction.failing import without_text

REFUSED = "refused by MongoDB"  # in the note of a bare record
NOT_SENT = "not sent"  # where it was not MongoDB that refused it
TWO_LISTS = "code 171"  # CannotIndexParallelArrays: in an index of the user's own, of tags say


def without_content(refused: Write, reason: str) -> "list[Write]":
    """Return what is sent of a record in place of its content: who, when and how much.

    Args:
        refused: The write of one record.
        reason: Why it is without content.
    """
    left = bare(refused.record, reason)
    form = FIRST_FORM[left.op] if refused.form is Form.UNREAD else refused.form
    if left.op == VERDICT:  # it is about no call that could be there
        return []
    return [
        Write(form, left, bare=True, nonce=refused.nonce),
        Write(Form.ADD_NOTES, left, bare=True, nonce=refused.nonce),
    ]


def bare(record: Record, reason: str) -> Record:
    """Return a record without its content, with a note that says why.

    It yields to the whole record, should that be sent again once the server takes it.
    """
    fields, changes = _fields(record), Notes()
    fit(fields, changes)  # an old journal may hold what no index takes: two lists, say
    why = NOT_SENT if reason.startswith(INTERNAL) else REFUSED
    lists = [name for name, value in fields.items() if isinstance(value, list)]
    kept, note = strip_content(
        fields, f"{why}: {reason}", but_not=lists if reason == TWO_LISTS else ()
    )
    key = record.key
    if record.op in STANDS_FOR:
        record = _as_read(record, fields, kept)
    if record.op == OTHER:
        kept["outcome_key"] = key = Int64(key - 1)
    return record._replace(
        key=key, doc=bson.encode(kept), notes=(*record.notes, *changes.lines(), note), blobs=()
    )


def unsaid(record: Record, why: str) -> tuple[Record, int]:
    """Return a record without any text and id, and how many fields that takes from it.

    Args:
        record: Of a call.
        why: For the note that names the fields.
    """
    fields = _fields(record)
    left = without_text(fields)
    gone = [name for name in fields if name not in left]
    if record.op in STANDS_FOR and "said" not in left:  # there is nothing left to be read
        record = _as_read(record, fields, left)
    notes = (f"{', '.join(gone)}: {why}",) if gone else ()
    return record._replace(doc=bson.encode(left), notes=notes, blobs=()), len(gone)


def _as_read(record: Record, fields: Mapping[str, Any], left: dict[str, Any]) -> Record:
    """Return a record that cannot be read as what it stands for.

    Args:
        record: With what is left of it still to come.
        fields: What is in it.
        left: What is left of these; of an outcome it is told how the call ended.
    """
    op = STANDS_FOR[record.op]
    if op == OWN:
        left["status"] = _status_told(fields)
    return record._replace(op=op)


def _status_told(end: Mapping[str, Any]) -> str:
    """Return how a call ended, of an end that cannot be read."""
    said = end.get("said") or (end.get("received") or {}).get("failed")
    status = said.get("status") if isinstance(said, Mapping) else None
    known = isinstance(status, str) and status in LLMCallStatusEnum.__members__
    is_one = known and status != LLMCallStatusEnum.PENDING
    return str(status) if is_one else LLMCallStatusEnum.SUCCESS.value


def _fields(record: Record) -> dict[str, Any]:
    """Return a record's fields as BSON: not all that it holds can be a Python value."""
    return dict(RawBSONDocument(bytes(record.doc), RAW).items())
