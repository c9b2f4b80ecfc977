"""What did not arrive as it was recorded: counted by reason, with where and when."""

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias, TypedDict

import bson
from bson.errors import BSONError
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from llm_audit.errors import let_through
from llm_audit.journal.records import SEQ_MAX
from llm_audit.runtime import clock, trusted

# A process's document names them all, and may be as large as MongoDB allows at the most.
CALL_IDS_MAX = 10
REASONS_MAX = 30
REASON_MAX_CHARACTERS = ID_MAX_CHARACTERS = 128
OTHER_REASONS = "other reasons"
ENTRIES_MAX = 10 * REASONS_MAX
LOST_ENDS_MAX = 1_000  # calls that are known to have ended, though no record says so

RECORD = "record"
CONTENT = "content"
NOTES = "notes"
JOURNAL = "journal"

INTERNAL = "internal: "  # begins the reason where the fault is ours, or nobody foresaw it

NOTE_SECONDS = 1.0
LEFT = "losses"  # the one file beside a process's journal
LEFT_MAX_BYTES = 2**20

_AWARE: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(tz_aware=True)


Count: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=SEQ_MAX)]


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
    count: Count
    first_seq: Count
    last_seq: Count
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
        reason = reason[:REASON_MAX_CHARACTERS]
        with self.lock:
            if len(self._entries) >= REASONS_MAX and (what, reason) not in self._entries:
                reason = OTHER_REASONS
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
            if len(entry.call_ids) < CALL_IDS_MAX:
                names = [str(call_id)[:ID_MAX_CHARACTERS] for call_id in call_ids]
                new = [name for name in dict.fromkeys(names) if name not in entry.call_ids]
                entry.call_ids += new[: CALL_IDS_MAX - len(entry.call_ids)]

    def entries(self) -> list[dict[str, Any]]:
        """Return one dict for each kind and reason."""
        with self.lock:
            return [asdict(entry) for entry in self._entries.values()]


class Counted(NamedTuple):
    """What was counted of a journal before: see what a process's document says by these names."""

    recorded: int = 0
    begun: int = 0
    superseded: int = 0
    of_no_call: int = 0
    closed_for_the_dead: int = 0


NOTHING_COUNTED = Counted()


class Account(TypedDict):
    """What a journal has told to whoever ships it.

    Attributes:
        last_read_seq: The number of the last operation read.
        acked_through: The number of the operation up to which MongoDB has everything.
        missing: How many numbers before the last were missing.
        gaps: Which, as of `Gaps`.
        unreadable: What could not be read, as `Losses.entries`.
        refused: What MongoDB refused, likewise.
        damaged: The files whose rest is among what could not be read.
    """

    last_read_seq: Count
    acked_through: Count
    missing: Count
    gaps: list[tuple[Count, Count]]
    unreadable: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    damaged: list[str]


_LATE = ConfigDict(defer_build=True)  # few processes ever read what others have noted
_ENTRIES = TypeAdapter(list[Entry], config=_LATE)
_RANGES = TypeAdapter(list[tuple[Count, Count]], config=_LATE)
_NAMES = TypeAdapter(list[str], config=_LATE)
_COUNTS = TypeAdapter(dict[str, Count], config=_LATE)


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
    left = {"recorded": recorded, "not_journaled": not_journaled, "dropped": dropped}
    with trusted.folder(folder) as here:
        trusted.put(LEFT, here, bson.encode(left))


class LossNote:
    """Keeps a process's file of losses up to date: once a second, or when they have doubled."""

    def __init__(self) -> None:
        self.lost = 0  # how much is noted
        self._tried = 0
        self._next = 0.0

    def write(
        self,
        folder: Path,
        losses: Losses,
        recorded: int,
        not_journaled: int,
        *,
        now: bool = False,
    ) -> None:
        """Write it if it is due, or has to be now. The other parameters are those of `leave`."""
        lost = losses.total + not_journaled
        due = now or lost >= 2 * self._tried or clock.monotonic() >= self._next
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
        with trusted.folder(folder) as here, os.fdopen(trusted.open_file(LEFT, here), "rb") as file:
            left = bson.decode(file.read(LEFT_MAX_BYTES), _AWARE)
        counts = {name: left.get(name, 0) for name in ("recorded", "not_journaled")}
        return {**_COUNTS.validate_python(counts), "dropped": entries_in(left.get("dropped", []))}
    except (OSError, BSONError, ValidationError) as error:
        let_through(error)
        return {}


def entries_in(found: object) -> list[dict[str, Any]]:
    """Return what `Losses.entries` gave, when it comes back from where others may have written.

    Raises:
        ValidationError: It is something else.
    """
    return [asdict(entry) for entry in _ENTRIES.validate_python(found)]


def readable_entries(found: object) -> list[dict[str, Any]]:
    """Return the same, as far as it is that: others may have written the rest."""
    readable = []
    for entry in found[:ENTRIES_MAX] if isinstance(found, list) else ():
        with suppress(ValidationError):
            readable += entries_in([entry])
    return readable


def count_in(found: object) -> int:
    """Return a count that comes back from where others may have written; 0 if it is none."""
    is_count = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= SEQ_MAX
    return int(found) if isinstance(found, int) and is_count else 0


def account_in(found: Mapping[str, Any]) -> Account:
    """Return the account that a process has noted.

    Raises:
        ValidationError: It is none.
    """
    counts = {name: found.get(name) for name in ("last_read_seq", "acked_through", "missing")}
    numbers = _COUNTS.validate_python(counts)
    return Account(
        last_read_seq=numbers["last_read_seq"],
        acked_through=numbers["acked_through"],
        missing=numbers["missing"],
        gaps=_RANGES.validate_python(found.get("gaps", [])),
        unreadable=entries_in(found.get("unreadable")),
        refused=entries_in(found.get("refused")),
        damaged=_NAMES.validate_python(found.get("damaged")),
    )
