"""Segments: written by one, read by another, whatever became of the file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import bson
import pytest
from file_size_limit import file_size_limit
from made_up_records import LARGE, numbered, read, seqs

from llm_audit.journal.losses import JOURNAL, Losses
from llm_audit.journal.reader import JournalReader
from llm_audit.journal.records import FORMAT_VERSION, JournalVersionError, seal
from llm_audit.journal.segments import files
from llm_audit.journal.segments.files import FileSegment
from llm_audit.journal.segments.found import find_segments
from llm_audit.journal.segments.memory import MemorySegment
from llm_audit.journal.segments.segment import Segment

RECORDS = [numbered(seq, "x" * (10 * seq)) for seq in range(1, 9)]


def folder_in(path: Path, target: object) -> Path:
    """Make a process's folder in a target's folder."""
    folder = path / str(target) / "nonce"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a process's folder in a target's folder."""
    return folder_in(tmp_path, "target")


@pytest.fixture(params=["file", "memory"])
def segment(request: pytest.FixtureRequest, folder: Path) -> Segment:
    """Give a segment of either kind."""
    return FileSegment.create(folder / "00000001.bson") if request.param == "file" else memory()


def memory(*records: bytes) -> MemorySegment:
    segment = MemorySegment(Path("00000001.bson"))
    for record in records:
        segment.append(bytearray(record))
    return segment


def found(folder: Path, content: bytes, number: int = 1) -> Segment:
    """Leave a segment behind as a dead process does, and find it."""
    (folder / f"{number:08d}.bson").write_bytes(content)
    return find_segments(folder)[-1]


def set_aside(folder: Path) -> dict[str, bytes]:
    """Return what lies in the folder for what was refused and damaged."""
    rejected = folder.parent / "rejected"
    return {path.name: path.read_bytes() for path in rejected.glob("*")}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 0x10
    return bytes(changed)


def test_what_is_written_is_read(segment: Segment) -> None:
    """A segment, on disk or in memory, gives back its records in order, also while it grows."""
    for seq, record in enumerate(RECORDS, 1):
        segment.append(bytearray(record))
        assert seqs(read([segment])) == [seq]
    assert segment.end == segment.read == sum(map(len, RECORDS))
    assert not segment.finished
    segment.close()
    assert segment.finished


@pytest.mark.parametrize("max_bytes", [10, 100, 300, LARGE])
def test_little_is_read_at_a_time(segment: Segment, max_bytes: int) -> None:
    """However little may be read at once, at least one whole record is."""
    for record in RECORDS:
        segment.append(bytearray(record))
    read_before = 0
    records = []
    while segment.read < segment.end:
        records += segment.read_on(max_bytes)
        assert segment.read - read_before <= max(max_bytes, len(RECORDS[-1]))
        read_before = segment.read
    assert seqs(records) == list(range(1, 9))


def test_what_waits_for_acknowledgement_is_not_finished() -> None:
    """A segment is done with when it is closed, read, and acknowledged."""
    segment = memory(*RECORDS)
    segment.close()
    assert not segment.finished
    read([segment])
    segment.unacknowledged = 1
    assert not segment.finished
    segment.unacknowledged = 0
    assert segment.finished


def test_a_deleted_segment_in_memory_frees_it() -> None:
    """What was acknowledged takes no memory any more."""
    segment = memory(*RECORDS)
    read([segment])
    segment.delete()
    assert segment._read_at(0, LARGE) == b""


def test_segments_are_found_in_order(folder: Path) -> None:
    """What a dead process left is read from the oldest on, other files left out."""
    for number in (10, 2, 1):
        (folder / f"{number:08d}.bson").write_bytes(numbered(number))
    (folder / "lock").touch()
    (folder / "1.blob").touch()
    assert seqs(read(find_segments(folder))) == [1, 2, 10]


def test_an_empty_file_is_finished_at_once(folder: Path) -> None:
    """A segment in which nothing was ever written is no obstacle."""
    segment = found(folder, b"")
    assert segment.finished
    assert set_aside(folder) == {}


def test_a_folder_in_place_of_a_segment_is_set_aside(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no file is moved out of the way, said once, and the others are read."""
    (folder / "00000001.bson").mkdir()
    (folder / "00000001.bson" / "file").touch()
    (folder / "00000002.bson").write_bytes(RECORDS[0])

    losses = Losses()
    segments = find_segments(folder)
    held = JournalReader(segments, pending_after_seconds=0, batch_size=9, losses=losses)
    batch = held.next_batch(everything=True)
    assert batch is not None
    assert [write.record.seq for write in batch.writes] == [1]
    held.acknowledge()
    assert [entry["what"] for entry in losses.entries()] == [JOURNAL]
    aside = folder.parent / "rejected" / "nonce-00000001.damaged"
    assert (aside / "file").is_file()
    assert list(folder.iterdir()) == []
    assert "set aside" in caplog.text


@pytest.mark.parametrize("max_bytes", [10, LARGE])
@pytest.mark.parametrize("number", range(8))
def test_from_damage_on_the_rest_is_set_aside(
    folder: Path, number: int, max_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes before a flipped bit is read, what follows is kept aside, and others go on."""
    good, bad = b"".join(RECORDS[:number]), b"".join(RECORDS[number:])
    rest = flipped(bad, len(RECORDS[number]) // 2)
    damaged, other = found(folder, good + rest), found(folder, numbered(9), number=2)

    assert seqs(read([damaged, other], max_bytes)) == [*range(1, number + 1), 9]
    assert (damaged.damaged, other.damaged) == (True, False)
    assert set_aside(folder) == {"nonce-00000001.damaged": rest}
    assert len(caplog.messages) == 1
    assert f"({len(rest)} bytes)" in caplog.text


def test_no_flipped_bit_is_taken_for_a_record(tmp_path: Path) -> None:
    """Wherever in a record a bit is wrong, its length included, the records before it are read."""
    for position in range(len(RECORDS[1])):
        folder = folder_in(tmp_path, position)
        rest = flipped(RECORDS[1], position) + RECORDS[2]
        segment = found(folder, RECORDS[0] + rest)
        harmless = flipped(RECORDS[1], position)[5:8] != RECORDS[1][5:8]  # the name "crc"
        assert seqs(read([segment])) == ([1, 2, 3] if harmless else [1]), position
        aside = {} if harmless else {"nonce-00000001.damaged": rest}
        assert set_aside(folder) == aside, position


def test_a_torn_last_record_is_set_aside(tmp_path: Path) -> None:
    """A record that was never finished, cut at whatever byte, is not read, and kept."""
    for left in range(1, len(RECORDS[2])):
        folder = folder_in(tmp_path, left)
        torn = RECORDS[2][:left]
        segment = found(folder, RECORDS[0] + RECORDS[1] + torn)
        assert seqs(read([segment])) == [1, 2], left
        assert segment.finished, left
        assert set_aside(folder) == {"nonce-00000001.damaged": torn}, left


@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 4096, b"\xff" * 100, b"\x05\0\0\0\1" * 20, b"\xff\xff\xff\x7f" + b"x" * 50, b"\1"],
    ids=["zeros", "ones", "short documents", "a length beyond the end", "one byte"],
)
def test_garbage_ends_the_reading(folder: Path, garbage: bytes) -> None:
    """What a disk made of a tail is not taken for records, and is kept."""
    segment = found(folder, RECORDS[0] + garbage + RECORDS[1])
    assert seqs(read([segment])) == [1]
    assert set_aside(folder) == {"nonce-00000001.damaged": garbage + RECORDS[1]}


def test_a_set_aside_rest_is_for_the_owner_only(folder: Path) -> None:
    """What is kept holds prompts in plain text: mode 0600 in a folder of mode 0700."""
    damaged = found(folder, b"damage")
    before = os.umask(0)
    try:
        read([damaged])
    finally:
        os.umask(before)
    (aside,) = (folder.parent / "rejected").iterdir()
    assert aside.stat().st_mode & 0o777 == 0o600
    assert aside.parent.stat().st_mode & 0o777 == 0o700


def test_a_damaged_segment_is_deleted_with_its_blobs(folder: Path) -> None:
    """What was read is acknowledged and goes; what was set aside stays."""
    (folder / "1.blob").touch()
    segment = found(folder, RECORDS[0] + b"damage")
    read([segment])
    segment.blobs.append("1.blob")
    segment.delete()
    assert list(folder.iterdir()) == []
    assert set_aside(folder) == {"nonce-00000001.damaged": b"damage"}


def test_a_newer_version_stops_the_reading(folder: Path) -> None:
    """Of a segment that a newer llm-audit wrote nothing is moved, deleted or set aside."""
    newer = bytearray(bson.encode({**bson.decode(RECORDS[0]), "v": FORMAT_VERSION + 1}))
    seal(newer, 2)
    segment = found(folder, RECORDS[0] + newer)
    with pytest.raises(JournalVersionError):
        read([segment])
    assert (segment.read, segment.finished) == (len(RECORDS[0]), False)
    assert set_aside(folder) == {}


def lose_file(segment: FileSegment) -> None:
    segment.path.unlink()


def move_folder(segment: FileSegment) -> None:
    segment.path.parent.rename(segment.path.parents[2] / "elsewhere")


def lose_folder(segment: FileSegment) -> None:
    shutil.rmtree(segment.path.parents[1])


def half_written(folder: Path) -> FileSegment:
    """Return a live segment of four records, of which the first is read."""
    segment = FileSegment.create(folder / "00000001.bson")
    for record in RECORDS[:4]:
        segment.append(bytearray(record))
    assert seqs(segment.read_on(10)) == [1]
    return segment


@pytest.mark.parametrize("lose", [lose_file, move_folder, lose_folder])
def test_a_live_segment_is_read_without_its_name(
    folder: Path, lose: Callable[[FileSegment], None]
) -> None:
    """What is written to a file that was removed or moved away is read by its descriptor."""
    segment = half_written(folder)
    lose(segment)
    for record in RECORDS[4:]:
        segment.append(bytearray(record))

    assert seqs(read([segment])) == list(range(2, 9))
    segment.delete()


@pytest.mark.parametrize("lose", [lose_file, move_folder, lose_folder])
def test_a_live_segment_goes_on_elsewhere(
    folder: Path, lose: Callable[[FileSegment], None]
) -> None:
    """After its folder was lost, all that the segment held is in a file in the new one."""
    segment = half_written(folder)
    lose(segment)
    anew = folder.parent / "anew"
    anew.mkdir(parents=True)
    segment.stay_in(anew)
    for record in RECORDS[4:]:
        segment.append(bytearray(record))
    segment.close()

    assert seqs(read([segment])) == list(range(2, 9))
    assert seqs(read(find_segments(anew))) == list(range(1, 9))
    segment.delete()
    assert list(anew.iterdir()) == []


def test_a_segment_that_cannot_go_on_elsewhere_keeps_what_it_holds(folder: Path) -> None:
    """Where the new folder has no room, nothing of the records is lost that can still be read."""
    segment = FileSegment.create(folder / "00000001.bson")
    for record in RECORDS[:4]:
        segment.append(bytearray(record))
    lose_folder(segment)
    folder.mkdir(parents=True)
    with file_size_limit(len(RECORDS[0]) + 10), pytest.raises(OSError, match="large"):
        segment.stay_in(folder)
    assert seqs(read([segment])) == [1, 2, 3, 4]


def test_a_closed_segment_is_read_by_its_name(folder: Path) -> None:
    """However many segments wait for MongoDB, only the open one holds a descriptor."""
    before = open_descriptors()
    closed = []
    for number in range(20):
        segment = FileSegment.create(folder / f"{number:08d}.bson")
        segment.append(bytearray(RECORDS[0]))
        segment.close()
        closed.append(segment)
    assert open_descriptors() == before
    assert len(read(closed)) == 20


@pytest.mark.parametrize("lose", [lose_file, move_folder, lose_folder])
def test_a_segment_closed_without_its_name_is_read(
    folder: Path, lose: Callable[[FileSegment], None]
) -> None:
    """What was lost before it was closed is still read by its descriptor, which then goes."""
    before = open_descriptors()
    segment = FileSegment.create(folder / "00000001.bson")
    segment.append(bytearray(RECORDS[0]))
    lose(segment)
    segment.close()
    assert seqs(read([segment])) == [1]
    segment.delete()
    assert open_descriptors() == before


def test_a_closed_segment_that_is_gone_is_an_error(folder: Path) -> None:
    """Whoever reads it is told, and may go on without it."""
    segment = FileSegment.create(folder / "00000001.bson")
    segment.append(bytearray(RECORDS[0]))
    segment.close()
    segment.path.unlink()
    with pytest.raises(FileNotFoundError):
        read([segment])
    segment.give_up()
    assert segment.finished


def test_what_cannot_be_read_is_moved_away(folder: Path) -> None:
    """A segment that is given up is kept, when it goes, for whoever can read it."""
    segment = found(folder, RECORDS[0])
    segment.give_up()
    assert segment.finished
    assert set_aside(folder) == {}
    segment.delete()
    assert set_aside(folder) == {"nonce-00000001.damaged": RECORDS[0]}
    assert not (folder / "00000001.bson").exists()


def test_a_short_write_is_cut_off(folder: Path) -> None:
    """Where the disk is full in the middle of a record, nothing of it stays in the file."""
    segment = FileSegment.create(folder / "00000001.bson")
    segment.append(bytearray(RECORDS[0]))
    with file_size_limit(len(RECORDS[0]) + 10), pytest.raises(OSError, match="large"):
        segment.append(bytearray(RECORDS[1]))
    assert segment.path.stat().st_size == segment.end == len(RECORDS[0])
    segment.append(bytearray(RECORDS[2]))
    assert seqs(read([segment])) == [1, 3]


def test_a_closed_segment_takes_no_more(folder: Path) -> None:
    """A descriptor is never used after it was given up."""
    segment = FileSegment.create(folder / "00000001.bson")
    segment.close()
    with pytest.raises(BrokenPipeError):
        segment.append(bytearray(RECORDS[0]))


def test_no_segment_is_written_over(folder: Path) -> None:
    """A file that is already there is never taken for a new segment."""
    (folder / "00000001.bson").write_bytes(RECORDS[0])
    with pytest.raises(FileExistsError):
        FileSegment.create(folder / "00000001.bson")


@pytest.mark.parametrize("written_bytes", [0, 1, len(RECORDS[1]) - 1, len(RECORDS[1])])
@pytest.mark.parametrize("counted", [False, True])
def test_an_interrupted_write_is_settled(
    folder: Path, written_bytes: int, *, counted: bool
) -> None:
    """Wherever a signal struck, a record is then there whole and counted, or not at all."""
    left, whole = RECORDS[1][:written_bytes], written_bytes == len(RECORDS[1])
    if counted and not whole:
        pytest.skip("only what was written whole is counted")
    segment = FileSegment.create(folder / "00000001.bson")
    segment.append(bytearray(RECORDS[0]))
    start = segment.end
    os.write(segment._descriptor.number, left)
    segment.end += len(left) if counted else 0

    assert segment.settle(start, len(RECORDS[1])) is whole
    segment.append(bytearray(RECORDS[2]))
    assert seqs(read([segment])) == ([1, 2, 3] if whole else [1, 3])


def test_settling_shows_the_reader_nothing_unwritten(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipper, which reads meanwhile, never takes for damage what was not written."""
    segment = FileSegment.create(folder / "00000001.bson")
    segment.append(bytearray(RECORDS[0]))
    records = read([segment])
    ends = []
    real = os.fstat

    def seen(*arguments: int) -> os.stat_result:
        ends.append(segment.end)
        return real(*arguments)

    monkeypatch.setattr(files.os, "fstat", seen)
    assert not segment.settle(segment.end, len(RECORDS[1]))
    monkeypatch.undo()
    assert ends == [len(RECORDS[0])]
    segment.append(bytearray(RECORDS[2]))
    assert seqs(records + read([segment])) == [1, 3]


def test_what_cannot_be_set_aside_costs_itself_only(folder: Path) -> None:
    """Where nothing can be set aside, a record that is none is counted, and the next is read."""
    invalid = bytearray(bson.encode({**bson.decode(RECORDS[1]), "op": "none"}))
    seal(invalid, 2)
    (folder.parent / "rejected").touch()
    segment = found(folder, RECORDS[0] + bytes(invalid) + RECORDS[2])

    assert seqs(read([segment])) == [1, 3]
    assert [seq for seq, _ in segment.left_out] == [2]
