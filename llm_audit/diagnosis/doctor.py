"""The doctor: is everything that was recorded in the database, and if not, where is it?"""

from datetime import timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel

from llm_audit.call import LLMCallStatusEnum
from llm_audit.diagnosis.journals import examine_journals, kept_aside
from llm_audit.diagnosis.problems import find_problems
from llm_audit.diagnosis.processes import connect, examine_processes
from llm_audit.diagnosis.results import Diagnosis, PendingCalls, Refused
from llm_audit.settings import get_settings
from llm_audit.store import media
from llm_audit.store.connection import Connection, Documents, server_time
from llm_audit.store.ensure import IndexState, compare
from llm_audit.store.indexes import declared_indexes
from llm_audit.store.plain_errors import plain_errors

SAMPLE = 10
UNKNOWN = "unknown"  # a call that only an outcome from elsewhere has reached
UPLOADED_LONG_AGO = timedelta(hours=1)


def doctor(*, pending_seconds: float = 3600.0, clean: bool = False) -> Diagnosis:
    """Find out whether everything that was recorded is in the database, and if not, where it is.

    It looks at MongoDB and at this machine's spool; run it where the spool is. It blocks: in async
    code, `await asyncio.to_thread(llm_audit.doctor)`.

    Args:
        pending_seconds: Calls that have been PENDING for longer are reported.
        clean: Remove the media in GridFS that no call refers to.

    Returns:
        What was found; `problems` is empty if all is well.

    Raises:
        UnavailableError: MongoDB cannot be reached, or does not let us do what was asked.
        ConfigurationError: A setting that says where it is is wrong.
        LLMAuditError: It refuses for another reason, as where the collection is a view.
    """
    settings = get_settings()
    diagnosis = Diagnosis(journals=examine_journals(settings))
    diagnosis.rejected_files, diagnosis.damaged_files = kept_aside(settings)
    connection = Connection(settings.model_copy(update={"create_collection": False}))
    try:
        with plain_errors(settings):
            calls, processes = connection.calls(), connection.processes()
            diagnosis.processes = examine_processes(processes, settings.collection)
            diagnosis.refused = _refused(connection.rejected(), settings.collection)
            diagnosis.open_calls = _open_calls(calls, pending_seconds)
            if not list(calls.list_indexes()):  # every collection has one
                diagnosis.missing_collection = calls.full_name
            for name, declared in declared_indexes(settings).items():
                states = _index_states(calls.database[name], declared)
                diagnosis.missing_indexes += states[IndexState.MISSING]
                diagnosis.conflicting_indexes += states[IndexState.CONFLICTING]
            diagnosis.calls_without_media = media.find_missing(calls)
            unreferenced = media.find_unreferenced(calls.database, UPLOADED_LONG_AGO)
            names = [entry.sha256 for entry in unreferenced]
            if clean:
                media.remove(calls.database, unreferenced)
                diagnosis.cleaned = names
            else:
                diagnosis.unreferenced_media = names
    finally:
        connection.close()
    connect(diagnosis)
    diagnosis.problems = list(find_problems(diagnosis, pending_seconds))
    return diagnosis


def _refused(rejected: Documents, collection: str) -> Refused:
    """Find the records that MongoDB refused and that have not arrived since."""
    of_ours = {"collection": collection}
    groups = rejected.aggregate(
        [
            {"$match": of_ours},
            {"$group": {"_id": "$reason", "count": {"$sum": 1}, "at": {"$min": "$rejected_at"}}},
            {"$sort": {"count": DESCENDING}},
        ]
    ).to_list()
    oldest = rejected.find(of_ours, {"call_id": 1}).sort("rejected_at", ASCENDING).limit(SAMPLE)
    return Refused(
        count=sum(group["count"] for group in groups),
        oldest_at=min((group["at"] for group in groups), default=None),
        reasons={group["_id"]: group["count"] for group in groups},
        call_ids=[document["call_id"] for document in oldest],
    )


def _open_calls(calls: Documents, pending_seconds: float) -> PendingCalls:
    """Find the calls that have been open for long."""
    before = server_time(calls.database) - timedelta(seconds=pending_seconds)
    condition = {"status": LLMCallStatusEnum.PENDING, "created_at": {"$lt": before}}
    found = PendingCalls()
    groups = calls.aggregate(
        [
            {"$match": condition},
            {
                "$group": {
                    "_id": "$process_nonce",
                    "count": {"$sum": 1},
                    "oldest_at": {"$min": "$created_at"},
                    "call_ids": {"$minN": {"input": "$_id", "n": SAMPLE}},
                }
            },
        ]
    )
    call_ids: list[object] = []
    for group in groups:
        found.count += group["count"]
        found.by_process[group["_id"] or UNKNOWN] = group["count"]
        found.oldest_at = min(found.oldest_at or group["oldest_at"], group["oldest_at"])
        call_ids += group["call_ids"]
    found.call_ids = sorted(map(str, call_ids))[:SAMPLE]
    return found


def _index_states(collection: Documents, declared: list[IndexModel]) -> dict[IndexState, list[str]]:
    """Name the indexes in each state, as collection.index."""
    names: dict[IndexState, list[str]] = {state: [] for state in IndexState}
    existing = list(collection.list_indexes())
    if existing:  # else there is no collection yet, and the first call makes them
        for index in declared:
            state, _ = compare(index, existing)
            names[state].append(f"{collection.name}.{index.document['name']}")
    return names
