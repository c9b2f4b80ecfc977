"""The documents in `llm_audit_processes`, and what others write into one: how its owner ended."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from llm_audit.journal.losses import RECORD, Losses
from llm_audit.settings import Settings
from llm_audit.store import rejected
from llm_audit.store.connection import Documents

KEPT = timedelta(days=30)


class ProcessState(StrEnum):
    """What is known of a process."""

    ALIVE = "alive"
    ENDED = "ended"
    RECOVERED = "recovered"
    LOST = "lost"


def note_lost(processes: Documents, nonce: str, beat: int) -> None:
    """Note that a process is lost, unless it has beaten again meanwhile.

    Args:
        processes: The collection.
        nonce: The process.
        beat: Its counter when it fell silent.
    """
    unchanged = {"_id": nonce, "beat": beat, "state": ProcessState.ALIVE}
    processes.update_one(
        unchanged, {"$set": {"state": ProcessState.LOST, "lost_at": datetime.now(UTC)}}
    )


def note_recovered(
    processes: Documents,
    settings: Settings,
    folder: Path,
    owner: Mapping[str, Any],
    *,
    left: Mapping[str, Any],
    account: Mapping[str, Any],
) -> None:
    """Note that a dead process's journal has been shipped to its end, and what was not in it.

    Args:
        processes: The collection.
        settings: Where its calls went.
        folder: Its folder in the spool; the name is its nonce.
        owner: What its lock file says of it: host, pid, boot_id.
        left: What it had written of its losses beside its journal, as `Recorder.stats` names it.
        account: What was learned of its journal, as `Shipment.account` gives it.
    """
    known = processes.find_one({"_id": folder.name}) or {}
    if known.get("state") == ProcessState.RECOVERED:
        return
    last_seq = account["last_read_seq"]
    # each may be older than the other: the disk may have been full, or MongoDB away
    dropped = max(left.get("dropped", []), known.get("dropped", []), key=_total)
    dropped = [*dropped, *account["unreadable"]]
    dropped = _accounting_for(account["missing"], dropped, "missing from the journal", last_seq)
    refused = [*known.get("rejected", []), *account["refused"]]
    # also by one that was killed before it could tell
    kept = len(rejected.kept(folder.parent, folder.name))
    refused = _accounting_for(kept, refused, "see the rejected journal", last_seq)
    recorded = max(last_seq, left.get("recorded", 0), known.get("recorded", 0))
    if not (recorded or dropped or refused):
        return
    now = datetime.now(UTC)
    fields = {
        "collection": settings.collection,
        **{name: owner[name] for name in ("host", "pid", "boot_id") if name in owner},
        "state": ProcessState.RECOVERED,
        "recovered_at": now,
        "recorded": recorded,
        # what was no longer in the journal had been acknowledged before it went
        "acked_through": recorded,
        "not_journaled": max(left.get("not_journaled", 0), known.get("not_journaled", 0)),
        "rejected": refused,
        "dropped": dropped,
        "backlog_bytes": 0,
        "backlog_age_seconds": 0.0,
        "expires_at": now + KEPT,
    }
    unseen = {"lease_seconds": settings.lease_seconds, "beat": 0, "beat_at": now}
    processes.update_one(
        {"_id": folder.name},
        {"$set": fields, "$setOnInsert": unseen},
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
