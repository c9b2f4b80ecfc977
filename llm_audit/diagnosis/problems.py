"""What a diagnosis gives cause to look at, one sentence each, with the fix."""

import os
from collections.abc import Iterator
from itertools import islice

from llm_audit.diagnosis.journals import ADOPTED, IN_USE, OTHER_KERNEL, OTHER_TARGET, WAITING
from llm_audit.diagnosis.processes import PROCESSES_THAT_RECORD, SILENT
from llm_audit.diagnosis.results import Diagnosis, JournalReport, ProcessReport
from llm_audit.journal.spool import owners
from llm_audit.journal.statements.writes import ANOTHERS
from llm_audit.settings.fields import WITH_STAGE
from llm_audit.settings.names import PROCESSES, REJECTED
from llm_audit.store.answers.shortfalls import INDEX
from llm_audit.store.processes import ProcessState

LATE_SECONDS = 10.0  # a record takes a second or two
MISSED_BEATS = 3.0
PIDS_MAX = 2**31
DOUBTFUL_NAMED = 10
_LOOK = "look whether LLM_AUDIT_MONGO_URL, LLM_AUDIT_DATABASE"
_SHIP = "llm-audit spool drain, or llm_audit.recover(60)"


def find_problems(diagnosis: Diagnosis, pending_seconds: float) -> Iterator[str]:
    """Yield what to look at; nothing if all is well.

    Args:
        diagnosis: Everything but the problems.
        pending_seconds: The limit for open calls.
    """
    yield from _of_where_to_look(diagnosis)
    yield from _of_processes(diagnosis)
    yield from _of_capture(diagnosis)
    yield from _of_the_living(diagnosis)
    yield from _of_journals(diagnosis)
    yield from _of_doubtful(diagnosis)
    yield from _of_calls(diagnosis, pending_seconds)
    yield from _of_counts(diagnosis)
    yield from _of_indexes(diagnosis)


def _of_where_to_look(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield why this may be the wrong place to look, or too little of it seen."""
    if not diagnosis.processes and not diagnosis.journals:
        yield (
            f"No process has recorded into this collection, and none into this spool: {_LOOK}, "
            "LLM_AUDIT_COLLECTION and LLM_AUDIT_SPOOL_DIR are those of the processes that record."
        )
    elif diagnosis.missing_collection:
        yield (
            f"There is no collection {diagnosis.missing_collection}: nothing has arrived yet, or "
            "LLM_AUDIT_DATABASE and LLM_AUDIT_COLLECTION are not those of the processes that "
            "record."
        )
    elif not diagnosis.processes and not any(journal.ours for journal in diagnosis.journals):
        others = sorted({journal.target for journal in diagnosis.journals if journal.target})
        yield (
            "No process has recorded into this collection; those of this spool record into "
            f"{' and '.join(others) or 'another one'}: {_LOOK} and LLM_AUDIT_COLLECTION are theirs."
        )
    for what, why in diagnosis.not_looked_at.items():
        yield (
            f"Could not look at {what}: {why}. If a right is missing, ask as a user with readWrite "
            "on the database."
        )
    if diagnosis.unreadable:
        yield (
            f"What lies in {', '.join(diagnosis.unreadable)} may not be looked into by this user: "
            "run the doctor as the user of the processes that record."
        )


def _of_doubtful(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what may be somebody else's in the spool, if not each, then how much there is."""
    for path, why in islice(diagnosis.doubtful.items(), DOUBTFUL_NAMED):
        yield (
            f"{path} {why}: it is left alone, as somebody else may have put there what is in it. "
            "If that user's processes record into it, run the doctor as that user. If it is yours, "
            "look what is in it before you put that right; else remove it, or set "
            "LLM_AUDIT_SPOOL_DIR to a folder that only the user of the processes that record may "
            "write."
        )
    if (more := len(diagnosis.doubtful) - DOUBTFUL_NAMED) > 0:
        yield f"In the spool {more} more may be somebody else's, and are left alone."


def _of_calls(diagnosis: Diagnosis, pending_seconds: float) -> Iterator[str]:
    """Yield what is refused, open, or not whole."""
    if diagnosis.refused.count:
        reasons = ", ".join(diagnosis.refused.reasons)
        first = next(iter(diagnosis.refused.call_ids), "?")
        yield (
            f"MongoDB refused {_counted(diagnosis.refused.count, 'record')} ({reasons}), kept in "
            f"{REJECTED}, the first of call {first}: fix what refuses "
            "them, e.g. a validator; then llm-audit spool retry, or llm_audit.retry_rejected(), "
            "sends them again."
        )
    if ANOTHERS in diagnosis.refused.reasons:
        yield (
            f"Ids were drawn twice ({ANOTHERS}): after a fork, or in copies of a virtual machine? "
            f"The second calls stay in {REJECTED}, nothing sends them from there."
        )
    if diagnosis.open_calls.count:
        yield (
            f"PENDING for more than {pending_seconds:.0f} s: "
            f"{_counted(diagnosis.open_calls.count, 'call')}, the first "
            f"{diagnosis.open_calls.call_ids[0]}. They still run, or no process that could close "
            "them records into this collection."
        )
    if diagnosis.unreferenced_media:
        yield (
            f"In GridFS belongs to no call: {_counted(len(diagnosis.unreferenced_media), 'file')}. "
            "llm-audit doctor --clean, or llm_audit.doctor(clean=True), removes what does not."
        )
    if diagnosis.calls_without_media:
        yield (
            f"Media of {_counted(len(diagnosis.calls_without_media), 'call')} are missing in "
            f"GridFS, the first {next(iter(diagnosis.calls_without_media))}: they were lost with a "
            "spool, or removed by hand, and cannot be had back; all else is whole."
        )
    if diagnosis.altered_media:
        yield (
            f"Media of {_counted(len(diagnosis.altered_media), 'call')} are not as they were "
            f"recorded, the first {next(iter(diagnosis.altered_media))}: what is in GridFS has "
            "another sha256. Somebody, or a fault, has altered it; a backup of fs.chunks has it."
        )
    if diagnosis.expired_at:
        yield (
            f"Calls that expired on {diagnosis.expired_at:%Y-%m-%d} are still there: MongoDB does "
            "not remove what has expired; look whether its ttlMonitorEnabled is true."
        )


def _of_counts(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what was removed, or put there."""
    names = {process.nonce: _name(process) for process in diagnosis.processes}
    for nonce, count in diagnosis.missing_calls.items():
        yield (
            f"{_counted(count, 'call')} of {names.get(nonce, nonce)} had arrived and "
            f"{'is' if count == 1 else 'are'} not there: somebody has removed them. If that was "
            f"you, delete its document from {PROCESSES}."
        )
    for nonce, count in diagnosis.invented_calls.items():
        if nonce in names:
            yield (
                f"{_counted(count, 'call')} more than {names[nonce]} began name it: somebody has "
                "put them there."
            )
        else:
            yield (
                f"{_counted(count, 'call')} of the last days name a process {nonce:.80} that "
                f"{PROCESSES} does not know: somebody has put them there, or has removed its "
                "document, or it may not write there."
            )


def _of_indexes(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what is missing, and what the server does not have, each with its own words."""
    refused = {shortfall.what: shortfall for shortfall in diagnosis.done_without}
    missing = []
    by_reason: dict[tuple[str, str], list[str]] = {}
    for name in diagnosis.missing_indexes:
        shortfall = refused.get(f"{INDEX}{name}")
        if shortfall is None:
            missing.append(name)
        else:
            by_reason.setdefault((shortfall.why, shortfall.instead), []).append(name)
    if missing:
        yield (
            f"Indexes are missing ({', '.join(missing)}): llm-audit indexes --create, or await "
            "llm_audit.init(), creates them, or says why it cannot."
        )
    for (why, instead), refused_names in by_reason.items():
        yield f"MongoDB refuses indexes ({', '.join(refused_names)}; {why}): {instead}"
    if diagnosis.conflicting_indexes:
        names = ", ".join(diagnosis.conflicting_indexes)
        yield (
            f"Indexes conflict with existing ones ({names}): llm-audit indexes, or await "
            "llm_audit.init(), names these; drop them and have ours created."
        )
    for what, shortfall in refused.items():
        if not what.startswith(INDEX):
            yield f"MongoDB refuses {what} ({shortfall.why}): {shortfall.instead}"


def _of_processes(diagnosis: Diagnosis) -> Iterator[str]:
    for process in diagnosis.processes:
        name = _name(process)
        waiting = process.recorded - process.acked_through
        if process.everything_arrived is False:
            yield f"{name} did not deliver everything: {process.summary}."
        elif process.state in (SILENT, ProcessState.LOST):
            yield f"{name} is {process.state}: {process.summary}."
        elif process.everything_arrived is None and process.state == ProcessState.RECOVERED:
            yield f"{name} was recovered, but {process.summary}."
        elif process.state == ProcessState.ENDED and waiting:
            yield f"{name} has ended, but {process.summary}."
        elif process.state == ProcessState.ALIVE and process.backlog_age_seconds > LATE_SECONDS:
            yield (
                f"{name} has {_counted(waiting, 'operation')} that MongoDB has not taken, the "
                f"oldest for {process.backlog_age_seconds:.0f} s: its log says why."
            )
        if process.unreadable:
            yield (
                f"The document of {name} in {PROCESSES} holds what no process writes, in "
                f"{', '.join(process.unreadable)}: who has written it?"
            )
        if process.clock_ahead_seconds:
            which = "ahead of" if process.clock_ahead_seconds > 0 else "behind"
            yield (
                f"{name}: its machine's clock was {abs(process.clock_ahead_seconds):.0f} s {which} "
                "MongoDB's, and so are the times of its calls. Set the clock."
            )


def _of_capture(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the processes that should record calls by themselves, and do not as they should."""
    for process in diagnosis.processes:
        if process.capture_faults:
            yield (
                f"{_name(process)} failed {process.capture_faults} times to capture a call or a "
                "part of it; its log says by which kind of error. Please report it."
            )
        seen = process.captured + process.captured_by_hand
        loaded = ", ".join(process.clients_loaded)
        if process.instrumented and loaded and not seen and process.begun:
            yield (
                f"{_name(process)} has loaded {loaded} and captured nothing, while {process.begun} "
                "calls were recorded by hand: look whether its clients send through an HTTP "
                "library of their own, or over WebSockets, see docs/how-to/capture.md."
            )
        if process.instrumented and process.passed_by and not seen:
            yield (
                f"{_name(process)} records the calls of {', '.join(process.instrumented)} and saw "
                f"none, while other clients made {process.passed_by}: name these in instrument() "
                "too, or none to record all calls."
            )


def _of_the_living(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the processes of this machine that live, and do not show it in MongoDB, or not here."""
    journals = {journal.nonce: journal for journal in diagnosis.journals}
    processes = {process.nonce: process for process in diagnosis.processes}
    for journal in diagnosis.journals:
        if journal.ours and PROCESSES_THAT_RECORD not in diagnosis.not_looked_at:
            yield from _of_one_that_lives(journal, processes.get(journal.nonce))
    for process in diagnosis.processes:
        if (
            process.state == ProcessState.ALIVE
            and process.nonce not in journals
            and (process.host, process.boot_id) == owners.this_machine()
            and _runs(process.pid)
        ):
            yield (
                f"{_name(process)} runs on this machine, but its journal is not in this spool: "
                "what waits there nobody sees; set LLM_AUDIT_SPOOL_DIR as that process has it."
            )


def _of_one_that_lives(journal: JournalReport, process: ProcessReport | None) -> Iterator[str]:
    waits = journal.oldest_seconds or 0.0
    name = f"Process {journal.nonce} (pid {journal.pid})"
    if journal.state == ADOPTED and waits > LATE_SECONDS:
        yield (
            f"The journal of pid {journal.pid}, which has died, is being shipped by another "
            f"process ({journal.path}): its oldest record is {waits:.0f} s old. If it stays, the "
            "log of those that record here says why."
        )
    elif journal.state != IN_USE:
        return
    elif process is None:
        if waits > LATE_SECONDS:
            yield (
                f"{name} records here, but MongoDB has no document of it in {PROCESSES}, "
                f"{waits:.0f} s after its oldest record here: it takes nothing that the process "
                "writes, or not that document. The log of the process says why."
            )
    elif process.state == ProcessState.ALIVE and (
        process.silent_seconds > MISSED_BEATS * process.heartbeat_seconds
    ):
        yield (
            f"{name} lives here, but has shown no sign of life in MongoDB for "
            f"{process.silent_seconds:.0f} s: it is frozen, or cut off, or MongoDB takes nothing "
            "from it. Its log says which."
        )


def _runs(pid: int | None) -> bool:
    if pid is None or not 0 < pid < PIDS_MAX:  # 0 and less would mean whole groups
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:  # somebody else's may not be asked, and runs
        return isinstance(error, PermissionError)
    return True


def _name(process: ProcessReport) -> str:
    return f"Process {process.nonce} (pid {process.pid} on {process.host})"


# Not of one that is redacted on its way: where it was moved to, nobody would do that.
_MOVE = "; to have it go elsewhere, move its folder into that target's"


def _of_journals(diagnosis: Diagnosis) -> Iterator[str]:
    known = {process.nonce for process in diagnosis.processes}
    for journal in diagnosis.journals:
        fixes = {
            WAITING: f"the next process that records here ships it, or {_SHIP}",
            OTHER_KERNEL: "a process that records here ships it once its lease is over",
            OTHER_TARGET: f"it is for {journal.target}, and only a process with these settings "
            f"ships it{_MOVE if not str(journal.target).endswith(WITH_STAGE) else ''}",
        }
        if journal.state == WAITING and not journal.segments and journal.nonce in known:
            yield (
                f"The calls that pid {journal.pid} left open are not closed yet ({journal.path}): "
                f"the next process that records here closes them, or {_SHIP}."
            )
        if journal.segments and journal.state in fixes:
            yield (
                f"A journal of {_counted(journal.bytes, 'byte')}, "
                f"{journal.age_seconds or 0:.0f} s old, lies in {journal.path} "
                f"({journal.state}): {fixes[journal.state]}."
            )
    if diagnosis.rejected_files:
        yield (
            f"MongoDB refused records, and does not take them into {REJECTED} either: they wait "
            f"in {', '.join(diagnosis.rejected_files)}. Give the user of mongo_url readWrite on "
            "the database: they move there by themselves, or at once with llm-audit spool retry."
        )
    if diagnosis.damaged_files:
        yield (
            f"Parts of journals could not be read: {', '.join(diagnosis.damaged_files)}. What "
            "bsondump still shows of them has to be brought in by hand; then remove them."
        )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
