"""What goes to MongoDB together, and what it takes off the journal once it has arrived."""

from llm_audit.errors import let_through
from llm_audit.journal.records import Record
from llm_audit.journal.segments.segment import Segment
from llm_audit.journal.statements.writes import Form, Write, writes_for

BLOB_BYTES = 2**20  # what one counts for in a batch; how large it is nobody has looked yet

Origin = tuple[Record, Segment]


class Batch:
    """Writes that go together, and what they take off the journal once acknowledged."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.size_bytes = 0
        self.first_seq: int | None = None
        self.segments: list[Segment] = []

    def add(self, first: Origin, outcome: Origin | None) -> None:
        """Add a record, or a start and its own outcome."""
        pair = first[0], None if outcome is None else outcome[0]
        try:
            self.writes += writes_for(*pair)
        except BaseException as fault:  # noqa: BLE001  (whoever sends it tries again, and finds which)
            let_through(fault)
            self.writes.append(Write(Form.UNREAD, *pair))
        for record, segment in (first,) if outcome is None else (first, outcome):
            self.size_bytes += len(record.doc) + len(record.blobs) * BLOB_BYTES
            self.first_seq = (
                record.seq if self.first_seq is None else min(self.first_seq, record.seq)
            )
            self.segments.append(segment)
