"""What an app and its agent tell one another by files."""

import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest

from llm_audit.journal.losses import RECORD, Entry
from llm_audit.journal.records import SEQ_MAX
from llm_audit.journal.spool import progress
from llm_audit.journal.spool.progress import (
    ACKNOWLEDGED,
    AWAITED,
    NOTHING,
    STATS,
    Progress,
    ProgressFile,
    Wanted,
)
from llm_audit.runtime import trusted

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REFUSED = asdict(Entry(RECORD, "a validator", 2, 3, 4, AT, AT, ["one"]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a process's folder."""
    path = tmp_path / "target" / "nonce"
    path.mkdir(mode=0o700, parents=True)
    path.parent.chmod(0o700)
    return path


def put(folder: Path, name: str, data: bytes) -> None:
    """Write what anybody may have written."""
    with trusted.folder(folder) as here:
        trusted.put(name, here, data)


def test_all_that_an_agent_says_arrives(folder: Path) -> None:
    """It is read as it was written, and again only when it has been written again."""
    said = Progress(7, 9, 1, 2, 3, [REFUSED], [REFUSED], 4_000, 5, "nobody answers")
    file = ProgressFile(folder)
    assert file.look() == NOTHING

    progress.write_progress(folder, said)
    assert file.look() == said
    assert file.look() is file.look()

    progress.write_progress(folder, said._replace(through=9, unavailable=None))
    assert file.look() == said._replace(through=9, unavailable=None)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x00", b"nonsense", bson.encode({})),
        bson.encode({"through": -1, "read": 2**60, "superseded": True, "closed": 1.5}),
        bson.encode({"through": "7", "refused": {"a": 1}, "unreadable": [7, {"what": 1}]}),
        bson.encode({"unavailable": 7, "used_bytes": None, "measured": [1]}),
        bson.encode({"refused": [{**REFUSED, "count": -1}, {**REFUSED, "call_ids": 7}]}),
    ],
)
def test_what_makes_no_sense_counts_as_not_said(folder: Path, data: bytes) -> None:
    """Whatever is in the files: nothing is acknowledged by it, and nothing fails."""
    for name in (ACKNOWLEDGED, AWAITED, STATS):
        put(folder, name, data)

    assert progress.read_progress(folder) == NOTHING._replace(refused=[], unreadable=[])
    assert Wanted(folder).look() == 0
    assert progress.read_stats(folder) == {}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_of_ours_is_not_opened(folder: Path, make: Callable[[Path], Any]) -> None:
    """A pipe would wait for ever, a link lead elsewhere."""
    for name in (ACKNOWLEDGED, AWAITED, STATS):
        make(folder / name)

    assert ProgressFile(folder).look() == NOTHING._replace(refused=[], unreadable=[])
    assert Wanted(folder).look() == 0
    assert progress.read_stats(folder) == {}


def test_an_agent_hears_each_number_that_is_waited_for(folder: Path) -> None:
    """Also of two that are written in the same instant of the file system."""
    wanted = Wanted(folder)
    assert wanted.look() == 0

    for seq in (1, 7, 12_345, 6, SEQ_MAX, 2):
        progress.want(folder, seq)
        assert wanted.look() == seq


@pytest.mark.parametrize("text", [b"-7", b"1e3", str(SEQ_MAX + 1).encode(), b"9" * 5_000])
def test_no_odd_number_is_waited_for(folder: Path, text: bytes) -> None:
    """Nor does the last good one count any more: nobody has asked for it."""
    put(folder, AWAITED, text)
    assert Wanted(folder).look() == 0


def test_of_stats_only_what_is_known_arrives(folder: Path) -> None:
    """Names are ours, texts short and printable, numbers counts: a document takes them all."""
    known = {"recorded": 7, "instrumented": ["openai"], "content_left_out": {"metadata": 3}}
    progress.write_stats(folder, known | {"backlog_bytes": 7, "rejected": []})
    assert progress.read_stats(folder) == known

    odd = {
        "_id": "x",
        "state": "ended",
        "recorded": "7",
        "passed_by": -1,
        "ended_twice": 2**62,
        "instrumented": ["a\nb" + "x" * 999, 7],
        "clients_loaded": "openai",
        "content_left_out": {"$set.x": 1, "": "many"},
    }
    put(folder, STATS, bson.encode(odd))
    found = progress.read_stats(folder)
    assert found.pop("content_left_out") == {"_set_x": 1, "_": 0}
    (name,) = found.pop("instrumented")
    assert (name[:3], len(name)) == ("a\N{REPLACEMENT CHARACTER}b", 256)
    assert found == {"recorded": 0, "passed_by": 0, "ended_twice": 0}
