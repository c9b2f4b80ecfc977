"""What is to be looked at in processes and journals: one sentence each, with the fix."""

import os
from collections.abc import Iterator

from llm_audit.diagnosis.journals import ADOPTED, IN_USE, OTHER_KERNEL, OTHER_TARGET, WAITING
from llm_audit.diagnosis.processes import PROCESSES_THAT_RECORD, SILENT
from llm_audit.diagnosis.results import Diagnosis, JournalReport, ProcessReport
from llm_audit.journal.spool import owners
from llm_audit.settings.fields import AGENT, WITH_STAGE
from llm_audit.settings.names import PROCESSES, REJECTED
from llm_audit.store.processes import ProcessState

LATE_SECONDS = 10.0  # a record takes a second or two
MISSED_BEATS = 3.0
PIDS_MAX = 2**31
SHIP = "llm-audit spool drain, or llm_audit.recover(60)"


def of_processes(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the processes that did not deliver everything, or are not as they should be.

    Whether those live for which an agent ships is told with that, in `problems_of_agents`.
    """
    for process in diagnosis.processes:
        name = name_of(process)
        itself = process.shipped_by != AGENT
        waiting = process.recorded - process.acked_through
        if process.everything_arrived is False:
            yield f"{name} did not deliver everything: {process.summary}."
        elif itself and process.state in (SILENT, ProcessState.LOST):
            yield f"{name} is {process.state}: {process.summary}."
        elif process.everything_arrived is None and process.state == ProcessState.RECOVERED:
            yield f"{name} was recovered, but {process.summary}."
        elif process.state == ProcessState.ENDED and waiting:
            yield f"{name} has ended, but {process.summary}."
        elif (
            itself
            and process.state == ProcessState.ALIVE
            and process.backlog_age_seconds > LATE_SECONDS
        ):
            yield (
                f"{name} has {counted(waiting, 'operation')} that MongoDB has not taken, the "
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


def of_capture(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the processes that should record calls by themselves, and do not as they should."""
    for process in diagnosis.processes:
        if process.capture_faults:
            yield (
                f"{name_of(process)} failed {process.capture_faults} times to capture a call or a "
                "part of it; its log says by which kind of error. Please report it."
            )
        seen = process.captured + process.captured_by_hand
        loaded = ", ".join(process.clients_loaded)
        # who died said last what it had captured before its last calls began
        told = process.state in (ProcessState.ALIVE, ProcessState.ENDED)
        if told and process.instrumented and loaded and not seen and process.begun:
            by_hand = "1 call was" if process.begun == 1 else f"{process.begun:,} calls were"
            yield (
                f"{name_of(process)} has loaded {loaded} and captured nothing, while {by_hand} "
                "recorded by hand: look whether its clients send through an HTTP library of their "
                "own, or over WebSockets, see docs/how-to/capture.md."
            )
        if process.instrumented and process.passed_by and not seen:
            yield (
                f"{name_of(process)} records the calls of {', '.join(process.instrumented)} and "
                f"saw none, while other clients made {process.passed_by}: name these in "
                "instrument() too, or none to record all calls."
            )


def of_the_living(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the processes of this machine that live, and do not show it in MongoDB, or not here."""
    journals = {journal.nonce: journal for journal in diagnosis.journals}
    processes = {process.nonce: process for process in diagnosis.processes}
    for journal in diagnosis.journals:
        shows_itself = journal.ours and journal.shipper != AGENT
        if shows_itself and PROCESSES_THAT_RECORD not in diagnosis.not_looked_at:
            yield from _of_one_that_lives(journal, processes.get(journal.nonce))
    for process in diagnosis.processes:
        if (
            process.state == ProcessState.ALIVE
            and process.nonce not in journals
            and (process.host, process.boot_id) == owners.this_machine()
            and _runs(process.pid)
        ):
            yield (
                f"{name_of(process)} runs on this machine, but its journal is not in this spool: "
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


def name_of(process: ProcessReport) -> str:
    """Name a process, with where it runs."""
    return f"Process {process.nonce} (pid {process.pid} on {process.host})"


# Not of one that is redacted on its way: where it was moved to, nobody would do that.
_MOVE = "; to have it go elsewhere, move its folder into that target's"


def of_journals(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what lies in the spool and goes on only if somebody sees to it.

    What waits for an agent is told with that.
    """
    known = {process.nonce for process in diagnosis.processes}
    for journal in diagnosis.journals:
        by_agent = journal.shipper == AGENT
        who, ship = ("agent", "llm-audit agent") if by_agent else ("process that records", SHIP)
        fixes = {
            WAITING: f"the next process that records here ships it, or {SHIP}",
            OTHER_KERNEL: f"the next {who} here ships it once its lease is over",
            OTHER_TARGET: f"it is for {journal.target}, and only a process with these settings "
            f"ships it{_MOVE if not str(journal.target).endswith(WITH_STAGE) else ''}",
        }
        if journal.state == WAITING and not journal.segments and journal.nonce in known:
            yield (
                f"The calls that pid {journal.pid} left open are not closed yet ({journal.path}): "
                f"the next {who} here closes them, or {ship}."
            )
        is_told = by_agent and journal.state != OTHER_KERNEL
        if journal.segments and journal.state in fixes and not is_told:
            yield (
                f"A journal of {counted(journal.bytes, 'byte')}, "
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


def counted(count: int, what: str) -> str:
    """Return how many of something there are."""
    return f"{count} {what}{'' if count == 1 else 'es' if what.endswith('s') else 's'}"
