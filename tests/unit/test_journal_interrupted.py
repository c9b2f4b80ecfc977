"""Signal handlers that interrupt the journal: some record too, some raise out of it."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
from file_size_limit import file_size_limit
from made_up_records import LARGE, Folder, append, ids, packed, read, seqs

from llm_audit.journal import writer as journals
from llm_audit.journal.segments import files, segment, written
from llm_audit.journal.segments.found import find_segments
from llm_audit.journal.writer import Journal

OURS = {module.__file__ for module in (journals, files, segment, written)}
SIZE = len(packed(100))


class LimitError(Exception):
    """What a time limit raises out of a signal handler."""


class Strike:
    """Calls a handler once, at the n-th point in the journal's code where a signal could.

    Python looks for signals when a function begins and after each call, C functions included.
    """

    def __init__(self, point: int, handler: Callable[[], None]) -> None:
        self.struck = False
        self._left = point
        self._handler = handler

    def __enter__(self) -> Self:
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # what strikes in a destructor is not raised, but printed
        if event == "c_call" or code.co_filename not in OURS or code.co_name == "__del__":
            return
        self._left -= 1
        if self._left < 0 and not self.struck:
            self.struck = True
            self._handler()


def strike_limit() -> None:
    raise LimitError


def on_disk(folder: Path, *, segment_max_bytes: int = LARGE) -> Journal:
    made = Folder(folder)
    return Journal(folder, segment_max_bytes, LARGE, made.make)


def rotating(folder: Path) -> Journal:
    return on_disk(folder, segment_max_bytes=1)


def without_disk(folder: Path) -> Journal:
    return Journal(folder, LARGE, LARGE)


def rotating_without_disk(folder: Path) -> Journal:
    journals.MEMORY_SEGMENT_BYTES = 1
    return without_disk(folder)


def disk_full(journal: Journal) -> Any:
    return file_size_limit(max(1, journal.last_seq * SIZE + 10))


def no_limit(_: Journal) -> Any:
    return nullcontext()


@pytest.fixture(autouse=True)
def usual_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test change how large a segment in memory gets, and try the disk at once."""
    monkeypatch.setattr(journals, "MEMORY_SEGMENT_BYTES", journals.MEMORY_SEGMENT_BYTES)
    monkeypatch.setattr(written, "REOPEN_AFTER_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def unraisable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave alone what strikes in the garbage collector, or before an object is made whole.

    Python prints it, in code that is interrupted itself; no function of C's is.
    """
    monkeypatch.setattr(sys, "unraisablehook", [].append)


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (on_disk, no_limit),
        (rotating, no_limit),
        (on_disk, disk_full),
        (without_disk, no_limit),
        (rotating_without_disk, no_limit),
    ],
)
def test_a_time_limit_at_any_point_loses_and_doubles_nothing(
    tmp_path: Path, make: Callable[[Path], Journal], limit: Callable[[Journal], Any], before: int
) -> None:
    """Each call that returned is there once, numbered without a gap, and the journal goes on."""
    for point in count():
        folder = tmp_path / str(point) / "nonce"
        folder.parent.mkdir()
        journal = make(folder)
        returned = list(range(100, 100 + before))
        append(journal, *returned)
        with limit(journal), Strike(point, strike_limit) as strike:
            try:
                append(journal, 102)
                returned.append(102)
            except LimitError:
                pass
        append(journal, 103, 104)

        records = read(journal.segments)
        assert seqs(records) == list(range(1, journal.last_seq + 1))
        assert sorted({*ids(records), 102}) == [*returned[:before], 102, 103, 104]
        assert len(set(ids(records))) == len(records)
        assert set(returned) <= set(ids(records))
        if make in {on_disk, rotating} and limit is no_limit:
            assert journal.not_journaled == 0
            assert read(find_segments(folder)) == records
        assert not list(tmp_path.rglob("*.damaged"))
        if not strike.struck:
            break
    assert point > 5
    assert 102 in ids(records)


@pytest.mark.parametrize("make", [on_disk, rotating, without_disk, rotating_without_disk])
def test_what_a_handler_recorded_before_it_raised_is_there(
    tmp_path: Path, make: Callable[[Path], Journal]
) -> None:
    """A handler that was given its promise, and then raised out of append, is not left waiting."""
    for point in count():
        folder = tmp_path / str(point)
        folder.mkdir()
        journal = make(folder)
        append(journal, 100)
        returned = [100]

        def record_and_raise(journal: Journal = journal, returned: list[int] = returned) -> None:
            append(journal, 200)
            returned.append(200)
            raise LimitError

        with Strike(point, record_and_raise) as strike:
            try:
                append(journal, 101)
                returned.append(101)
            except LimitError:
                pass

        records = read(journal.segments)
        assert set(returned) <= set(ids(records))
        assert seqs(records) == list(range(1, len(records) + 1))
        assert len(set(ids(records))) == len(records)
        if not strike.struck:
            break
    assert point > 5


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
    journal = Journal(tmp_path, LARGE, LARGE)
    handled = 0

    def record_too(_: int, __: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        append(journal, 1)

    with interrupted(record_too):
        recorded = 0
        while handled < 300:
            append(journal, 0)
            recorded += 1
    records = read(journal.segments)
    assert ids(records).count(0) == recorded
    assert ids(records).count(1) == handled
    assert seqs(records) == list(range(1, len(records) + 1))


@pytest.mark.parametrize("make", [on_disk, without_disk])
def test_real_signals_lose_and_double_nothing(
    tmp_path: Path, make: Callable[[Path], Journal]
) -> None:
    """Wherever in append() real signals strike, again and again, every record is there once."""
    journal = make(tmp_path)
    journal._segment_max_bytes = 1_000
    armed = False

    def strike(_: int, __: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise LimitError

    returned: list[int] = []
    numbers = count()
    struck = 0
    with interrupted(strike):
        while struck < 200 or len(returned) < 200:
            number = next(numbers)
            record = packed(number)
            try:
                armed = True
                journal.append(record, str(number))
                armed = False
                returned.append(number)
            except LimitError:
                struck += 1
    append(journal, next(numbers))  # with it goes what was interrupted before it was written

    records = read(journal.segments)
    assert set(returned) <= set(ids(records))
    assert len(set(ids(records))) == len(records)
    assert seqs(records) == list(range(1, journal.last_seq + 1))
    assert not any(segment.damaged for segment in journal.segments)
    assert not any(segment.open for segment in list(journal.segments)[:-1])
