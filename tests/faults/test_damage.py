"""A damaged journal: what precedes the damage arrives, the rest is kept, nothing is blocked."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import bson
import pytest
from faults.harmed import Harmed, settle
from faults.promises import Verdict, child
from faults.recording import record_alike
from faults.table import Report
from patience import LONG
from waiting import Calls, until

from llm_audit.errors import OF_A_KIND
from llm_audit.settings import Settings

SEGMENT_MAX_BYTES = 1_500
ZEROS = bytes(4096)
CHECKSUM_NAME = b"crc"  # the one thing that the checksum leaves out, and nothing rests on


class Entry(NamedTuple):
    """A record of a segment, where it ends, and which call it is of."""

    end: int
    op: str
    call_id: str


def entries(raw: bytes) -> list[Entry]:
    """Read a segment as MongoDB's tools do."""
    found, end = [], 0
    for record in bson.decode_all(raw):
        end += int.from_bytes(raw[end : end + 4], "little")
        found.append(Entry(end, record["op"], record["id"]))
    return found


def cuts(raw: bytes, number: int) -> bytes | None:
    """Cut a segment off at a byte of its last two documents."""
    length = entries(raw)[-3].end + number
    return raw[:length] if length < len(raw) else None


def zeroed(raw: bytes, number: int) -> bytes | None:
    """Let zeros follow, or fill the tail from a byte of the last two documents on."""
    if number == 0:
        return raw + ZEROS
    begins = entries(raw)[-3].end + (number - 1) * (1 if LONG else 7)
    return raw[:begins] + bytes(len(raw) - begins) if begins < len(raw) else None


def flips(raw: bytes, number: int) -> bytes | None:
    """Flip a bit of the second document."""
    first, second = entries(raw)[:2]
    position, bit = divmod(number, 8) if LONG else (number, number % 8)
    position += first.end
    if position >= raw.index(CHECKSUM_NAME, first.end):
        position += len(CHECKSUM_NAME)
    if position >= second.end:
        return None
    flipped = bytearray(raw)
    flipped[position] ^= 1 << bit
    return bytes(flipped)


def emptied(raw: bytes, number: int) -> bytes | None:
    """Leave nothing of a segment but its name."""
    del raw
    return b"" if number < 10 else None


def leave_segments(harmed: Harmed, settings: Settings, count: int) -> dict[Path, bytes]:
    """Leave a journal of at least so many segments behind, none of it shipped."""
    with harmed.frozen(), child(settings, target=record_alike, calls=4 * count) as process:
        until(lambda: process.said == ["done"])
    paths = sorted((settings.spool_dir / settings.target()).glob("*/*.bson"))
    assert len(paths) > count
    return {path: path.read_bytes() for path in paths}


def whole(raw: bytes, begins: int) -> list[Entry]:
    """Return the records before the byte at which a damage begins."""
    return [entry for entry in entries(raw) if entry.end <= begins]


def same_bytes(one: bytes, other: bytes) -> int:
    """Return how many bytes are the same before the first that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def expected_statuses(found: list[Entry]) -> dict[str, str]:
    """Return what becomes of the calls in what is whole of a segment."""
    ended = {entry.call_id for entry in found if entry.op != "start"}
    return {entry.call_id: "SUCCESS" if entry.call_id in ended else "ABANDONED" for entry in found}


def judge_statuses(calls: Calls, expected: dict[str, str]) -> Verdict:
    """Compare what must be in MongoDB with what is."""
    found = {call["_id"]: call["status"] for call in calls.find({}, {"status": 1})}
    verdict = Verdict(recorded=len(expected))
    verdict.lost = len(expected.keys() - found.keys())
    wrong = [call_id for call_id, status in found.items() if expected.get(call_id) != status]
    verdict.wrong_status = len(wrong)
    verdict.examples = [f"{i}: {found[i]} instead of {expected.get(i)}" for i in wrong[:3]]
    return verdict


@pytest.mark.parametrize(
    ("fault", "damage", "segments"),
    [
        ("journal cut off at every byte of its last two documents", cuts, 1_400),
        ("journal with a tail of zeros", zeroed, 1_400 if LONG else 250),
        ("journal with a flipped bit", flips, 6_000 if LONG else 800),
        ("journal empty", emptied, 30),
    ],
)
def test_damaged_segments(
    harmed: Harmed,
    report: Report,
    caplog: pytest.LogCaptureFixture,
    *,
    fault: str,
    damage: Callable[[bytes, int], bytes | None],
    segments: int,
) -> None:
    """Every whole document before a damage arrives, the rest is kept aside, and said once."""
    settings = harmed.settings(segment_max_bytes=SEGMENT_MAX_BYTES)
    left = leave_segments(harmed, settings, segments)
    times = 0
    expected: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    for number, (path, raw) in enumerate(left.items()):
        begins = len(raw)
        # every other one stays as it was, and the last, which may be short
        done = damage(raw, times) if number % 2 and number < segments else None
        if done is not None:
            times += 1
            path.write_bytes(done)
            begins = same_bytes(raw, done)
            if rest := done[max((entry.end for entry in whole(raw, begins)), default=0) :]:
                kept[f"{path.parent.name}-{path.stem}.damaged"] = rest
        expected |= expected_statuses(whole(raw, begins))
    assert times < segments // 2, "more segments are needed"
    settle(settings)

    report(fault, times, judge_statuses(harmed.calls, expected))
    aside = settings.spool_dir / settings.target() / "rejected"
    assert {path.name: path.read_bytes() for path in aside.glob("*")} == kept
    (nonce,) = {path.parent.name for path in left}
    said = Counter(re.findall(rf"{nonce}/(\d+)\.bson", "\n".join(caplog.messages)))
    assert said.keys() <= {name.removeprefix(f"{nonce}-").split(".")[0] for name in kept}
    assert list(said.values()) == [1] * min(len(kept), OF_A_KIND)  # of one kind only a few are said


def test_directory_in_place_of_a_segment(
    harmed: Harmed, report: Report, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a directory has the name of a segment, all segments arrive and it is kept aside."""
    settings = harmed.settings(segment_max_bytes=SEGMENT_MAX_BYTES)
    left = leave_segments(harmed, settings, 5)
    expected: dict[str, str] = {}
    for number, (path, raw) in enumerate(left.items()):
        if number == 2:
            path.unlink()
            path.mkdir()
            (path / "file").touch()
            in_the_way = path
        else:
            expected |= expected_statuses(entries(raw))
    settle(settings)

    report("directory in place of a journal", 1, judge_statuses(harmed.calls, expected))
    aside = settings.spool_dir / settings.target() / "rejected"
    (kept,) = aside.iterdir()
    assert [path.name for path in kept.iterdir()] == ["file"]
    assert len([line for line in caplog.messages if str(in_the_way) in line]) == 1
