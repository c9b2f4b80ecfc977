"""What MongoDB refused and is kept beside the calls."""

from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from waiting import Call, Calls

from llm_audit.journal.records import Record, unpack
from llm_audit.settings.names import REJECTED


def refusals(calls: Calls) -> list[Call]:
    """Return the documents of what was refused, the oldest first."""
    return list(calls.database[REJECTED].find().sort("rejected_at"))


def record_of(refusal: Call) -> Record:
    """Return the record that a document keeps."""
    return unpack(refusal["record"])


def content_of(refusal: Call) -> dict[str, Any]:
    """Return the fields of the record that a document keeps."""
    return bson.decode(record_of(refusal).doc)


def raw_content_of(refusal: Call) -> RawBSONDocument:
    """Return the same where Python cannot hold every value."""
    return RawBSONDocument(bytes(record_of(refusal).doc))
