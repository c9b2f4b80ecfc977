"""What was removed or put there: what processes say they recorded, against what is there.

Each process counts the calls that it begins, and each call names the process that began it. Only
what is certain is said: where numbers may differ, for what was refused, dropped or has expired,
nothing is.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pymongo import DESCENDING

from llm_audit.diagnosis.results import Loss, ProcessReport
from llm_audit.ids import first_id_from
from llm_audit.journal.losses import JOURNAL
from llm_audit.journal.statements.retention import PLAUSIBLE
from llm_audit.settings import get_settings
from llm_audit.store.connection import Documents, server_time
from llm_audit.store.indexes import PROCESS, PROCESS_INDEX
from llm_audit.store.processes import KEPT_AFTER_ALL_ARRIVED, ProcessState

COMPARED_MAX = 1_000  # processes, the newest first
UNKNOWN_MAX = 100
WITHOUT_INDEX_MAX = 100_000  # calls that are read one by one where the index is missing
AT_ONCE = 10_000
_CLOCKS = timedelta(days=1)  # by how much they may be wrong


class Counts(NamedTuple):
    """What does not agree, by process.

    Attributes:
        missing: How many calls are not there that it began.
        invented: How many are there that it did not begin, or that name a process nobody knows.
    """

    missing: dict[str, int]
    invented: dict[str, int]


def compare(reports: list[ProcessReport], calls: Documents, processes: Documents) -> Counts | None:
    """Compare what processes say they began with the calls that name them.

    Args:
        reports: Read before the calls are counted, so that a living process has said less.
        calls: The calls' collection.
        processes: Where a process is looked for that a call names.

    Returns:
        None where that would take long: there are many calls, and no index for it.
    """
    has_index = PROCESS_INDEX in {index["name"] for index in calls.list_indexes()}
    if not has_index and calls.estimated_document_count() > WITHOUT_INDEX_MAX:
        return None
    now = server_time(calls.database)
    missing, invented = {}, {}
    for report in reports[:COMPARED_MAX]:
        bounds = _bounds(report, now)
        if bounds is None:
            continue
        found = calls.count_documents({PROCESS: report.nonce})
        least, most = bounds
        if found < least:
            missing[report.nonce] = least - found
        elif most is not None and found > most:
            invented[report.nonce] = found - most
    _leave_out_moved(reports, missing, invented)
    return Counts(missing, invented | dict(_of_unknown_processes(calls, processes, now)))


def _leave_out_moved(
    reports: list[ProcessReport], missing: dict[str, int], invented: dict[str, int]
) -> None:
    """Take out calls that one recorder of a process began and the next one counts.

    That is where recording stops, say at the exit, while a thread begins a call.
    """
    one_process = {report.nonce: (report.host, report.boot_id, report.pid) for report in reports}
    for nonce in [*missing]:
        for other in [*invented]:
            if one_process[nonce] == one_process[other]:
                moved = min(missing[nonce], invented[other])
                missing[nonce] -= moved
                invented[other] -= moved
    for counts in (missing, invented):
        for nonce in [nonce for nonce, count in counts.items() if not count]:
            del counts[nonce]


def newest_by_process() -> list[dict[str, Any]]:
    """Which is the newest call of each process? One step in the index for each.

    Returns:
        Stages whose rows are `{_id, newest}`.
    """
    return [
        {"$match": {PROCESS: {"$gt": ""}}},
        {"$sort": {PROCESS: DESCENDING, "_id": DESCENDING}},
        {"$group": {"_id": f"${PROCESS}", "newest": {"$first": "$_id"}}},
    ]


def _bounds(report: ProcessReport, now: datetime) -> tuple[int, int | None] | None:
    """Return how many calls of a process have to be there, and how many may, if it is known."""
    if report.begun is None or not _all_still_kept(report, now):
        return None
    losses: list[Loss] = [*report.rejected, *report.dropped]
    unknown = any(loss.what == JOURNAL for loss in losses)
    on_their_way = max(0, report.recorded - report.acked_through)
    least = report.begun - on_their_way - sum(loss.count for loss in losses)
    has_said_all = report.state == ProcessState.ENDED and not unknown
    most = report.begun + sum(loss.count for loss in report.dropped) if has_said_all else None
    return (0 if unknown else max(0, least)), most


def _all_still_kept(report: ProcessReport, now: datetime) -> bool:
    """Tell whether none of its calls can have expired."""
    days = report.retention_days or get_settings().retention_days
    if days is None:
        return True
    try:
        kept = timedelta(days=days)
    except OverflowError:
        return True
    return report.started_at is not None and (
        now - report.started_at < kept - min(PLAUSIBLE, kept / 2)
    )


def _of_unknown_processes(
    calls: Documents, processes: Documents, now: datetime
) -> Iterator[tuple[str, int]]:
    """Yield processes that nobody knows and that calls of late name, with how many do.

    What was imported names processes of elsewhere.
    """
    since = first_id_from("since", now - KEPT_AFTER_ALL_ARRIVED + _CLOCKS)
    rows = calls.aggregate([*newest_by_process(), {"$match": {"newest": {"$gte": since}}}])
    named = [row["_id"] for row in rows]
    unknown: list[str] = []
    for first in range(0, len(named), AT_ONCE):
        some = named[first : first + AT_ONCE]
        found = processes.find({"_id": {"$in": some}}, {"_id": 1})
        unknown += sorted(set(some) - {document["_id"] for document in found})
    for nonce in unknown[:UNKNOWN_MAX]:
        recorded = {PROCESS: nonce, "imported_at": {"$exists": False}}
        if count := calls.count_documents(recorded, limit=WITHOUT_INDEX_MAX):
            yield nonce, count
