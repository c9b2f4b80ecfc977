"""The doctor: is everything that was recorded in the database, and if not, where is it?"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import OperationFailure, PyMongoError

from llm_audit.call import LLMCallStatusEnum
from llm_audit.diagnosis.agents import examine_agents
from llm_audit.diagnosis.counts import compare
from llm_audit.diagnosis.journals import doubtful_in, examine_journals, kept_aside, unreadable_in
from llm_audit.diagnosis.problems import find_problems
from llm_audit.diagnosis.processes import PROCESSES_THAT_RECORD, connect, examine_processes
from llm_audit.diagnosis.results import Diagnosis, PendingCalls, Refused, Shortfall
from llm_audit.errors import UnavailableError
from llm_audit.settings import Settings, get_settings
from llm_audit.store import media
from llm_audit.store.answers.codes import only_this_is_refused
from llm_audit.store.answers.plain_errors import plain_errors
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import INDEX, noted
from llm_audit.store.connection import Connection, Documents, readable_only, server_time
from llm_audit.store.index_states import IndexState, state_of
from llm_audit.store.indexes import PROCESS_INDEX, declared_indexes, media_indexes
from llm_audit.store.processes import ProcessState
from llm_audit.store.refused.rejected import DETAIL_MAX

SAMPLE = 10
MEDIA_BYTES = 2**26  # that are read, unless all are
WHAT_IS_THERE = "whether calls were removed or put there"
UNKNOWN = "unknown"  # a call that only an outcome from elsewhere has reached
UPLOADED_LONG_AGO = timedelta(hours=1)
OF_LATE = timedelta(hours=1)
REMOVED_BY_NOW = timedelta(days=1)  # MongoDB removes what has expired every minute, some at a time


def doctor(
    *, pending_seconds: float = 3600.0, clean: bool = False, all_media: bool = False
) -> Diagnosis:
    """Find out whether everything that was recorded is in the database, and if not, where it is.

    It looks at MongoDB and at this machine's spool; run it where the spool is. What it cannot look
    at is among the problems. It blocks: in async code, `await asyncio.to_thread(llm_audit.doctor)`.

    Args:
        pending_seconds: Calls that have been PENDING for longer are reported.
        clean: Remove the media in GridFS that no call refers to.
        all_media: Read all media, to compare them with their sha256; else about 64 MiB of them.

    Returns:
        What was found; `problems` is empty if all is well.

    Raises:
        UnavailableError: MongoDB cannot be reached, or does not let us in.
        ConfigurationError: A setting that says where it is is wrong.
    """
    settings = get_settings()
    diagnosis = Diagnosis(journals=examine_journals(settings), agents=examine_agents(settings))
    diagnosis.rejected_files, diagnosis.damaged_files = kept_aside(settings)
    diagnosis.unreadable = unreadable_in(settings)
    diagnosis.doubtful = doubtful_in(settings)
    connection = Connection(settings.model_copy(update={"create_collection": False}))
    try:
        with plain_errors(settings):
            calls = connection.calls()
            with _as_far_as_it_goes(diagnosis, "the calls that are open", may_be_refused=False):
                diagnosis.open_calls = _open_calls(readable_only(calls), pending_seconds)
            with _as_far_as_it_goes(diagnosis, PROCESSES_THAT_RECORD):
                processes = connection.processes()
                diagnosis.processes = examine_processes(processes, settings.collection)
                with _as_far_as_it_goes(diagnosis, WHAT_IS_THERE):
                    _compare(diagnosis, readable_only(connection.primary_calls()), processes)
            with _as_far_as_it_goes(diagnosis, "what MongoDB refused"):
                diagnosis.refused = _refused(
                    readable_only(connection.rejected()), settings.collection
                )
            with _as_far_as_it_goes(diagnosis, "the indexes"):
                _look_at_indexes(diagnosis, calls, settings)
            with _as_far_as_it_goes(diagnosis, "the media in GridFS"):
                _look_at_media(diagnosis, calls, clean=clean, all_media=all_media)
    finally:
        connection.close()
    diagnosis.done_without = _done_without(diagnosis, settings)
    connect(diagnosis)
    diagnosis.problems = list(find_problems(diagnosis, pending_seconds))
    return diagnosis


@contextmanager
def _as_far_as_it_goes(
    diagnosis: Diagnosis, what: str, *, may_be_refused: bool = True
) -> Iterator[None]:
    """Go on where something cannot be looked at, and note that nobody has.

    Who may not see the calls themselves has asked as the wrong user, which is an error.
    """
    try:
        yield
    except OperationFailure as error:
        if not may_be_refused or not only_this_is_refused(error):
            raise
        diagnosis.not_looked_at[what] = f"MongoDB refuses it ({told(error)})"
    except (PyMongoError, UnavailableError):
        raise
    except Exception as fault:  # noqa: BLE001  (somebody has put something odd there)
        diagnosis.not_looked_at[what] = f"what is there is odd ({type(fault).__name__})"


def _done_without(diagnosis: Diagnosis, settings: Settings) -> list[Shortfall]:
    """Return what this process and those of late have noted that the server refuses."""
    known = [Shortfall(**here) for here in noted(settings.database)]
    of_late = [p for p in diagnosis.processes if p.silent_seconds < OF_LATE.total_seconds()]
    living = [process for process in of_late if process.state == ProcessState.ALIVE]
    for process in of_late:  # the living know whether something has been fixed since
        counts = process in (living or of_late)
        known += [it for it in process.done_without if counts or it.what.startswith(INDEX)]
    return list({shortfall.what: shortfall for shortfall in known}.values())


def _look_at_indexes(diagnosis: Diagnosis, calls: Documents, settings: Settings) -> None:
    """Find the indexes that are not as declared, and whether expired calls go."""
    if not list(calls.list_indexes()) and calls.find_one({}, {"_id": 1}) is None:
        diagnosis.missing_collection = calls.full_name  # every collection has an index
    for name, declared in {**declared_indexes(settings), **media_indexes()}.items():
        states = _index_states(calls.database[name], declared)
        diagnosis.missing_indexes += states[IndexState.MISSING]
        diagnosis.conflicting_indexes += states[IndexState.CONFLICTING]
    if f"{calls.name}.expiry" not in diagnosis.missing_indexes:
        before = server_time(calls.database) - REMOVED_BY_NOW
        expired = {"expires_at": {"$exists": True, "$lt": before}}
        kept = calls.find_one(expired, {"expires_at": 1}, sort=[("expires_at", ASCENDING)])
        diagnosis.expired_at = kept["expires_at"] if kept else None


def _compare(diagnosis: Diagnosis, calls: Documents, processes: Documents) -> None:
    """Find the calls that were removed, or that nobody has recorded."""
    counts = compare(diagnosis.processes, calls, processes)
    if counts is None:
        index = f"{calls.name}.{PROCESS_INDEX}"
        diagnosis.not_looked_at[WHAT_IS_THERE] = f"the index {index} is missing"
        return
    diagnosis.missing_calls, diagnosis.invented_calls = counts
    for process in diagnosis.processes:
        if gone := counts.missing.get(process.nonce):
            process.everything_arrived = False
            process.summary += f"; of {process.begun} calls that it began {gone} are not there"


def _look_at_media(diagnosis: Diagnosis, calls: Documents, *, clean: bool, all_media: bool) -> None:
    """Find calls without their media and media without calls, and remove these on request."""
    diagnosis.calls_without_media = media.find_missing(calls)
    altered = media.find_altered(calls, math.inf if all_media else MEDIA_BYTES)
    diagnosis.altered_media = altered.by_call
    diagnosis.checked_media, diagnosis.unchecked_media = altered.checked, altered.unchecked
    unreferenced = media.find_unreferenced(calls.database, UPLOADED_LONG_AGO)
    names = [entry.sha256 for entry in unreferenced]
    if clean:
        media.remove(calls.database, unreferenced)
        diagnosis.cleaned = names
    else:
        diagnosis.unreferenced_media = names


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
    reasons: Counter[str] = Counter()
    for group in groups:
        reasons[str(group["_id"])[:DETAIL_MAX]] += group["count"]
    dates = [group["at"] for group in groups if isinstance(group["at"], datetime)]
    return Refused(
        count=reasons.total(),
        oldest_at=min(dates, default=None),
        reasons=dict(reasons),
        call_ids=[str(document.get("call_id"))[:DETAIL_MAX] for document in oldest],
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
                }
            },
        ]
    )
    for group in groups:
        found.count += group["count"]
        found.by_process[str(group["_id"] or UNKNOWN)] = group["count"]
        if isinstance(began := group["oldest_at"], datetime):
            found.oldest_at = min(found.oldest_at or began, began)
    oldest = calls.find(condition, {"_id": 1}).sort("_id", ASCENDING).limit(SAMPLE)
    found.call_ids = sorted(str(call["_id"]) for call in oldest)
    return found


def _index_states(collection: Documents, declared: list[IndexModel]) -> dict[IndexState, list[str]]:
    """Name the indexes in each state, as collection.index."""
    names: dict[IndexState, list[str]] = {state: [] for state in IndexState}
    existing = list(collection.list_indexes())
    if existing or collection.find_one({}, {"_id": 1}):  # else the first document makes them
        for index in declared:
            state, _ = state_of(index, existing)
            names[state].append(f"{collection.name}.{index.document['name']}")
    return names
