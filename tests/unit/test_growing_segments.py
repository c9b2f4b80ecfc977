"""A journal that another process is still writing, as whoever ships it sees it."""

import errno
import os
from pathlib import Path

import pytest
from made_up_records import numbered, seqs

from llm_audit.journal.gaps import RANGES_MAX, Gaps
from llm_audit.journal.losses import JOURNAL, Losses
from llm_audit.journal.reader import JournalReader
from llm_audit.journal.records import Record
from llm_audit.journal.segments.found import FoundSegments
from llm_audit.runtime import trusted


class Shipped:
    """A living process's journal, and what comes out of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = FoundSegments(folder, lives=True)
        self.losses = Losses()
        self.reader = JournalReader(
            self.found.segments, pending_after_seconds=0, batch_size=500, losses=self.losses
        )

    def write(self, content: bytes, number: int = 1) -> None:
        """Write on into a segment."""
        with (self.folder / f"{number:08d}.bson").open("ab") as file:
            file.write(content)

    def step(self) -> list[int]:
        """Take all that is there by now, and return the numbers."""
        self.found.look()
        records: list[Record] = []
        while (batch := self.reader.next_batch(everything=True)) is not None:
            records += [write.record for write in batch.writes]
            self.reader.acknowledge()
        self.reader.acknowledge()  # what is done with goes
        return seqs(records)

    @property
    def files(self) -> list[str]:
        """The segments that are on disk."""
        return sorted(path.name for path in self.folder.glob("*.bson"))


@pytest.fixture
def shipped(tmp_path: Path) -> Shipped:
    """Give a process that has recorded nothing yet."""
    folder = tmp_path / "target" / "nonce"
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    return Shipped(folder)


def test_every_beginning_of_a_record_waits_for_its_rest(shipped: Shipped) -> None:
    """Wherever a write is seen cut, nothing is damaged, and nothing comes twice."""
    whole = numbered(1, "x" * 30)
    assert shipped.step() == []
    for seq, cut in enumerate(range(len(whole)), start=1):
        record = numbered(seq, "x" * 30)
        shipped.write(record[:cut])
        assert shipped.step() == [], cut
        shipped.write(record[cut:])
        assert shipped.step() == [seq], cut
    assert shipped.reader.empty
    assert shipped.losses.entries() == []
    assert shipped.files == ["00000001.bson"]  # its process may go on with it


def test_a_folder_that_could_not_be_listed_is_listed_again(
    shipped: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it has not changed since then: its process may be idle, and wait for what it wrote."""
    shipped.write(numbered(1))
    os.utime(shipped.folder, (1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(trusted, "names_in", no_descriptor)
        with pytest.raises(OSError, match="Too many"):
            shipped.step()
    assert shipped.step() == [1]


def no_descriptor(_: int) -> list[str]:
    """Be out of descriptors."""
    raise OSError(errno.EMFILE, "Too many open files")


def test_closed_segments_go_and_the_last_one_stays(shipped: Shipped) -> None:
    """A segment is closed once a later one is there, or its process is dead."""
    for number in range(1, 5):
        shipped.write(numbered(number), number)
        assert shipped.step() == [number]
        assert shipped.files == [f"{number:08d}.bson"]
    shipped.found.end()
    assert shipped.step() == []
    assert shipped.files == []


@pytest.mark.parametrize("dies", [False, True])
def test_what_stays_unfinished_is_damaged_once_no_more_can_come(
    shipped: Shipped, *, dies: bool
) -> None:
    """Of a record that was never finished, or of garbage, a living process's file shows no end."""
    shipped.write(numbered(1) + numbered(2)[:-5])
    assert shipped.step() == [1]
    assert shipped.step() == []
    assert shipped.losses.entries() == []
    if dies:
        shipped.found.end()
    else:
        shipped.write(numbered(3), 2)
    assert shipped.step() == ([] if dies else [3])
    (entry,) = shipped.losses.entries()
    assert entry["what"] == JOURNAL
    aside = shipped.folder.parent / "rejected" / "nonce-00000001.damaged"
    assert aside.read_bytes() == numbered(2)[:-5]


def test_what_was_saved_late_is_missing_no_more(shipped: Shipped) -> None:
    """What the disk refused for a while is on it later than what follows."""
    shipped.write(numbered(1))
    shipped.write(numbered(5), 3)
    assert shipped.step() == [1, 5]
    assert (shipped.reader.gaps.count, shipped.reader.gaps.ranges) == (3, [(2, 4)])
    shipped.write(b"".join(map(numbered, (2, 3))), 2)
    assert shipped.step() == [2, 3]
    assert (shipped.reader.gaps.count, shipped.reader.gaps.ranges) == (1, [(4, 4)])
    assert shipped.reader.acknowledged_through == 5
    assert shipped.files == ["00000003.bson"]


def test_a_file_that_was_removed_is_read_on_where_it_is_made_anew(shipped: Shipped) -> None:
    """Its process copies what it had written, and goes on with the copy."""
    path = shipped.folder / "00000001.bson"
    shipped.write(numbered(1))
    assert shipped.step() == [1]
    path.unlink()
    assert shipped.step() == []
    shipped.write(numbered(1) + numbered(2))
    assert shipped.step() == [2]
    assert shipped.losses.entries() == []


def test_gaps_take_back_only_what_they_have() -> None:
    """Every number of a range is taken back once; ranges that are very many are only counted."""
    gaps = Gaps()
    gaps.pass_over(3, 5)
    gaps.pass_over(8, 8)
    for number in (1, 4, 4, 6, 8, 9, 3):
        gaps.found(number)
    assert (gaps.count, gaps.ranges) == (1, [(5, 5)])
    for number in range(10, 10 + 4 * RANGES_MAX, 2):
        gaps.pass_over(number, number)
    assert (gaps.count, len(gaps.ranges)) == (1 + 2 * RANGES_MAX, RANGES_MAX)
