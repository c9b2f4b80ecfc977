"""A journal's way out: what goes together, how far it reads ahead, and when files may go."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import bson
import pytest
from made_up_records import append, journal_of, numbered, packed

from llm_audit.journal import reader
from llm_audit.journal.losses import RECORD, Losses
from llm_audit.journal.reader import Batch, JournalReader
from llm_audit.journal.records import OTHER, OWN, START
from llm_audit.journal.segments.files import FileSegment
from llm_audit.journal.segments.found import find_segments
from llm_audit.journal.statements.writes import Form
from llm_audit.journal.writer import Journal

LATER = 3600.0
SIZE = len(packed(100))  # of any record whose call is named by three digits


def reader_of(
    journal: Journal, pending_after_seconds: float = 0, batch_size: int = 500
) -> JournalReader:
    return JournalReader(
        journal.segments,
        pending_after_seconds=pending_after_seconds,
        batch_size=batch_size,
        losses=journal.losses,
    )


def batches(held: JournalReader, *, everything: bool = False) -> Iterator[Batch]:
    """Yield batch after batch, each acknowledged when the next is asked for."""
    while (batch := held.next_batch(everything=everything)) is not None:
        yield batch
        held.acknowledge()


def forms(batch: Batch) -> list[tuple[Form, str]]:
    return [(write.form, write.record.id) for write in batch.writes]


def test_a_start_and_its_outcome_go_together(tmp_path: Path) -> None:
    """Where the owner's outcome has been read too, both are one insert; others go by themselves."""
    operations = [(1, START), (2, START), (1, OWN), (2, OTHER), (3, OWN)]
    records = [packed(call_id, op=op) for call_id, op in operations]
    (batch,) = batches(reader_of(journal_of(tmp_path, records)))
    assert sorted(forms(batch), key=str) == [
        (Form.INSERT_MERGED, "1"),
        (Form.INSERT_START, "2"),
        (Form.UPSERT_OTHER, "2"),
        (Form.UPSERT_OWN, "3"),
    ]


def test_a_start_waits_for_its_outcome(tmp_path: Path) -> None:
    """A start is held back for the outcome that may come soon, unless everything is wanted."""
    journal = journal_of(tmp_path, [packed(1), packed(2)])
    held = reader_of(journal, pending_after_seconds=LATER)
    assert held.next_batch(everything=False) is None
    assert held.acknowledged_through == 0

    journal.append(packed(2, op=OWN), "2")
    (batch,) = batches(held)
    assert forms(batch) == [(Form.INSERT_MERGED, "2")]
    (batch,) = batches(held, everything=True)
    assert forms(batch) == [(Form.INSERT_START, "1")]
    assert (held.acknowledged_through, held.empty) == (3, True)


def test_a_start_waits_no_longer_than_for_what_others_say(tmp_path: Path) -> None:
    """An outcome of another goes after the start, whose attempt a verdict is asked for by."""
    records = [packed(2, op=op) for op in (START, OTHER)]
    (batch,) = batches(reader_of(journal_of(tmp_path, records), pending_after_seconds=LATER))
    assert forms(batch) == [(Form.INSERT_START, "2"), (Form.UPSERT_OTHER, "2")]


def test_the_same_batch_is_due_until_it_is_acknowledged(tmp_path: Path) -> None:
    """What could not be sent is given again, and counts as unacknowledged."""
    held = reader_of(journal_of(tmp_path, [packed(1)]))
    batch = held.next_batch(everything=False)
    assert held.next_batch(everything=False) is batch
    assert held.acknowledged_through == 0
    held.acknowledge()
    assert held.acknowledged_through == 1


@pytest.mark.parametrize("batch_size", [1, 3, 500])
def test_a_segment_goes_when_all_of_it_is_acknowledged(tmp_path: Path, batch_size: int) -> None:
    """At every moment the files on disk hold all that has not been acknowledged."""
    starts = [packed(number) for number in range(20)]
    outcomes = [packed(number, op=OWN) for number in reversed(range(20))]
    journal = journal_of(tmp_path, starts + outcomes, segment_max_bytes=4 * len(starts[0]))
    journal.close()
    held = reader_of(journal, batch_size=batch_size)
    acknowledged: set[int] = set()
    for batch in batches(held):
        on_disk = [
            record["seq"]
            for path in tmp_path.iterdir()
            for record in bson.decode_all(path.read_bytes())
        ]
        assert set(range(1, 41)) - acknowledged <= set(on_disk)
        assert acknowledged >= set(range(1, held.acknowledged_through + 1))
        for write in batch.writes:
            acknowledged |= {part.seq for part in (write.record, write.outcome) if part is not None}

    assert acknowledged == set(range(1, 41))
    assert held.acknowledged_through == 40
    assert list(tmp_path.iterdir()) == []


def test_reading_ahead_is_bounded(tmp_path: Path) -> None:
    """However many starts wait for their outcome, only a window of them is held in memory."""
    records = [numbered(100 + number, "x" * 2**20) for number in range(40)]
    (tmp_path / "00000001.bson").write_bytes(b"".join(records))
    (segment,) = segments = find_segments(tmp_path)
    held = JournalReader(segments, pending_after_seconds=LATER, batch_size=500, losses=Losses())

    seen = 0
    for batch in batches(held):
        seen += len(batch.writes)
        assert segment.read <= seen * len(records[0]) + 2 * reader.WINDOW_MAX_BYTES
    assert 0 < seen < 40
    assert held.read


def test_unfinished_segments_are_named(tmp_path: Path) -> None:
    """A segment counts as waiting until all that is in it is acknowledged."""
    journal = journal_of(tmp_path, map(packed, range(100, 109)), segment_max_bytes=3 * SIZE)
    held = reader_of(journal, batch_size=4)
    waiting = [len(held.unfinished) for _ in batches(held)]
    assert waiting == [3, 2, 1]
    assert held.unfinished == []


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_segment_that_vanished_is_counted(
    tmp_path: Path, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a file that somebody removed it is known how many records, and which, were in it."""
    journal = journal_of(tmp_path, map(packed, range(100, 109)), segment_max_bytes=3 * SIZE)
    segment = journal.segments[lost]
    assert isinstance(segment, FileSegment)
    segment.path.unlink()
    held = reader_of(journal)
    (batch,) = batches(held)

    numbers = set(range(1, 10))
    gone = set(range(3 * lost + 1, 3 * lost + 4))
    assert {write.record.seq for write in batch.writes} == numbers - gone
    assert (held.acknowledged_through, held.empty) == (9, True)
    (entry,) = journal.losses.entries()
    assert (entry["what"], entry["count"]) == (RECORD, 3)
    assert (entry["first_seq"], entry["last_seq"]) == (min(gone), max(gone))
    assert "No such file" in entry["reason"]
    assert len(caplog.messages) == 1
    assert list(journal.segments) == []


def test_damage_in_our_own_journal_is_counted_and_holds_nothing_up(tmp_path: Path) -> None:
    """Where the disk damages what we have just written, we know how much, and flush() ends."""
    folder = tmp_path / "nonce"
    folder.mkdir()
    journal = journal_of(folder, map(packed, range(100, 105)))
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[3 * SIZE + 50] ^= 1
    path.write_bytes(content)
    held = reader_of(journal)
    (batch,) = batches(held)
    assert held.next_batch(everything=True) is None

    assert [write.record.seq for write in batch.writes] == [1, 2, 3]
    assert held.acknowledged_through == 5
    (entry,) = journal.losses.entries()
    assert (entry["what"], entry["count"]) == (RECORD, 2)
    assert (entry["first_seq"], entry["last_seq"]) == (4, 5)
    append(journal, 105)
    (batch,) = batches(held)
    assert [write.record.seq for write in batch.writes] == [6]


def test_what_is_recorded_while_a_rest_is_set_aside_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is written to a damaged segment at that very moment is not skipped."""
    folder = tmp_path / "nonce"
    folder.mkdir()
    journal = journal_of(folder, map(packed, range(100, 103)))
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[2 * SIZE + 50] ^= 1
    path.write_bytes(content)
    (segment,) = journal.segments
    set_aside = segment._set_aside

    def meanwhile(start: int, end: int) -> None:
        set_aside(start, end)
        append(journal, 103)

    monkeypatch.setattr(segment, "_set_aside", meanwhile)
    held = reader_of(journal)
    sent = Counter(write.record.seq for batch in batches(held) for write in batch.writes)
    assert sent == Counter([1, 2, 4])
