"""Whether everything that was recorded has arrived, readable by anyone; and one process."""

import asyncio

from llm_audit.diagnosis.doctor import doctor
from llm_audit.diagnosis.results import Diagnosis, ProcessReport
from llm_audit.errors import UsageError
from llm_audit.queries.lookup import Missing
from llm_audit.runtime import clock
from llm_audit.runtime.forks import OwnLock
from llm_audit.runtime.kept import kept
from llm_audit.settings import get_settings
from llm_audit.web.asked import Asked
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page

_PROCESSES = 200  # that are shown, those seen last first
_CALLS = 20
_HOLDS_SECONDS = 5.0
_HOLDS_TIMES = 10  # as long as it took, if that is longer: of many calls, he has much to count

ALL, NOT_ALL, NOT_KNOWN = "all arrived", "not all arrived", "on their way, or not known"


async def page(asked: Asked) -> Page:
    """Show the page; the report takes a moment, and comes after it."""
    refuse_tenants(asked)
    if asked.one("format") == "json":  # what a machine asks for is the report
        return await report(asked)
    return Page("delivery", "Delivery", {})


async def report(asked: Asked) -> Page:
    """Show what the doctor says of every process, journal and call."""
    refuse_tenants(asked)
    diagnosis = await examined()
    return Page(
        "parts/delivery",
        "Delivery",
        {"diagnosis": diagnosis},
        {
            "sentence": sentence_of(diagnosis),
            "processes": diagnosis.processes[:_PROCESSES],
            "left_out": max(0, len(diagnosis.processes) - _PROCESSES),
            "verdicts": {True: ALL, False: NOT_ALL, None: NOT_KNOWN},
        },
    )


async def banner(asked: Asked) -> Page:
    """Say on the first page that delivery has a gap, if it has."""
    refuse_tenants(asked)
    diagnosis = await examined()
    return Page("parts/banner", "Delivery", {"problems": diagnosis.problems})


async def process(asked: Asked) -> Page:
    """Show one process: its open and its newest calls; what the doctor says of it comes after."""
    refuse_tenants(asked)
    wanted = asked.required("id", "process")
    calls = await asked.calls.preview_calls(limit=_CALLS, process_nonce=wanted)
    data: dict[str, object] = {}
    if not calls or asked.one("format") == "json":
        data["process"] = found = await _process(wanted)
        if found is None and not calls:
            return missing_page(Missing("process", wanted))
    open_calls = await asked.calls.preview_calls(
        limit=_CALLS, process_nonce=wanted, status="PENDING"
    )
    data |= {"open_calls": open_calls, "calls": calls}
    return Page("process", f"Process {wanted}", data, {"nonce": wanted})


async def arrived(asked: Asked) -> Page:
    """Show how far what a process recorded has arrived."""
    refuse_tenants(asked)
    wanted = asked.required("id", "process")
    view = {"verdicts": {True: ALL, False: NOT_ALL, None: NOT_KNOWN}}
    return Page("parts/process", "Process", {"process": await _process(wanted)}, view)


async def _process(nonce: str) -> ProcessReport | None:
    return next((one for one in (await examined()).processes if one.nonce == nonce), None)


@kept
class _Last:
    """What the doctor has said last, and of which database: he reads media, and pages are many."""

    lock = OwnLock()
    of = ""
    diagnosis = Diagnosis()
    holds_until = 0.0


async def examined() -> Diagnosis:
    """Have the doctor look, beside the event loop; what he said moments ago holds."""
    return await asyncio.to_thread(_examine)


def _examine() -> Diagnosis:
    target = get_settings().target("thread")
    with _Last.lock:
        began = clock.monotonic()
        if _Last.of != target or began > _Last.holds_until:
            _Last.diagnosis, _Last.of = doctor(), target
            ended = clock.monotonic()
            _Last.holds_until = ended + max(_HOLDS_SECONDS, _HOLDS_TIMES * (ended - began))
        return _Last.diagnosis


def refuse_tenants(asked: Asked) -> None:
    """Refuse a viewer that shows the calls of one tenant: processes are everybody's.

    Raises:
        UsageError: It is such a one.
    """
    if asked.is_bound:
        raise UsageError("Delivery is about the calls of everybody, and not shown here.")


def sentence_of(diagnosis: Diagnosis) -> str:
    """Say in a sentence whether everything has arrived."""
    if diagnosis.problems:
        many = len(diagnosis.problems)
        return f"There {'is one thing' if many == 1 else f'are {many:,} things'} to look at."
    recorded = sum(process.recorded for process in diagnosis.processes)
    count = len(diagnosis.processes)
    who = "the one process" if count == 1 else f"the {count:,} processes"
    return f"Everything has arrived that {who} recorded: {recorded:,} operations."
