"""A journal without room: the disk refuses, the memory is full, the quota is reached."""

import os
import threading
import time
from itertools import count
from pathlib import Path

import pytest
from made_up_records import LARGE, Folder, append, ids, packed, read
from patience import PATIENCE

from llm_audit.journal import writer as journals
from llm_audit.journal.losses import RECORD, Losses
from llm_audit.journal.reader import JournalReader
from llm_audit.journal.room import DISK_SHORT, QUOTA
from llm_audit.journal.segments.found import find_segments
from llm_audit.journal.spool import aside
from llm_audit.journal.writer import MEMORY_FULL, Journal
from llm_audit.runtime import trusted

SIZE = len(packed(100))  # of any record whose call is named by three digits


def test_memory_is_bounded_at_eight_mebibytes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What neither disk nor memory has room for is dropped, tallied and said once."""
    journal = Journal(tmp_path / "missing", LARGE, LARGE)
    numbers = range(300)
    append(journal, *numbers, content="x" * 2**16)

    held = read(journal.segments)
    size = sum(segment.end for segment in journal.segments)
    assert 8 * 2**20 - 2**17 < size <= 8 * 2**20
    assert ids(held) == list(numbers)[: len(held)]
    assert (journal.not_journaled, journal.last_seq) == (len(held), 300)
    (entry,) = journal.losses.entries()
    assert (entry["what"], entry["reason"]) == (RECORD, MEMORY_FULL)
    assert entry["count"] == 300 - len(held)
    assert (entry["first_seq"], entry["last_seq"]) == (len(held) + 1, 300)
    assert entry["call_ids"] == [str(number) for number in range(len(held), len(held) + 10)]
    assert len(caplog.messages) == 2  # that the disk refuses, and that there is no room


@pytest.mark.parametrize("acknowledged", [False, True])
def test_nothing_waits_while_memory_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acknowledged: bool
) -> None:
    """While a copy is written calls are recorded, and MongoDB may take what it is made of."""
    folder = tmp_path / "journal"
    journal = Journal(folder, LARGE, LARGE)
    append(journal, 1)
    held = JournalReader(
        journal.segments,
        pending_after_seconds=0,
        batch_size=10,
        losses=Losses(),
        before_delete=journal.deleted,
    )
    first = journal.segments[0]
    room = journal.room.bytes
    write = trusted.put

    def write_meanwhile(name: str, dir_fd: int, data: bytearray) -> None:
        if name != first.name:
            return write(name, dir_fd, data)
        thread = threading.Thread(target=append, args=(journal, 2))
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        if acknowledged:
            assert held.next_batch(everything=True) is not None
            held.acknowledge()
        return write(name, dir_fd, data)

    folder.mkdir()
    monkeypatch.setattr(trusted, "put", write_meanwhile)
    journal.save_memory()
    on_disk = [segment.name for segment in find_segments(folder)]
    assert (first.name in on_disk) is not acknowledged
    on_disk_bytes = sum(path.stat().st_size for path in folder.glob("*.bson"))
    assert room - journal.room.bytes == on_disk_bytes


def test_memory_is_freed_as_it_is_acknowledged(tmp_path: Path) -> None:
    """Through an hour without disk, what MongoDB has makes room for what comes."""
    journal = Journal(tmp_path / "missing", LARGE, LARGE)
    held = JournalReader(
        journal.segments,
        pending_after_seconds=0,
        batch_size=10,
        losses=Losses(),
        before_delete=journal.deleted,
    )
    numbers = count()
    arrived: list[int] = []
    for _ in range(40):
        append(journal, *(next(numbers) for _ in range(10)), content="x" * 2**16)
        while (batch := held.next_batch(everything=True)) is not None:
            arrived += [int(write.record.id) for write in batch.writes]
            held.acknowledge()
        assert sum(segment.end for segment in journal.segments) <= 2 * journals.MEMORY_SEGMENT_BYTES
    assert arrived == list(range(400))
    assert (journal.losses.total, held.acknowledged_through) == (0, 400)
    assert not list(tmp_path.iterdir())


def test_where_memory_runs_out_content_goes_first(tmp_path: Path) -> None:
    """The last of the memory is kept for bare records; once the disk takes more, nothing is."""
    folder = Folder(tmp_path / "nonce")
    folder.in_the_way = True
    journal = Journal(folder.path, LARGE, LARGE, folder.make)
    assert journal.full is None
    numbers = count()
    while journal.full is None:
        append(journal, next(numbers), content="x" * 2**16)
    assert journal.full == MEMORY_FULL
    assert journal.losses.total == 0
    append(journal, *(next(numbers) for _ in range(1_000)))
    assert (journal.last_seq, journal.losses.total) == (next(numbers), 0)

    folder.in_the_way = False
    journal.ensure_folder()
    assert journal.full is None


def test_where_the_quota_is_reached_content_goes_first(tmp_path: Path) -> None:
    """Of what the spool may hold, the last eighth is for bare records; then they go too."""
    journal = Journal(tmp_path, LARGE, 80 * SIZE)
    append(journal, *range(100, 170))
    assert journal.full is None
    append(journal, 170)
    assert journal.full == QUOTA
    append(journal, *range(171, 180))
    assert journal.losses.total == 0

    append(journal, *range(180, 195))
    assert ids(read(journal.segments)) == list(range(100, 180))
    assert (journal.last_seq, journal.not_journaled) == (95, 0)
    (entry,) = journal.losses.entries()
    assert (entry["what"], entry["reason"], entry["count"]) == (RECORD, QUOTA, 15)
    assert (entry["first_seq"], entry["last_seq"]) == (81, 95)
    assert entry["call_ids"] == [str(number) for number in range(180, 190)]


def test_what_others_hold_counts_too(tmp_path: Path) -> None:
    """The quota is for the whole spool: what is measured counts, and what goes makes room."""
    journal = Journal(tmp_path, LARGE, 80 * SIZE)
    journal.measured(79 * SIZE, journal.room.reserved_bytes)
    append(journal, 100, 101)
    assert (journal.last_seq, journal.losses.total) == (2, 1)
    journal.measured(0, journal.room.reserved_bytes)
    assert journal.full is None
    append(journal, 102)
    assert ids(read(journal.segments)) == [100, 102]


def test_what_is_written_during_the_measuring_counts(tmp_path: Path) -> None:
    """Records that arrive while the spool is being measured are not forgotten."""
    journal = Journal(tmp_path, LARGE, 80 * SIZE)
    before = journal.room.reserved_bytes
    append(journal, *range(100, 175))
    journal.measured(0, before)
    assert journal.full == QUOTA


def test_content_beside_the_journal_takes_room(tmp_path: Path) -> None:
    """Media may fill the spool only as far as content may."""
    journal = Journal(tmp_path, LARGE, 80 * SIZE)
    assert journal.take_room(60 * SIZE)
    assert not journal.take_room(20 * SIZE)
    assert journal.take_room(10 * SIZE)
    assert journal.full is None
    append(journal, 100)
    assert journal.full == QUOTA


def test_the_disk_is_left_its_share(tmp_path: Path) -> None:
    """However much the spool might hold, a tenth of what is free stays free; memory comes next."""
    journal = Journal(tmp_path, LARGE, 2**40)
    journal.measured(0, journal.room.reserved_bytes, free_bytes=100 * SIZE)
    append(journal, *range(100, 190))
    assert (journal.full, journal.not_journaled) == (None, 0)
    assert not journal.take_room(SIZE)
    append(journal, *range(190, 200))
    assert journal.not_journaled == 10
    journal.measured(0, journal.room.reserved_bytes, free_bytes=10 * SIZE)  # 90 of ours are there
    while journal.full is None:
        append(journal, 200, content="x" * 2**16)
    assert journal.full == DISK_SHORT
    assert journal.losses.total == 0
    while not journal.losses.total:
        append(journal, 200, content="x" * 2**16)
    assert {entry["reason"] for entry in journal.losses.entries()} == {DISK_SHORT}
    journal.measured(0, journal.room.reserved_bytes, free_bytes=2**40)
    assert journal.full is None


def test_what_is_kept_aside_is_bounded_and_aged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes an eighth of the spool at the most, and nothing stays for ever."""
    tmp_path.chmod(0o700)
    rejected = tmp_path / "rejected"
    rejected.mkdir(mode=0o700)
    now = time.time()
    for name, days in (("a.bson", 3), ("b.damaged", 2), ("c.bson", 1), ("d.bson", 91)):
        (rejected / name).write_bytes(b"x" * 100)
        os.utime(rejected / name, (now - days * 86_400,) * 2)
    media = rejected / "d.media"
    media.mkdir(mode=0o700)
    (media / "blob").write_bytes(b"x" * 100)
    os.utime(media, (now - 91 * 86_400,) * 2)

    aside.check_room(tmp_path, 300, 8 * 800)
    with pytest.raises(OSError, match="share of spool_max_bytes"):
        aside.check_room(tmp_path, 301, 8 * 800)
    aside.remove_old(tmp_path, 8 * 800)
    assert sorted(path.name for path in rejected.iterdir()) == ["a.bson", "b.damaged", "c.bson"]
    aside.remove_old(tmp_path, 8 * 150)
    assert [path.name for path in rejected.iterdir()] == ["c.bson"]
    assert "is lost" in caplog.text
