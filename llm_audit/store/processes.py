"""The documents in `llm_audit_processes`, and what others write into one: how its owner ended.

A dead process's document also holds, in `recovery`, what was learned of its journal so far: parts
of that are gone already when whoever ships it has to end, too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from llm_audit.errors import UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.losses import (
    RECORD,
    Account,
    Counted,
    Losses,
    account_in,
    count_in,
    readable_entries,
)
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.settings import Settings
from llm_audit.settings.fields import AGENT
from llm_audit.settings.names import REJECTED
from llm_audit.store.answers.shortfalls import going_on
from llm_audit.store.connection import Connection, Documents, reaching, readable, server_time
from llm_audit.store.refused.rejected import count_kept

# Of processes and verdicts: their calls may be in the journal of a machine that is switched off.
KEPT = timedelta(days=30)
# So long the doctor can tell calls that no process has begun.
KEPT_AFTER_ALL_ARRIVED = timedelta(days=7)


class ProcessState(StrEnum):
    """What is known of a process."""

    ALIVE = "alive"
    ENDED = "ended"
    RECOVERED = "recovered"
    LOST = "lost"


@contextmanager
def documents(connection: Connection) -> Iterator[Documents]:
    """Give the collection for the length of the block, and do without where it may not be used.

    What somebody has written there, or a fault of ours, keeps no call from being sent or closed.

    Raises:
        UnavailableError: MongoDB cannot be reached.
    """
    noting = going_on("What becomes of processes and their calls could not be noted in MongoDB")
    try:
        with reaching(), noting:
            yield connection.processes()
    except UnavailableError:
        raise
    except BaseException as fault:  # noqa: BLE001
        let_through(fault)
        log_fault(fault)


def note_lost(processes: Documents, nonce: str, beat: int) -> None:
    """Note that a process is lost, unless it has beaten again meanwhile.

    Args:
        processes: The collection.
        nonce: The process.
        beat: Its counter when it fell silent.
    """
    unchanged = {"_id": nonce, "beat": beat, "state": ProcessState.ALIVE}
    lost = {"$set": {"state": ProcessState.LOST}, "$currentDate": {"lost_at": True}}
    processes.update_one(unchanged, lost)


def find_account(processes: Documents, nonce: str) -> Account | None:
    """Return what others have learned of a dead process's journal, if they have noted anything."""
    known = readable(processes).find_one({"_id": nonce}, {"recovery": 1}) or {}
    noted = known.get("recovery")
    try:
        return None if noted is None else account_in(noted)
    except (ValidationError, AttributeError) as error:
        let_through(error)
        log_once("What others have noted of a dead process's journal makes no sense: begun anew.")
        return None


def find_counted(processes: Documents, nonce: str) -> Counted:
    """Return what its document says that was counted of a process."""
    known = readable(processes).find_one({"_id": nonce}, dict.fromkeys(Counted._fields, 1)) or {}
    return Counted(*(count_in(known.get(name)) for name in Counted._fields))


def note_progress(
    processes: Documents,
    settings: Settings,
    folder: ProcessFolder,
    account: Account,
    begun: int,
) -> None:
    """Note what was learned of a dead process's journal, before a part of it goes.

    Args:
        processes: The collection.
        settings: Where its calls go.
        folder: The dead process's, in the spool.
        account: What its journal has told so far.
        begun: How many calls have begun in it so far, at least.
    """
    now = server_time(processes.database)
    unseen = _unseen(settings, folder, now)
    unseen["state"] = ProcessState.ALIVE  # nobody has said otherwise
    through = {
        "recorded": account["last_read_seq"],
        "acked_through": account["acked_through"],
        "begun": begun,
    }
    processes.update_one(
        {"_id": folder.nonce},
        {
            "$set": {"recovery": account, "expires_at": now + KEPT},
            "$max": through,
            "$setOnInsert": unseen,
        },
        upsert=True,
    )


def note_recovered(
    processes: Documents,
    settings: Settings,
    folder: ProcessFolder,
    left: Mapping[str, Any],
    account: Account,
    *,
    begun: int,
    ended: bool = False,
) -> None:
    """Note that a dead process's journal has been shipped to its end, and what was not in it.

    Args:
        processes: The collection.
        settings: Where its calls went.
        folder: The dead process's, in the spool.
        left: What it had written of its losses beside its journal, as `Recorder.stats` names it.
        account: What its journal has told.
        begun: How many calls have begun in it, at least.
        ended: Whether it has ended by itself, and had left shipping to others.
    """
    state = ProcessState.ENDED if ended else ProcessState.RECOVERED
    nonce = folder.nonce
    known = readable(processes).find_one({"_id": nonce}) or {}
    by_agent = known.get("shipped_by") == AGENT
    over = (ProcessState.RECOVERED, *([ProcessState.ENDED] if by_agent else []))
    if known.get("state") in over:
        return
    before = {name: count_in(known.get(name)) for name in ("recorded", "not_journaled", "retried")}
    last_seq = account["last_read_seq"]
    # an agent says there what the account says, and what the process has left
    said = {} if by_agent else known
    # each may be older than the other: the disk may have been full, or MongoDB away
    dropped = max(left.get("dropped", []), readable_entries(said.get("dropped")), key=_total)
    dropped = [*dropped, *account["unreadable"]]
    dropped = _accounting_for(account["missing"], dropped, "missing from the journal", last_seq)
    refused = [*readable_entries(said.get("rejected")), *account["refused"]]
    # also by one that was killed before it could tell
    kept = count_kept(processes.database, folder.path.parent, nonce) + before["retried"]
    refused = _accounting_for(kept, refused, f"see {REJECTED}", last_seq)
    recorded = max(last_seq, left.get("recorded", 0), before["recorded"])
    if not (recorded or dropped or refused):
        return
    brief = ended and not (refused or dropped)
    now = server_time(processes.database)
    fields = {
        "state": state,
        **({} if ended else {"recovered_at": now}),
        "recorded": recorded,
        "begun": begun,
        # what was no longer in the journal had been acknowledged before it went
        "acked_through": recorded,
        "not_journaled": max(left.get("not_journaled", 0), before["not_journaled"]),
        "rejected": refused,
        "dropped": dropped,
        "backlog_bytes": 0,
        "backlog_age_seconds": 0.0,
        "expires_at": now + (KEPT_AFTER_ALL_ARRIVED if brief else KEPT),
    }
    unseen = _unseen(settings, folder, now)
    processes.update_one(
        {"_id": nonce},
        {"$set": fields, "$unset": {"recovery": ""}, "$setOnInsert": unseen},
        upsert=True,
    )


def note_retried(processes: Documents, nonce: str, arrived: int) -> None:
    """Note that records which MongoDB had refused have arrived after all.

    Args:
        processes: The collection.
        nonce: The process that recorded them.
        arrived: How many.
    """
    processes.update_one({"_id": nonce}, {"$inc": {"retried": arrived}})


def _unseen(settings: Settings, folder: ProcessFolder, now: datetime) -> dict[str, Any]:
    """Return who it was that never reached MongoDB, as far as its lock file tells."""
    owner = folder.owner()
    return {
        "collection": settings.collection,
        **{name: owner[name] for name in ("host", "pid", "boot_id") if name in owner},
        "lease_seconds": settings.lease_seconds,
        "beat": 0,
        "beat_at": now,
    }


def _total(entries: list[dict[str, Any]]) -> int:
    return sum(entry["count"] for entry in entries)


def _accounting_for(
    records: int, entries: list[dict[str, Any]], reason: str, last_seq: int
) -> list[dict[str, Any]]:
    """Return entries of losses, with one more for the records that they do not account for."""
    rest = records - sum(entry["count"] for entry in entries if entry["what"] == RECORD)
    if rest <= 0:
        return entries
    others = Losses()
    others.add(RECORD, reason, seq=last_seq, count=rest)
    return [*entries, *others.entries()]
