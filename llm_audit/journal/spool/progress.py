"""What an app and the agent that ships its journal tell one another, in the app's folder.

    acknowledged    by the agent: how far it is, and what became of what it has read (BSON)
    awaited         by the app: the number of the operation that somebody waits for (decimal)
    stats           by the app: what nobody but it can know (BSON)

What the other has written is a stranger's: what does not make sense counts as not said.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import bson
from bson.errors import BSONError

from llm_audit.errors import let_through
from llm_audit.journal.losses import LOST_ENDS_MAX, count_in, readable_entries
from llm_audit.journal.records import SEQ_MAX
from llm_audit.journal.spool.owners import short
from llm_audit.runtime import trusted

ACKNOWLEDGED, AWAITED, STATS = "acknowledged", "awaited", "stats"
MAX_BYTES = 2**20
TEXT_MAX = 1_024
NAMES_MAX = 100
_AWARE: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(tz_aware=True)
_DIGITS = len(str(SEQ_MAX))
# So long after a change the clock of a file system may give another the same instant.
_SAME_INSTANT_SECONDS = 0.1
_COUNTS = (
    *("recorded", "begun", "not_journaled", "ended_twice", "context_faults"),
    *("captured", "captured_by_hand", "capture_faults", "passed_by"),
)
_LISTS = ("instrumented", "clients_loaded")
_COUNTED = ("content_left_out",)
LOST_ENDS = "lost_ends"


class Progress(NamedTuple):
    """What an agent says of one journal; all of it is counted since the journal began.

    Attributes:
        through: The number of the operation up to which everything is in MongoDB, of what was read.
        read: The number of the last operation that was read.
        superseded: Outcomes that lost to others.
        of_no_call: Scores whose call is gone.
        closed: Calls that were ended because the record of how they ended was lost.
        refused: What MongoDB refused, as `Losses.entries`.
        unreadable: What could not be read, likewise.
        used_bytes: What the whole spool held when it was measured last.
        measured: How often it has been measured; 0 if never.
        unavailable: Why nothing can be sent now; None if MongoDB answers, as far as is known.
    """

    through: int = 0
    read: int = 0
    superseded: int = 0
    of_no_call: int = 0
    closed: int = 0
    refused: Sequence[dict[str, Any]] = ()
    unreadable: Sequence[dict[str, Any]] = ()
    used_bytes: int = 0
    measured: int = 0
    unavailable: str | None = None


NOTHING = Progress()


def write_progress(folder: Path, progress: Progress) -> None:
    """Tell an app how far its journal has been shipped.

    Raises:
        OSError: The spool cannot be written.
    """
    said = {name: value for name, value in progress._asdict().items() if value is not None}
    if progress.unavailable is not None:
        said["unavailable"] = progress.unavailable[:TEXT_MAX]
    with trusted.folder(folder) as here:
        trusted.put(ACKNOWLEDGED, here, bson.encode(said))


def read_progress(folder: Path) -> Progress:
    """Return what an agent has told last; what it has not, or cannot have, counts as nothing."""
    said = _read(folder, ACKNOWLEDGED)
    counts = {
        name: count_in(said.get(name))
        for name, nothing in NOTHING._asdict().items()
        if type(nothing) is int
    }
    why = said.get("unavailable")
    return Progress(
        **counts,
        refused=readable_entries(said.get("refused")),
        unreadable=readable_entries(said.get("unreadable")),
        unavailable=why[:TEXT_MAX] if isinstance(why, str) else None,
    )


class ProgressFile:
    """What an agent has told, read again when it has changed.

    Args:
        folder: Of the process whose journal it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: tuple[int, ...] | None = None
        self._progress = NOTHING

    def look(self) -> Progress:
        """Return what it is now."""
        now = _identity(self._folder / ACKNOWLEDGED)  # it is never written in place
        if now is not None and now != self._known:
            self._progress, self._known = read_progress(self._folder), now
        return self._progress


def want(folder: Path, seq: int) -> None:
    """Tell the agent that somebody waits until an operation is acknowledged.

    Args:
        folder: Of this process.
        seq: The operation's number.

    Raises:
        OSError: The spool cannot be written.
    """
    with trusted.folder(folder) as here:
        try:
            number = trusted.open_file(AWAITED, here, os.O_WRONLY)
        except FileNotFoundError:
            number = trusted.create(AWAITED, here)
        try:
            os.pwrite(number, b"%0*d" % (_DIGITS, seq), 0)  # always as long: never seen by halves
        finally:
            os.close(number)


class Wanted:
    """For which operation an app waits, read again when it may have changed.

    Args:
        folder: Of the app's process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: tuple[int, ...] | None = None
        self._seq = 0

    def look(self) -> int:
        """Return the operation's number; 0 if nobody has ever waited."""
        now = _identity(self._folder / AWAITED)
        if now is None:
            return self._seq
        is_recent = abs(time.time() - now[-1] / 1e9) < _SAME_INSTANT_SECONDS
        if now != self._known or is_recent:
            self._known = now
            with suppress(OSError, ValueError):
                self._seq = count_in(int(_bytes_of(self._folder, AWAITED, _DIGITS)))
        return self._seq


def write_stats(folder: Path, stats: Mapping[str, Any]) -> None:
    """Tell the agent what nobody but this process can know.

    Args:
        folder: Of this process.
        stats: As of `Recorder.stats`; what is not of this kind is left out.

    Raises:
        OSError: The spool cannot be written.
    """
    with trusted.folder(folder) as here:
        trusted.put(STATS, here, bson.encode(_stats_in(stats)))


def read_stats(folder: Path) -> dict[str, Any]:
    """Return what a process has told of itself, for its document; empty if it has not.

    What is named LOST_ENDS is for the agent: which calls have ended, though no record says so.
    """
    return _stats_in(_read(folder, STATS))


def _stats_in(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return of what was said what is known, and of its type."""
    found: dict[str, Any] = {name: count_in(said[name]) for name in _COUNTS if name in said}
    for name in _LISTS:
        if isinstance(texts := said.get(name), list):
            found[name] = [short(text) for text in texts[:NAMES_MAX] if isinstance(text, str)]
    for name in _COUNTED:
        if isinstance(counts := said.get(name), Mapping):
            some = list(counts.items())[:NAMES_MAX]
            found[name] = {_field_name(of): count_in(count) for of, count in some}
    if isinstance(ids := said.get(LOST_ENDS), list):
        some_ids = ids[:LOST_ENDS_MAX]
        found[LOST_ENDS] = [one for one in some_ids if isinstance(one, str) and short(one) == one]
    return found


def _field_name(text: object) -> str:
    """Return what may be the name of a field in MongoDB."""
    return short(str(text)).replace("$", "_").replace(".", "_") or "_"


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; None if it is not there."""
    try:
        status = path.lstat()
    except OSError as error:
        let_through(error)
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        return bson.decode(_bytes_of(folder, name, MAX_BYTES), _AWARE)
    except (OSError, BSONError, ValueError, OverflowError) as error:
        let_through(error)
        return {}


def _bytes_of(folder: Path, name: str, at_most: int) -> bytes:
    of_any_member = name == ACKNOWLEDGED  # the agent may be another user
    with trusted.folder(folder) as here:
        number = trusted.open_file(name, here, of_any_member=of_any_member)
    with os.fdopen(number, "rb") as file:
        return file.read(at_most)
