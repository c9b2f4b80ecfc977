"""Records as the recorder makes them, and journals that hold them."""

from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import bson

from llm_audit.journal.records import START, Record, pack, seal
from llm_audit.journal.segments.segment import Segment
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.writer import Journal

LARGE = 2**30


def packed(call_id: object, content: str = "", op: str = START) -> bytearray:
    """Make a record as `Journal.append` takes it: without number and checksum."""
    return pack(op, str(call_id), 0, bson.encode({"system_prompt": content}))


def numbered(seq: int, content: str = "", op: str = START) -> bytes:
    """Make a record as it is in a journal; its call is named like its number."""
    record = packed(seq, content, op)
    seal(record, seq)
    return bytes(record)


def journal_of(
    folder: Path, records: Iterable[bytearray], segment_max_bytes: int = LARGE
) -> Journal:
    """Write a journal."""
    journal = Journal(folder, segment_max_bytes, LARGE)
    for record in records:
        journal.append(record, "")
    return journal


def append(journal: Journal, *numbers: int, content: str = "") -> None:
    """Record starts of calls that are named by numbers."""
    for number in numbers:
        journal.append(packed(number, content), str(number))


def read(segments: Iterable[Segment], max_bytes: int = LARGE) -> list[Record]:
    """Read segments to their ends."""
    records: list[Record] = []
    for segment in tuple(segments):
        while segment.read < segment.end:
            records += segment.read_on(max_bytes)
    return records


def ids(records: Iterable[Record]) -> list[int]:
    """Return the ids of calls that are named by numbers."""
    return [int(record.id) for record in records]


def seqs(records: Iterable[Record]) -> list[int]:
    """Return the numbers of records."""
    return [record.seq for record in records]


class Folder:
    """Makes a journal's folder where it is missing, as `ProcessFolder.ensure` does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.in_the_way = False
        self.lock_is_gone = False

    def make(self) -> bool:
        """Make the folder if need be, and return whether it was made."""
        if self.in_the_way:
            raise PermissionError(13, "Permission denied")
        made = self.lock_is_gone or not self.path.exists()
        self.path.mkdir(exist_ok=True)
        self.lock_is_gone = False
        return made


def create_process_folder(target_folder: Path, target_name: str | None = None) -> ProcessFolder:
    """Make and lock a folder in the spool as a recording process does."""
    folder = ProcessFolder(target_folder / str(uuid4()), target_name=target_name)
    folder.ensure()
    return folder
