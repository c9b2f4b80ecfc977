"""What a diagnosis gives cause to look at, one sentence each, with the mend."""

from collections.abc import Iterator

from llm_audit.diagnosis.journals import OTHER_KERNEL, OTHER_TARGET, WAITING
from llm_audit.diagnosis.processes import SILENT
from llm_audit.diagnosis.results import Diagnosis
from llm_audit.store.indexes import REJECTED
from llm_audit.store.processes import ProcessState

_SHIP = "llm-audit spool drain, or llm_audit.recover(60)"


def find_problems(diagnosis: Diagnosis, pending_seconds: float) -> Iterator[str]:
    """Yield what to look at; nothing if all is well.

    Args:
        diagnosis: Everything but the problems.
        pending_seconds: The limit for open calls.
    """
    if not diagnosis.processes and not diagnosis.journals:
        yield (
            "No process has recorded into this collection, and none into this spool: look whether "
            "LLM_AUDIT_MONGO_URL, LLM_AUDIT_DATABASE, LLM_AUDIT_COLLECTION and LLM_AUDIT_SPOOL_DIR "
            "are those of the processes that record."
        )
    elif diagnosis.missing_collection:
        yield (
            f"There is no collection {diagnosis.missing_collection}: nothing has arrived yet, or "
            "LLM_AUDIT_DATABASE and LLM_AUDIT_COLLECTION are not those of the processes that "
            "record."
        )
    yield from _of_processes(diagnosis)
    yield from _of_journals(diagnosis)
    if diagnosis.refused.count:
        reasons = ", ".join(diagnosis.refused.reasons)
        yield (
            f"MongoDB refused {_counted(diagnosis.refused.count, 'record')} ({reasons}), kept in "
            f"{REJECTED}, the first of call {diagnosis.refused.call_ids[0]}: fix what refuses "
            "them, e.g. a validator; then llm-audit spool retry, or llm_audit.retry_rejected(), "
            "sends them again."
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
    if diagnosis.missing_indexes:
        names = ", ".join(diagnosis.missing_indexes)
        yield (
            f"Indexes are missing ({names}): llm-audit indexes --create, or await "
            "llm_audit.init(), creates them."
        )
    if diagnosis.conflicting_indexes:
        names = ", ".join(diagnosis.conflicting_indexes)
        yield (
            f"Indexes conflict with existing ones ({names}): llm-audit indexes, or await "
            "llm_audit.init(), names these; drop them and have ours created."
        )


def _of_processes(diagnosis: Diagnosis) -> Iterator[str]:
    for process in diagnosis.processes:
        name = f"Process {process.nonce} (pid {process.pid} on {process.host})"
        if process.everything_arrived is False:
            yield f"{name} did not deliver everything: {process.summary}."
        elif process.state in (SILENT, ProcessState.LOST):
            yield f"{name} is {process.state}: {process.summary}."
        elif process.everything_arrived is None and process.state == ProcessState.RECOVERED:
            yield f"{name} was recovered, but {process.summary}."
        if process.clock_ahead_seconds:
            which = "ahead of" if process.clock_ahead_seconds > 0 else "behind"
            yield (
                f"{name}: its machine's clock was {abs(process.clock_ahead_seconds):.0f} s {which} "
                "MongoDB's, and so are the times of its calls. Set the clock."
            )


def _of_journals(diagnosis: Diagnosis) -> Iterator[str]:
    known = {process.nonce for process in diagnosis.processes}
    for journal in diagnosis.journals:
        mends = {
            WAITING: f"the next process that records here ships it, or {_SHIP}",
            OTHER_KERNEL: "a process that records here ships it once its lease is over",
            OTHER_TARGET: f"it is for {journal.target}, and only a process with these settings "
            "ships it; to have it go elsewhere, move its folder into that target's",
        }
        if journal.state == WAITING and not journal.segments and journal.nonce in known:
            yield (
                f"The calls that pid {journal.pid} left open are not closed yet ({journal.path}): "
                f"the next process that records here closes them, or {_SHIP}."
            )
        if journal.segments and journal.state in mends:
            yield (
                f"A journal of {_counted(journal.bytes, 'byte')}, "
                f"{journal.age_seconds or 0:.0f} s old, lies in {journal.path} "
                f"({journal.state}): {mends[journal.state]}."
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
