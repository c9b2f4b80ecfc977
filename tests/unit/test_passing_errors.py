"""Errors of the machine that pass: what could not be read or copied then is there afterwards."""

import errno
import shutil
from pathlib import Path

import pytest
from descriptor_limit import descriptor_limit
from file_size_limit import file_size_limit
from made_up_records import LARGE, Folder, append, ids, journal_of, packed, read

from llm_audit.journal import reader
from llm_audit.journal.losses import Losses
from llm_audit.journal.reader import JournalReader
from llm_audit.journal.records import OWN
from llm_audit.journal.writer import Journal

SIZE = len(packed(100))


def arrived(held: JournalReader) -> list[int]:
    """Ship everything, and return which calls it was."""
    numbers = []
    while (batch := held.next_batch(everything=True)) is not None:
        numbers += [int(write.record.id) for write in batch.writes]
        held.acknowledge()
    return numbers


def test_too_many_open_files_lose_nothing(tmp_path: Path) -> None:
    """A segment that could not be opened, as no descriptor was left, is read once one is."""
    journal = Journal(tmp_path, 2 * SIZE, LARGE)
    append(journal, *range(100, 110))
    held = JournalReader(
        journal.segments, pending_after_seconds=0, batch_size=500, losses=journal.losses
    )
    with descriptor_limit():
        for _ in range(2):
            with pytest.raises(OSError, match="Too many open files") as raised:
                held.next_batch(everything=True)
            assert raised.value.errno == errno.EMFILE

    assert arrived(held) == list(range(100, 110))
    assert (journal.losses.entries(), held.acknowledged_through) == ([], 10)
    assert list(tmp_path.glob("*.bson")) == []


def test_an_error_of_reading_ahead_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read while a batch waits for MongoDB may fail, too: the next batch says so."""
    monkeypatch.setattr(reader, "READ_BYTES", SIZE)
    outcomes = [packed(number, op=OWN) for number in range(100, 110)]
    journal = journal_of(tmp_path, outcomes, segment_max_bytes=len(outcomes[0]))
    held = JournalReader(
        journal.segments, pending_after_seconds=0, batch_size=2, losses=journal.losses
    )
    held.next_batch(everything=True)
    with held.reading_ahead():
        pass
    assert held.last_read_seq == 4, "the second batch has been read"
    held.acknowledge()
    held.next_batch(everything=True)
    with descriptor_limit(), held.reading_ahead():
        pass
    held.acknowledge()
    with pytest.raises(OSError, match="Too many open files"):
        held.next_batch(everything=True)

    assert arrived(held) == list(range(104, 110))
    assert (journal.losses.entries(), held.acknowledged_through) == ([], 10)


def test_a_copy_that_found_no_room_loses_nothing(tmp_path: Path) -> None:
    """Where the folder was removed and the disk has no room for the copy, the rest is still read.

    Half a copy must not take the place of the file that has lost its name.
    """
    folder = Folder(tmp_path / "nonce")
    folder.make()
    journal = Journal(folder.path, LARGE, LARGE, folder.make)
    append(journal, *range(100, 120))
    shutil.rmtree(folder.path)
    with file_size_limit(10 * SIZE):
        journal.ensure_folder()
        append(journal, *range(120, 125))
    append(journal, *range(125, 130))

    assert ids(read(journal.segments)) == list(range(100, 130))
    assert journal.losses.entries() == []


def test_gaps_between_the_numbers_are_counted(tmp_path: Path) -> None:
    """Records that were dropped took a number each, so a journal without them shows how many."""
    journal = Journal(tmp_path, LARGE, 80 * SIZE)
    append(journal, *range(100, 190))
    journal.room.bytes += SIZE
    append(journal, 190)
    losses = Losses()
    held = JournalReader(journal.segments, pending_after_seconds=0, batch_size=500, losses=losses)

    assert arrived(held) == [*range(100, 180), 190]
    assert (held.gaps.count, held.last_read_seq, losses.entries()) == (10, 91, [])
    assert journal.losses.total == 10
