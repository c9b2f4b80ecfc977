"""What becomes of a call that comes out of a file: it says so, and has no weight of its own.

imported_at, imported_from    when, and out of which file
outcome_key                   is left out: anything that was recorded of the call beats a file
keys of scores and the like   are not later than now: what is said of the call from now on counts
expires_at                    is that of a call that comes now, by the retention of who imports
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from llm_audit import gate
from llm_audit.encoding.notes import Notes
from llm_audit.journal.precedence import later_key
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.statements.writes import RAW
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection

_NOT_FROM_FILES = ("outcome_key", "expires_at", "imported_at", "imported_from")
_WITH_KEYS = ("scores", "annotations")


class Imports:
    """Makes calls of what is in one file.

    Args:
        settings: How long calls are kept.
        connection: To MongoDB, whose clock counts.
        source: Names the file.
    """

    def __init__(self, settings: Settings, connection: Connection, source: str) -> None:
        self._retention = Retention(settings.retention_days, connection.clock.now)
        self._source = source

    def stored(self, raw: bytes) -> RawBSONDocument:
        """Return what is stored of a call.

        Args:
            raw: As it is in the file, in BSON; each value is written as it is there unless the
                field has to hold something else.
        """
        fields = dict(RawBSONDocument(raw, RAW).items())
        for name in _NOT_FROM_FILES:
            fields.pop(name, None)
        notes = Notes()
        gate.fit(fields, notes)
        if lines := notes.lines():
            fields["encoding_notes"] = [*fields.get("encoding_notes", ()), *lines]
        now = datetime.now(UTC)
        for name in _WITH_KEYS:
            if name in fields:
                fields[name] = [
                    _not_later(item, later_key(now.timestamp())) for item in fields[name]
                ]
        fields |= {"imported_at": now, "imported_from": gate.shortened(self._source)}
        if expires := self._retention.expires_at(fields["_id"]):
            fields["expires_at"] = expires
        return RawBSONDocument(bson.encode(fields))


def _not_later(item: Mapping[str, Any], key: int) -> Mapping[str, Any]:
    given = item.get("key")
    return item if given is None or given <= key else {**item, "key": key}
