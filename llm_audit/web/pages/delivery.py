"""Whether everything that was recorded has arrived, readable by anyone; and one process."""

import asyncio

from llm_audit.diagnosis.doctor import doctor
from llm_audit.diagnosis.results import Diagnosis
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
    """Show one process: how far what it recorded has arrived, its open and its newest calls."""
    refuse_tenants(asked)
    wanted = asked.required("id", "process")
    diagnosis = await examined()
    found = next((one for one in diagnosis.processes if one.nonce == wanted), None)
    calls = await asked.calls.preview_calls(limit=_CALLS, process_nonce=wanted)
    if found is None and not calls:
        return missing_page(Missing("process", wanted))
    open_calls = await asked.calls.preview_calls(
        limit=_CALLS, process_nonce=wanted, status="PENDING"
    )
    return Page(
        "process",
        f"Process {wanted}",
        {"process": found, "open_calls": open_calls, "calls": calls},
        {"nonce": wanted, "verdicts": {True: ALL, False: NOT_ALL, None: NOT_KNOWN}},
    )


@kept
class _Last:
    """What the doctor has said last, and of which database: he reads media, and pages are many."""

    lock = OwnLock()
    of = ""
    diagnosis = Diagnosis()
    at = 0.0


async def examined() -> Diagnosis:
    """Have the doctor look, beside the event loop; what he said moments ago holds."""
    return await asyncio.to_thread(_examine)


def _examine() -> Diagnosis:
    target = get_settings().target()
    with _Last.lock:
        if _Last.of != target or clock.monotonic() - _Last.at > _HOLDS_SECONDS:
            _Last.diagnosis, _Last.of = doctor(), target
            _Last.at = clock.monotonic()
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
        many = "one thing" if len(diagnosis.problems) == 1 else f"{len(diagnosis.problems)} things"
        return f"There is {many} to look at."
    recorded = sum(process.recorded for process in diagnosis.processes)
    count = len(diagnosis.processes)
    who = "the one process" if count == 1 else f"the {count:,} processes"
    return f"Everything has arrived that {who} recorded: {recorded:,} operations."
