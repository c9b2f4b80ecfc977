"""What is in the journals of the spool in force."""

from pathlib import Path

from llm_audit.journal.records import Record
from llm_audit.journal.segments.found import find_segments
from llm_audit.settings import get_settings


def journaled() -> list[Record]:
    """Read it, and once more the same."""
    read, again = (
        [
            record
            for folder in sorted(Path(get_settings().spool_dir).glob("*/*-*"))
            for segment in find_segments(folder)
            for record in segment.read_on(2**30)
        ]
        for _ in range(2)
    )
    assert read == again
    return read
