"""What the processes' documents prove of their delivery."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from llm_audit.diagnosis.journals import IN_USE, NO_AGENT, WAITING
from llm_audit.diagnosis.results import Diagnosis, ProcessReport
from llm_audit.journal.losses import CONTENT, JOURNAL, NOTES, RECORD
from llm_audit.settings.fields import AGENT
from llm_audit.store.connection import Documents, readable_only, server_time
from llm_audit.store.processes import ProcessState

PROCESSES_THAT_RECORD = "the processes that record"  # in `Diagnosis.not_looked_at`
SILENT = "silent"
DEAD = "dead"
ENTRIES_MAX = 100
_LAST = "after its last sign of life"
_COUNTS = frozenset({"state", "recorded", "acked_through", "rejected", "retried", "dropped"})
_PLURALS = {
    RECORD: "operations",
    CONTENT: "operations without content",
    NOTES: "notes of what was converted",
    JOURNAL: "journal segments from some place on",
}


def examine_processes(processes: Documents, collection: str) -> list[ProcessReport]:
    """Report on every process that is still remembered, the newest sign of life first.

    Args:
        processes: Their documents.
        collection: Only processes that record into this collection.
    """
    # the server's clock wrote `beat_at`, so the server's clock tells how long ago that was
    now = server_time(processes.database)
    # odd ones are looked at, too
    of_ours = {"$in": [collection]}, {"$not": {"$type": "string"}}, {"$type": "array"}
    found = readable_only(processes).find({"$or": [{"collection": each} for each in of_ours]})
    return [_examine(document, now) for document in found.sort("beat_at", -1)]


def _examine(document: dict[str, Any], now: datetime) -> ProcessReport:
    for name in ("rejected", "dropped", "done_without"):
        if isinstance(document.get(name), list):
            document[name] = document[name][:ENTRIES_MAX]
    report = ProcessReport.model_validate({**document, "nonce": str(document["_id"])})
    silence = now - (report.beat_at or now)
    report.silent_seconds = max(0.0, silence.total_seconds())
    if report.state == ProcessState.ALIVE and report.silent_seconds > report.lease_seconds:
        report.state = SILENT
    not_journaled = document.get("not_journaled", 0)
    report.everything_arrived, report.summary = _judge(report, not_journaled)
    if odd := _COUNTS.intersection(report.unreadable):
        report.everything_arrived = None
        report.summary = f"its document does not tell: {', '.join(sorted(odd))} cannot be read"
    if report.instrumented:
        whose = ", ".join(report.instrumented)
        report.summary += f"; calls of {whose} are recorded by themselves, {report.captured} so far"
    if report.passed_by:
        report.summary += f", {report.passed_by} of other clients are not"
    return report


def _judge(report: ProcessReport, not_journaled: object) -> tuple[bool | None, str]:
    """Say whether everything that a process recorded is in the database."""
    waiting = report.recorded - report.acked_through
    refused = sum(entry.count for entry in report.rejected)
    if refused > report.retried or report.dropped:
        parts = [
            f"{entry.count} {_PLURALS.get(entry.what, entry.what)} {verb} ({entry.reason})"
            for verb, entries in (("rejected", report.rejected), ("dropped", report.dropped))
            for entry in entries
        ]
        return False, "; ".join(parts)
    beat = local_time(report.beat_at)
    on_their_way = f"{waiting} of {report.recorded} operations were on their way at {beat}"
    if report.state == ProcessState.RECOVERED and not_journaled:
        return None, "what the disk had refused was in its memory only, and may be lost"
    if report.state in (ProcessState.ENDED, ProcessState.RECOVERED) and not waiting:
        return True, f"{_all_of(report)} arrived"
    if report.state == ProcessState.ALIVE and not waiting:
        return None, f"{_all_of(report)} up to its last heartbeat, {beat}, arrived"
    if report.state not in (SILENT, ProcessState.LOST):
        return None, on_their_way
    before = f", and {waiting} operations from before it" if waiting else ""
    last = "after its agent last told of it" if report.shipped_by == AGENT else _LAST
    return None, f"what it recorded {last}, {beat}{before}, is in its journal, if that still exists"


def _all_of(report: ProcessReport) -> str:
    one = report.recorded == 1
    return "its one operation" if one else f"all {report.recorded} operations"


def connect(diagnosis: Diagnosis) -> None:
    """Say of processes whose journal lies in this machine's spool what that proves."""
    journals = {journal.nonce: journal for journal in diagnosis.journals}
    for process in diagnosis.processes:
        journal = journals.get(process.nonce)
        if journal is None or process.everything_arrived is not None:
            continue
        if journal.state == WAITING:
            process.state = DEAD
            waiting = "what it had not shipped waits in its journal here"
            shipped = "all of its journal is shipped, but the calls it left open are not closed yet"
            process.summary = f"it has died; {waiting if journal.segments else shipped}"
        elif journal.state == NO_AGENT:
            process.summary = "it lives on this machine, and no agent ships what it records"
        elif process.shipped_by == AGENT and journal.state == IN_USE:
            continue  # whether it is the agent is told of that
        elif process.state in (SILENT, ProcessState.LOST) and journal.state == IN_USE:
            process.summary = (
                f"it has shown no sign of life since {local_time(process.beat_at)}, but "
                "holds its lock on this machine: it is frozen, or cut off from MongoDB"
            )


def local_time(at: datetime | None) -> str:
    """Return a time as people of this machine read it."""
    if at is None:
        return "never"
    with suppress(OverflowError):  # the first or the last day that there is
        at = at.astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
