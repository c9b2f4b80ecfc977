"""What a diagnosis gives cause to look at, one sentence each, with the fix."""

from collections.abc import Iterator
from itertools import islice

from llm_audit.diagnosis.problems_of_agents import of_agents
from llm_audit.diagnosis.problems_of_processes import (
    counted,
    name_of,
    of_capture,
    of_journals,
    of_processes,
    of_the_living,
)
from llm_audit.diagnosis.results import Diagnosis
from llm_audit.journal.statements.writes import ANOTHERS
from llm_audit.settings.names import PROCESSES, REJECTED
from llm_audit.store.answers.shortfalls import INDEX

DOUBTFUL_NAMED = 10
_LOOK = "look whether LLM_AUDIT_MONGO_URL, LLM_AUDIT_DATABASE"


def find_problems(diagnosis: Diagnosis, pending_seconds: float) -> Iterator[str]:
    """Yield what to look at; nothing if all is well.

    Args:
        diagnosis: Everything but the problems.
        pending_seconds: The limit for open calls.
    """
    yield from _of_where_to_look(diagnosis)
    yield from of_agents(diagnosis)
    yield from of_processes(diagnosis)
    yield from of_capture(diagnosis)
    yield from of_the_living(diagnosis)
    yield from of_journals(diagnosis)
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
            f"MongoDB refused {counted(diagnosis.refused.count, 'record')} ({reasons}), kept in "
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
            f"{counted(diagnosis.open_calls.count, 'call')}, the first "
            f"{diagnosis.open_calls.call_ids[0]}. They still run, or no process that could close "
            "them records into this collection."
        )
    if diagnosis.unreferenced_media:
        yield (
            f"In GridFS belongs to no call: {counted(len(diagnosis.unreferenced_media), 'file')}. "
            "llm-audit doctor --clean, or llm_audit.doctor(clean=True), removes what does not."
        )
    if diagnosis.calls_without_media:
        yield (
            f"Media of {counted(len(diagnosis.calls_without_media), 'call')} are missing in "
            f"GridFS, the first {next(iter(diagnosis.calls_without_media))}: they were lost with a "
            "spool, or removed by hand, and cannot be had back; all else is whole."
        )
    if diagnosis.altered_media:
        yield (
            f"Media of {counted(len(diagnosis.altered_media), 'call')} are not as they were "
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
    names = {process.nonce: name_of(process) for process in diagnosis.processes}
    for nonce, count in diagnosis.missing_calls.items():
        yield (
            f"{counted(count, 'call')} of {names.get(nonce, nonce)} had arrived and "
            f"{'is' if count == 1 else 'are'} not there: somebody has removed them. If that was "
            f"you, delete its document from {PROCESSES}."
        )
    for nonce, count in diagnosis.invented_calls.items():
        if nonce in names:
            yield (
                f"{counted(count, 'call')} more than {names[nonce]} began name it: somebody has "
                "put them there."
            )
        else:
            yield (
                f"{counted(count, 'call')} of the last days name a process {nonce:.80} that "
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
