"""The journal: what is in the file when a record was written, and where a record goes instead."""

import shutil
import threading
from pathlib import Path

import bson
import pytest
from file_size_limit import file_size_limit
from made_up_records import LARGE, Folder, append, ids, journal_of, packed, read, seqs

from llm_audit.journal.writer import Journal, JournalClosedError

SIZE = len(packed(100))  # of any record whose call is named by three digits


def written(folder: Path, number: int, segment_max_bytes: int = LARGE) -> Journal:
    """Write some records, whose calls are named from 100 on."""
    return journal_of(folder, map(packed, range(100, 100 + number)), segment_max_bytes)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.bson"))


def in_memory(journal: Journal) -> list[bool]:
    return [segment.in_memory for segment in journal.segments]


def test_a_record_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """Nothing waits in a buffer: after each append the file holds that many documents."""
    journal = Journal(tmp_path, LARGE, LARGE)
    for number in range(5):
        append(journal, number)
        (path,) = tmp_path.glob("*.bson")
        assert len(bson.decode_all(path.read_bytes())) == number + 1


def test_a_segment_is_plain_bson(tmp_path: Path) -> None:
    """PyMongo's own reader of mongodump's format reads a segment."""
    written(tmp_path, 3)
    (path,) = tmp_path.glob("*.bson")
    with path.open("rb") as file:
        documents = list(bson.decode_file_iter(file))
    assert [document["seq"] for document in documents] == [1, 2, 3]
    assert [document["id"] for document in documents] == ["100", "101", "102"]
    assert documents[0]["doc"] == {"system_prompt": ""}
    assert documents[0]["v"] == 1


def test_segments_rotate_by_size(tmp_path: Path) -> None:
    """A segment that has reached its size is closed, and the next begins."""
    journal = written(tmp_path, 9, segment_max_bytes=3 * SIZE)
    assert [path.stat().st_size for path in files(tmp_path)] == 3 * [3 * SIZE]
    assert [segment.open for segment in journal.segments] == [False, False, False]


def test_segments_rotate_by_age(tmp_path: Path) -> None:
    """An old segment is closed when asked for, a young one is not."""
    journal = written(tmp_path, 1)
    journal.close_segment(older_than_seconds=3600)
    append(journal, 101)
    assert len(files(tmp_path)) == 1
    journal.close_segment()
    append(journal, 102)
    assert [segment.open for segment in journal.segments] == [False, True]
    assert ids(read(journal.segments)) == [100, 101, 102]


@pytest.mark.parametrize("max_bytes", [10, 200, LARGE])
def test_everything_is_read_in_order(tmp_path: Path, max_bytes: int) -> None:
    """Records are read in the order of writing, however little is read at a time."""
    journal = written(tmp_path, 10, segment_max_bytes=500)
    records = read(journal.segments, max_bytes)
    assert ids(records) == list(range(100, 110))
    assert seqs(records) == list(range(1, 11))


def test_each_segment_knows_its_last_record(tmp_path: Path) -> None:
    """Even of a file that is gone it is known how many records were in it."""
    journal = written(tmp_path, 7, segment_max_bytes=3 * SIZE)
    assert [segment.last_seq for segment in journal.segments] == [3, 6, 7]
    assert journal.last_seq == 7


def test_a_full_disk_leaves_no_half_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the disk took of a record is cut off; that record and the next are kept in memory."""
    journal = written(tmp_path, 3)
    with file_size_limit(4 * SIZE - 10):
        append(journal, 103, 104)

    (path,) = tmp_path.glob("*.bson")
    assert path.stat().st_size == 3 * SIZE
    assert in_memory(journal) == [False, True]
    records = read(journal.segments)
    assert ids(records) == [100, 101, 102, 103, 104]
    assert seqs(records) == [1, 2, 3, 4, 5]
    assert journal.not_journaled == 2
    assert journal.losses.entries() == []
    assert len(caplog.messages) == 1


def test_the_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is room again, records go to disk again, in the same order."""
    monkeypatch.setattr("llm_audit.journal.segments.written.REOPEN_AFTER_SECONDS", 0.0)
    journal = written(tmp_path, 1)
    for number in (101, 104):
        with file_size_limit(SIZE):
            append(journal, number)
        assert not journal.disk_refuses
        append(journal, number + 1, number + 2)

    assert in_memory(journal) == [False, True, False, True, False]
    records = read(journal.segments)
    assert (ids(records), seqs(records)) == (list(range(100, 107)), list(range(1, 8)))
    assert journal.not_journaled == 2


def test_a_disk_that_refuses_is_not_tried_for_each_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the disk has refused, it is left alone for a while."""
    monkeypatch.setattr("llm_audit.journal.segments.written.REOPEN_AFTER_SECONDS", 3600.0)
    tries = 0

    def refuse() -> bool:
        nonlocal tries
        tries += 1
        raise PermissionError(13, "not today")

    journal = Journal(tmp_path, LARGE, LARGE, refuse)
    append(journal, *range(50))
    assert journal.disk_refuses
    assert in_memory(journal) == [True]
    assert tries == 1


def test_a_folder_that_can_be_made_again_is_used_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the folder is there again, records go to disk again, before the disk is due."""
    monkeypatch.setattr("llm_audit.journal.segments.written.REOPEN_AFTER_SECONDS", 3600.0)
    folder = Folder(tmp_path / "nonce")
    folder.in_the_way = True
    journal = Journal(folder.path, LARGE, LARGE, folder.make)
    append(journal, 0)
    journal.ensure_folder()
    append(journal, 1)
    assert all(in_memory(journal))
    folder.in_the_way = False
    journal.ensure_folder()
    append(journal, 2)
    assert not in_memory(journal)[-1]
    assert ids(read(journal.segments)) == [0, 1, 2]


@pytest.mark.parametrize("segment_max_bytes", [LARGE, 5 * SIZE], ids=["looking", "rotating"])
def test_a_folder_made_anew_holds_what_was_not_acknowledged(
    tmp_path: Path, segment_max_bytes: int
) -> None:
    """After somebody removed the folder, what the segment held and holds is on disk again."""
    folder = Folder(tmp_path / "nonce")
    journal = Journal(folder.path, segment_max_bytes, LARGE, folder.make)
    append(journal, 100, 101, 102)
    shutil.rmtree(folder.path)
    append(journal, 103)
    if segment_max_bytes == LARGE:
        journal.ensure_folder()
    append(journal, 104)

    (path,) = files(folder.path)
    on_disk = bson.decode_all(path.read_bytes())
    assert [int(record["id"]) for record in on_disk] == [100, 101, 102, 103, 104]
    assert ids(read(journal.segments)) == [100, 101, 102, 103, 104]
    assert journal.not_journaled == 0


def test_what_a_removed_folder_held_is_read_though_none_can_be_made(tmp_path: Path) -> None:
    """Where the folder is gone and stays so, what was written before still goes to MongoDB."""
    folder = Folder(tmp_path / "nonce")
    journal = Journal(folder.path, LARGE, LARGE, folder.make)
    append(journal, 0)
    shutil.rmtree(folder.path)
    folder.in_the_way = True
    append(journal, 1)
    journal.ensure_folder()
    append(journal, 2)
    assert ids(read(journal.segments)) == [0, 1, 2]
    assert in_memory(journal) == [False, True]


def test_a_lock_made_anew_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where only the lock was removed, the journal goes on in the file that is still there."""
    folder = Folder(tmp_path / "nonce")
    journal = Journal(folder.path, LARGE, LARGE, folder.make)
    append(journal, 0)
    folder.lock_is_gone = True
    journal.ensure_folder()
    append(journal, 1)

    assert ids(read(journal.segments)) == [0, 1]
    assert in_memory(journal) == [False]
    assert (journal.not_journaled, caplog.messages) == (0, [])
    (path,) = files(folder.path)
    assert len(bson.decode_all(path.read_bytes())) == 2


def test_a_closed_journal_takes_no_more(tmp_path: Path) -> None:
    """After close() a record has to go to another journal."""
    journal = written(tmp_path, 1)
    journal.close()
    with pytest.raises(JournalClosedError):
        append(journal, 101)
    assert ids(read(journal.segments)) == [100]
    assert not any(segment.open for segment in journal.segments)


def test_threads_write_one_journal(tmp_path: Path) -> None:
    """Records of several threads are numbered without a gap, each in one piece."""
    journal = Journal(tmp_path, 20 * SIZE, LARGE)
    threads = [
        threading.Thread(target=append, args=(journal, *range(first, first + 500)))
        for first in range(0, 2_000, 500)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read(journal.segments)
    assert seqs(records) == list(range(1, 2_001))
    assert sorted(ids(records)) == list(range(2_000))
