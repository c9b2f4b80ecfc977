"""What others write into a process's document: that its journal was shipped, or what it lost."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_audit.journal.losses import RECORD, Tally
from llm_audit.recorder.heartbeat import KEPT, ProcessState
from llm_audit.settings import Settings
from llm_audit.store import rejected
from llm_audit.store.connection import Documents


def note_recovered(
    processes: Documents,
    settings: Settings,
    folder: Path,
    owner: Mapping[str, Any],
    *,
    last_seq: int,
    missing: int,
    left: Mapping[str, Any],
    unreadable: list[dict[str, Any]],
    refused: list[dict[str, Any]],
) -> None:
    """Note that a dead process's journal has been shipped to its end, and what was not in it.

    Args:
        processes: The collection.
        settings: Where its calls went.
        folder: Its folder in the spool; the name is its nonce.
        owner: What its lock file says of it: host, pid, boot_id.
        last_seq: The number of the last operation in its journal.
        missing: How many numbers were missing between the first and the last.
        left: What it had written of its losses beside its journal, as `Recorder.stats` names it.
        unreadable: What could not be read of its journal, as tally entries.
        refused: What MongoDB refused of it now, as tally entries.
    """
    known = processes.find_one({"_id": folder.name}) or {}
    if known.get("state") == ProcessState.RECOVERED:
        return
    # each may be older than the other: the disk may have been full, or MongoDB away
    dropped = max(left.get("dropped", []), known.get("dropped", []), key=_total)
    dropped = [*dropped, *unreadable]
    dropped = _accounting_for(missing, dropped, "missing from the journal", last_seq)
    refused = [*known.get("rejected", []), *refused]
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


def _total(entries: list[dict[str, Any]]) -> int:
    return sum(entry["count"] for entry in entries)


def _accounting_for(
    records: int, entries: list[dict[str, Any]], reason: str, last_seq: int
) -> list[dict[str, Any]]:
    """Return tally entries, with one more for the records that they do not account for."""
    rest = records - sum(entry["count"] for entry in entries if entry["what"] == RECORD)
    if rest <= 0:
        return entries
    others = Tally()
    others.add(RECORD, reason, seq=last_seq, count=rest)
    return [*entries, *others.entries()]


def note_retried(processes: Documents, nonce: str, arrived: int) -> None:
    """Note that records which MongoDB had refused have arrived after all.

    Args:
        processes: The collection.
        nonce: The process that recorded them.
        arrived: How many.
    """
    processes.update_one({"_id": nonce}, {"$inc": {"retried": arrived}})
