"""What a diagnosis gives cause to look at, one sentence each, with the mend."""

from collections.abc import Iterator

from llm_audit.diagnosis.journals import OTHER_KERNEL, OTHER_TARGET, WAITING
from llm_audit.diagnosis.processes import SILENT
from llm_audit.diagnosis.results import Diagnosis
from llm_audit.recorder.heartbeat import ProcessState


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
    yield from _of_processes(diagnosis)
    yield from _of_journals(diagnosis)
    if diagnosis.open_calls.count:
        yield (
            f"{diagnosis.open_calls.count} calls have been PENDING for more than "
            f"{pending_seconds:.0f} s, the first {diagnosis.open_calls.call_ids[0]}: either they "
            "still run, or no process that could close them records into this collection."
        )
    if diagnosis.unreferenced_media:
        yield (
            f"{len(diagnosis.unreferenced_media)} GridFS entries belong to no call: "
            "doctor(clean=True) removes them."
        )
    if diagnosis.calls_without_media:
        yield (
            f"Media of {len(diagnosis.calls_without_media)} calls are missing in GridFS, the first "
            f"{next(iter(diagnosis.calls_without_media))}: they were lost with a spool, or removed "
            "by hand, and cannot be had back; the rest of these calls is whole."
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
            yield f"{name} did not deliver everything: {process.verdict}."
        elif process.state in (SILENT, ProcessState.LOST):
            yield f"{name} is {process.state}: {process.verdict}."
        elif process.everything_arrived is None and process.state == ProcessState.RECOVERED:
            yield f"{name} was recovered, but {process.verdict}."


def _of_journals(diagnosis: Diagnosis) -> Iterator[str]:
    known = {process.nonce for process in diagnosis.processes}
    for journal in diagnosis.journals:
        mends = {
            WAITING: "the next process that records here ships it, or llm_audit.recover(60)",
            OTHER_KERNEL: "a process that records here ships it once its lease is over",
            OTHER_TARGET: f"it is for {journal.target}, and only a process with these settings "
            "ships it; to have it go elsewhere, move its folder into that target's",
        }
        if journal.state == WAITING and not journal.segments and journal.nonce in known:
            yield (
                f"The calls that pid {journal.pid} left open are not closed yet ({journal.path}): "
                "the next process that records here closes them, or llm_audit.recover(60)."
            )
        if journal.segments and journal.state in mends:
            yield (
                f"A journal of {journal.bytes} bytes, {journal.age_seconds or 0:.0f} s old, lies "
                f"in {journal.path} ({journal.state}): {mends[journal.state]}."
            )
    if diagnosis.rejected_files:
        yield (
            f"MongoDB refused records, kept with its reasons in "
            f"{', '.join(diagnosis.rejected_files)}: mend what refuses them and call "
            "llm_audit.retry_rejected()."
        )
    if diagnosis.damaged_files:
        yield (
            f"Parts of journals could not be read: {', '.join(diagnosis.damaged_files)}. What "
            "bsondump still shows of them has to be brought in by hand; then remove them."
        )
