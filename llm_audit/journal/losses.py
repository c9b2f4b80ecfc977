"""What did not arrive as it was recorded: counted by reason, with where and when."""

import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import bson
from bson.errors import BSONError

from llm_audit.errors import let_through
from llm_audit.runtime import clock

CALL_IDS_MAX = 10

RECORD = "record"
CONTENT = "content"
NOTES = "notes"
JOURNAL = "journal"

INTERNAL = "internal: "  # begins the reason where the fault is ours, or nobody foresaw it

NOTE_SECONDS = 1.0
LEFT = "losses"  # the one file beside a process's journal

_AWARE: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(tz_aware=True)


def internal(fault: BaseException) -> str:
    """Return the reason why a record is left out of which something raises, without its text."""
    return f"{INTERNAL}{type(fault).__name__}"


@dataclass(slots=True)
class Entry:
    """What has happened for one reason.

    Attributes:
        what: RECORD, whole operations; CONTENT, all of an operation but its identity and figures;
            NOTES, what encoding changed; JOURNAL, the rest of a journal segment, of which nobody
            knows what was in it.
        reason: Why.
        count: How often.
        first_seq: The number of the first operation concerned, or of the last one before it.
        last_seq: The number of the last.
        first_at: When it happened first, UTC.
        last_at: When it happened last, UTC.
        call_ids: The first few calls concerned.
    """

    what: str
    reason: str
    count: int
    first_seq: int
    last_seq: int
    first_at: datetime
    last_at: datetime
    call_ids: list[str] = field(default_factory=list)


class Losses:
    """Counts by kind and reason; any thread may add.

    Args:
        entries: What was counted before, as `entries` gave it.
    """

    def __init__(self, entries: Iterable[dict[str, Any]] = ()) -> None:
        before = [Entry(**entry) for entry in entries]
        self._entries = {(entry.what, entry.reason): entry for entry in before}
        self.lock = threading.RLock()
        self.total = sum(entry.count for entry in before)  # how often anything was counted

    def add(
        self, what: str, reason: str, *, seq: int, call_ids: Iterable[str] = (), count: int = 1
    ) -> None:
        """Count what happened to one operation, or to several that end with number `seq`."""
        now = datetime.now(UTC)
        with self.lock:
            entry = self._entries.get((what, reason))
            if entry is None:
                first_seq = max(0, seq - count + 1)
                entry = Entry(what, reason, 0, first_seq, seq, now, now)
                self._entries[what, reason] = entry
            entry.count += count
            self.total += count
            entry.first_seq = min(entry.first_seq, seq)
            entry.last_seq = max(entry.last_seq, seq)
            entry.last_at = now
            new = [call_id for call_id in call_ids if call_id not in entry.call_ids]
            entry.call_ids += new[: CALL_IDS_MAX - len(entry.call_ids)]

    def entries(self) -> list[dict[str, Any]]:
        """Return one dict for each kind and reason."""
        with self.lock:
            return [asdict(entry) for entry in self._entries.values()]


class Account(TypedDict):
    """What a journal has told to whoever ships it.

    Attributes:
        last_read_seq: The number of the last operation read.
        acked_through: The number of the operation up to which MongoDB has everything.
        missing: How many numbers before the last were missing.
        unreadable: What could not be read, as `Losses.entries`.
        refused: What MongoDB refused, likewise.
        damaged: The files whose rest is among what could not be read.
    """

    last_read_seq: int
    acked_through: int
    missing: int
    unreadable: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    damaged: list[str]


def leave(
    folder: Path, *, recorded: int, not_journaled: int, dropped: list[dict[str, Any]]
) -> None:
    """Write down what was lost, for whoever ships the journal after our death.

    A file, replaced at once: one document that is current, where a journal could only grow.

    Args:
        folder: This process's, in the spool.
        recorded: The number of its last operation.
        not_journaled: How many the disk had refused.
        dropped: As `Losses.entries`.

    Raises:
        OSError: The spool cannot be written.
    """
    new = folder / f"{LEFT}.new"
    new.touch(mode=0o600)
    left = {"recorded": recorded, "not_journaled": not_journaled, "dropped": dropped}
    new.write_bytes(bson.encode(left))
    new.replace(folder / LEFT)


class LossNote:
    """Keeps a process's file of losses up to date: once a second, or when they have doubled."""

    def __init__(self) -> None:
        self.lost = 0  # how much is noted
        self._tried = 0
        self._next = 0.0

    def write(self, folder: Path, losses: Losses, recorded: int, not_journaled: int) -> None:
        """Write it if it is due. The parameters are those of `leave`."""
        lost = losses.total + not_journaled
        due = lost >= 2 * self._tried or clock.monotonic() >= self._next
        if lost == self.lost or not due:
            return
        self._next, self._tried = clock.monotonic() + NOTE_SECONDS, lost
        try:
            entries = losses.entries()
            leave(folder, recorded=recorded, not_journaled=not_journaled, dropped=entries)
            self.lost = lost
        except OSError as error:  # that the disk refuses has been said
            let_through(error)


def find_left(folder: Path) -> dict[str, Any]:
    """Return what a dead process has left written of its losses; empty if there were none."""
    try:
        return bson.decode((folder / LEFT).read_bytes(), _AWARE)
    except (OSError, BSONError):
        return {}
