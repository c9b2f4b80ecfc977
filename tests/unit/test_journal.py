"""The journal: what is in the file when a record was written, and how it is read again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import bson
import pytest
from faults import file_size_limit

from llm_audit.recorder import journal as journals
from llm_audit.recorder.journal import (
    START,
    Journal,
    JournalClosedError,
    JournalVersionError,
    Record,
    Segment,
    find_segments,
    read_segment,
    record_fields,
    unpack,
)

LARGE = 2**30


def packed(call_id: str, content: str = "") -> bytes:
    return bson.encode(record_fields(START, call_id, 0, {"content": content}))


def written(folder: Path, count: int, segment_max_bytes: int = LARGE) -> Journal:
    """Write some records."""
    journal = Journal(folder, segment_max_bytes)
    for number in range(count):
        journal.append(packed(str(number)))
    return journal


def read(segments: Iterator[Segment], max_bytes: int = LARGE) -> list[Record]:
    """Read segments to their ends."""
    records: list[Record] = []
    for segment in segments:
        while segment.read < segment.end:
            records += read_segment(segment, max_bytes)
    return records


def ids(records: list[Record]) -> list[int]:
    return [int(record.id) for record in records]


def test_a_record_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """Nothing waits in a buffer: after each append the file holds that many documents."""
    journal = Journal(tmp_path, LARGE)
    for number in range(5):
        journal.append(packed(str(number)))
        (path,) = tmp_path.iterdir()
        assert len(bson.decode_all(path.read_bytes())) == number + 1


def test_a_segment_is_plain_bson(tmp_path: Path) -> None:
    """PyMongo's own reader of mongodump's format reads a segment."""
    written(tmp_path, 3)
    (path,) = tmp_path.iterdir()
    with path.open("rb") as file:
        documents = list(bson.decode_file_iter(file))
    assert [document["seq"] for document in documents] == [1, 2, 3]
    assert [document["id"] for document in documents] == ["0", "1", "2"]
    assert documents[0]["doc"] == {"content": ""}
    assert documents[0]["v"] == 1


def test_segments_rotate_by_size(tmp_path: Path) -> None:
    """A segment that has reached its size is closed, and the next begins."""
    size = len(packed("0"))
    journal = written(tmp_path, 9, segment_max_bytes=3 * size)
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == 3 * [3 * size]
    assert [segment.open for segment in journal.segments] == [False, False, False]


@pytest.mark.parametrize("max_bytes", [10, 200, LARGE])
def test_everything_is_read_in_order(tmp_path: Path, max_bytes: int) -> None:
    """Records are read in the order of writing, however little is read at a time."""
    journal = written(tmp_path, 10, segment_max_bytes=500)
    records = read(iter(journal.segments), max_bytes)
    assert ids(records) == list(range(10))
    assert [record.seq for record in records] == list(range(1, 11))


def test_a_live_segment_is_read_on(tmp_path: Path) -> None:
    """Reading goes on where it stopped when more has been written."""
    journal = written(tmp_path, 2)
    (segment,) = journal.segments
    assert ids(read(iter([segment]))) == [0, 1]
    journal.append(packed("2"))
    assert ids(read(iter([segment]))) == [2]


@pytest.mark.parametrize("left", [1, 4, 20, -1])
def test_a_torn_last_record_is_left_out(
    tmp_path: Path, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a record that was never finished nothing is read, and the log says so."""
    written(tmp_path, 3)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(packed("3")[:left])
    (segment,) = find_segments(tmp_path)

    assert ids(read(iter([segment]))) == [0, 1, 2]
    assert not segment.damaged
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"\xff" * 100, b"\x05\0\0\0\1" * 20])
def test_damage_is_set_aside(
    tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no record ends the reading; the file is kept for whoever wants to look."""
    written(tmp_path, 3)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(garbage + packed("4"))
    (segment,) = find_segments(tmp_path)

    assert ids(read(iter([segment]))) == [0, 1, 2]
    assert segment.damaged
    segment.delete()
    assert [left.suffix for left in tmp_path.iterdir()] == [".damaged"]
    assert len(caplog.messages) == 1


def test_a_segment_that_vanished_is_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that somebody removed is said to be gone, and reading goes on with the next."""
    journal = written(tmp_path, 6, segment_max_bytes=2 * len(packed("0")))
    journal.segments[1].path.unlink()

    assert ids(read(iter(journal.segments))) == [0, 1, 4, 5]
    assert len(caplog.messages) == 1


def test_a_newer_version_is_not_read() -> None:
    """A record of a newer format is for the llm-audit that wrote it."""
    record = bson.encode({**record_fields(START, "0", 0, {}), "v": journals.FORMAT_VERSION + 1})
    with pytest.raises(JournalVersionError):
        unpack(record)


def test_a_full_disk_leaves_no_half_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the disk took of a record is cut off; that record and the next are kept in memory."""
    journal = written(tmp_path, 3)
    size = len(packed("0"))
    with file_size_limit(4 * size - 10):
        journal.append(packed("3"))
        journal.append(packed("4"))

    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == 3 * size
    assert [int(unpack(raw).id) for raw in journal.read_memory()] == [3, 4]
    assert journal.not_journaled == 2
    assert len(caplog.messages) == 1


def test_the_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is room again, records go to disk again, numbered on."""
    monkeypatch.setattr(journals, "REOPEN_AFTER_SECONDS", 0.0)
    journal = written(tmp_path, 1)
    with file_size_limit(len(packed("0"))):
        journal.append(packed("1"))
    journal.append(packed("2"))

    assert ids(read(iter(journal.segments))) == [0, 2]
    assert [unpack(raw).seq for raw in journal.read_memory()] == [2]


def test_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What neither disk nor memory has room for is dropped, counted and said once."""
    monkeypatch.setattr(journals, "MEMORY_MAX_BYTES", 3 * len(packed("0")))
    journal = written(tmp_path / "missing", 5)
    assert (len(journal.in_memory), journal.not_journaled, journal.dropped) == (3, 3, 2)
    assert len(caplog.messages) == 2


def test_a_closed_journal_takes_no_more(tmp_path: Path) -> None:
    """After close() a record has to go to another journal."""
    journal = written(tmp_path, 1)
    journal.close()
    with pytest.raises(JournalClosedError):
        journal.append(packed("1"))
    assert ids(read(iter(journal.segments))) == [0]


@contextmanager
def interrupted(handler: Any) -> Iterator[None]:
    """Call a handler every fraction of a millisecond, wherever the main thread is."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_may_record(tmp_path: Path) -> None:
    """What a handler records while it interrupts a recording is in the journal too."""
    journal = Journal(tmp_path, LARGE)
    handled = 0

    def record_too(_: int, __: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        journal.append(packed("1"))

    with interrupted(record_too):
        recorded = 0
        while handled < 300:
            journal.append(packed("0"))
            recorded += 1
    records = read(iter(journal.segments))
    assert ids(records).count(0) == recorded
    assert ids(records).count(1) == handled
    assert [record.seq for record in records] == list(range(1, len(records) + 1))


class LimitError(Exception):
    """What a time limit raises out of a signal handler."""


# the handler may also strike in a callback of the garbage collector's, where nothing catches it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_out_of_a_signal_handler_damages_nothing(tmp_path: Path) -> None:
    """Wherever in append() a time limit strikes, every record whose append returned is read."""
    journal = Journal(tmp_path, segment_max_bytes=1_000)
    armed = False

    def strike(_: int, __: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise LimitError

    returned: list[int] = []
    struck = 0
    with interrupted(strike):
        while struck < 200 or len(returned) < 200:
            record = packed(str(len(returned) + struck))
            try:
                armed = True
                journal.append(record)
                armed = False
                returned.append(len(returned) + struck)
            except LimitError:
                struck += 1
    records = read(iter(journal.segments))
    assert set(returned) <= set(ids(records))
    assert len(set(ids(records))) == len(records)
    assert not any(segment.damaged for segment in journal.segments)
    assert journal.last_seq == records[-1].seq
    assert not any(segment.open for segment in list(journal.segments)[:-1])
