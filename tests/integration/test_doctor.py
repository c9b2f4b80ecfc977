"""The doctor: every process, journal and call that gives cause to look, and nothing else."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from children import child, output_of
from nowhere import NOWHERE
from refused import refusals
from waiting import PATIENCE, Call, Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMLogger, UnavailableError
from llm_audit.diagnosis.results import Diagnosis, ProcessReport
from llm_audit.recorder import process
from llm_audit.settings import get_settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "processes.md"
FORBIDDEN = [{"role": "user", "content": "fine", "forbidden": True}]
RULE = {"messages.forbidden": {"$exists": False}}

RECORD = """
import logging
import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder import process

logging.disable()  # what is refused and dropped is known

def record(count=1, **given):
    for _ in range(count):
        LLMLogger.complete(LLMLogger.start(model="m", messages=[], **given))

def say_who():
    print(process.recorder().constants["process_nonce"])
"""
RECORD_AND_END = f"{RECORD}\nrecord(3)\nsay_who()"
RECORD_AND_WAIT = f"{RECORD}\nrecord(3)\nassert llm_audit.flush({PATIENCE})\nsay_who()\ninput()"
RECORD_WHAT_IS_REFUSED = f"""{RECORD}
record()
call_id = LLMLogger.start(model="m", messages={FORBIDDEN!r})
LLMLogger.complete(call_id)
say_who()
print(call_id)
"""
RECORD_BEYOND_THE_QUOTA = f"""{RECORD}
llm_audit.configure(spool_max_bytes=40_000)
record(100, user_id="x" * 1000)
say_who()
"""

pytestmark = pytest.mark.usefixtures("recording")


@pytest.fixture
def processes(calls: Calls) -> Calls:
    """Give the documents of the processes in the test's own database."""
    return calls.database["llm_audit_processes"]


@pytest.fixture
def indexed(recording: Recording) -> None:
    """Let recording create the collections with their indexes."""
    recording(create_collection=True)


def record(count: int = 1) -> None:
    for _ in range(count):
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]))


def say(process_document: Call, **changes: Any) -> Call:
    """Make the document of a process that another machine runs."""
    fields = {
        "collection": "llm_calls",
        "host": "elsewhere",
        "pid": 7,
        "boot_id": "another",
        "state": "alive",
        "beat": 3,
        "beat_at": datetime.now(UTC),
        "started_at": datetime.now(UTC),
        "heartbeat_seconds": 10.0,
        "lease_seconds": 120.0,
        "recorded": 20,
        "acked_through": 20,
        "backlog_bytes": 0,
        "backlog_age_seconds": 0,
        "not_journaled": 0,
        "rejected": [],
        "dropped": [],
    }
    return fields | process_document | changes


def report_of(nonce: str) -> tuple[ProcessReport, list[str]]:
    """Return what the doctor says of a process, and the problems that name it."""
    diagnosis = llm_audit.doctor()
    (report,) = [report for report in diagnosis.processes if report.nonce == nonce]
    return report, [problem for problem in diagnosis.problems if nonce in problem]


def own_nonce() -> str:
    return str(process.recorder().constants["process_nonce"])


def target_folder() -> Path:
    settings = get_settings()
    return settings.spool_dir / settings.target()


def problems_about(text: str) -> list[str]:
    return [problem for problem in llm_audit.doctor().problems if text in problem]


@pytest.mark.usefixtures("indexed")
def test_a_healthy_system_has_no_problems() -> None:
    """Where everything has arrived and every process ended well, there is nothing to look at."""
    record(3)
    nonce = own_nonce()
    assert llm_audit.shutdown(PATIENCE)
    diagnosis = llm_audit.doctor()

    assert diagnosis.problems == []
    (report,) = diagnosis.processes
    assert (report.nonce, report.state) == (nonce, "ended")
    assert (report.everything_arrived, report.summary) == (True, "all 6 operations arrived")
    assert diagnosis.model_dump(exclude={"processes"}) == Diagnosis().model_dump(
        exclude={"processes"}
    )


@pytest.mark.usefixtures("indexed")
def test_a_living_process_is_no_problem(recording: Recording) -> None:
    """A process that records is alive; what it has recorded so far is not judged yet."""
    recording(create_collection=True, service="billing", environment="test")
    record()
    assert llm_audit.flush(PATIENCE)
    until(lambda: llm_audit.doctor().processes)
    diagnosis = llm_audit.doctor()

    assert diagnosis.problems == []
    (report,) = diagnosis.processes
    assert (report.nonce, report.pid, report.state) == (own_nonce(), os.getpid(), "alive")
    assert (report.service, report.environment) == ("billing", "test")
    assert report.everything_arrived is None
    (journal,) = diagnosis.journals
    assert (journal.nonce, journal.state) == (own_nonce(), "in use")


def test_an_ended_process_has_delivered(recording: Recording) -> None:
    """A process that ended by itself says how many operations it recorded: all have arrived."""
    (nonce,) = output_of(RECORD_AND_END, recording())
    report, problems = report_of(nonce)
    assert (report.state, report.everything_arrived) == ("ended", True)
    assert report.summary == "all 6 operations arrived"
    assert problems == []


def test_a_killed_process_has_delivered_once_recovered(recording: Recording, calls: Calls) -> None:
    """After SIGKILL nothing is known; once its journal is shipped, everything has arrived."""
    with child(RECORD_AND_WAIT, recording()) as killed:
        assert killed.stdout is not None
        nonce = killed.stdout.readline().strip()
    assert report_of(nonce)[0].everything_arrived is None

    llm_audit.recover()
    until(lambda: report_of(nonce)[0].state == "recovered")
    report, problems = report_of(nonce)
    assert (report.everything_arrived, report.summary) == (True, "all 6 operations arrived")
    assert problems == []
    assert calls.count_documents({"status": "SUCCESS"}) == 3


def test_what_was_rejected_is_named(recording: Recording, calls: Calls) -> None:
    """Of a process whose record MongoDB refused, the summary says how many and why."""
    calls.database.create_collection(calls.name, validator=RULE)
    nonce, call_id = output_of(RECORD_WHAT_IS_REFUSED, recording())
    report, problems = report_of(nonce)
    assert (report.state, report.everything_arrived) == ("ended", False)
    assert report.summary == "1 operations rejected (code 121)"
    assert report.rejected[0].call_ids == [call_id]
    (problem,) = problems
    assert "1 operations rejected (code 121)" in problem


def test_what_was_refused_waits_to_be_sent_again(recording: Recording, calls: Calls) -> None:
    """From any machine it is seen how much is kept, why, since when, and of which calls."""
    calls.database.create_collection(calls.name, validator=RULE)
    _, call_id = output_of(RECORD_WHAT_IS_REFUSED, recording())
    refused = llm_audit.doctor().refused
    (kept,) = refusals(calls)
    assert (refused.count, refused.reasons, refused.call_ids) == (1, {"code 121": 1}, [call_id])
    assert refused.oldest_at == kept["rejected_at"]
    (problem,) = problems_about("retry_rejected")
    assert call_id in problem


def test_what_was_dropped_is_named(recording: Recording) -> None:
    """Of a process that ran out of room, the summary says what it dropped and why."""
    (nonce,) = output_of(RECORD_BEYOND_THE_QUOTA, recording(strict=False))
    report, problems = report_of(nonce)
    assert (report.state, report.everything_arrived) == ("ended", False)
    dropped = {entry.what: entry for entry in report.dropped}
    assert set(dropped) == {"content", "record"}
    assert {entry.reason for entry in report.dropped} == {"spool_max_bytes"}
    assert report.recorded == 200
    assert f"{dropped['record'].count} operations dropped (spool_max_bytes)" in report.summary
    assert len(problems) == 1


def test_a_process_that_dropped_everything_is_named(recording: Recording, processes: Calls) -> None:
    """Where there was room for nothing at all, the database says so."""
    recording(spool_max_bytes=1, strict=False)
    record()
    nonce = own_nonce()
    assert llm_audit.shutdown(PATIENCE)
    assert processes.count_documents({"_id": nonce}) == 1
    assert report_of(nonce)[0].everything_arrived is False


@pytest.mark.parametrize(
    ("what", "said"), [("record", "operations"), ("of a later version", "of a later version")]
)
def test_what_the_living_dropped_is_a_problem(processes: Calls, what: str, said: str) -> None:
    """A process need not end before it is said what it has lost, nor be of this version."""
    now = datetime.now(UTC)
    dropped = {
        "what": what,
        "reason": "spool_max_bytes",
        "count": 4,
        "first_seq": 7,
        "last_seq": 9,
        "first_at": now,
        "last_at": now,
        "call_ids": ["a"],
    }
    processes.insert_one(say({"_id": "losing"}, dropped=[dropped]))
    report, problems = report_of("losing")
    assert report.state == "alive"
    assert len(problems) == 1
    assert f"4 {said} dropped (spool_max_bytes)" in problems[0]


def test_a_silent_process_is_a_problem(processes: Calls) -> None:
    """A process whose last beat is older than its lease is silent: the rest cannot be known."""
    beat_at = datetime.now(UTC) - timedelta(seconds=121)
    processes.insert_one(say({"_id": "quiet"}, beat_at=beat_at, acked_through=15))
    processes.insert_one(say({"_id": "slow"}, beat_at=beat_at, lease_seconds=3600.0))
    report, problems = report_of("quiet")
    assert (report.state, report.everything_arrived) == ("silent", None)
    assert "5 operations" in report.summary
    assert f"{beat_at:%H:%M:%S}" in report.summary
    assert len(problems) == 1
    assert report_of("slow")[0].state == "alive"


def test_a_lost_process_is_a_problem(processes: Calls) -> None:
    """Of a process that was given up for lost, what came after its last beat is not known."""
    processes.insert_one(say({"_id": "gone"}, state="lost"))
    report, problems = report_of("gone")
    assert (report.state, report.everything_arrived) == ("lost", None)
    assert len(problems) == 1


def test_what_was_in_memory_only_may_be_lost(processes: Calls) -> None:
    """Of a killed process whose disk had refused records, nobody knows whether all arrived."""
    processes.insert_one(say({"_id": "killed"}, state="recovered", not_journaled=2))
    report, problems = report_of("killed")
    assert report.everything_arrived is None
    assert len(problems) == 1


def test_processes_of_other_collections_are_not_reported(processes: Calls) -> None:
    """Who records into another collection of the same database is not this doctor's patient."""
    processes.insert_one(say({"_id": "other"}, collection="more_calls", state="lost"))
    assert llm_audit.doctor().processes == []


@pytest.mark.usefixtures("indexed")
def test_a_thousand_processes(processes: Calls) -> None:
    """A fleet's documents are all reported, and MongoDB deletes them in the end."""
    record()
    assert llm_audit.shutdown(PATIENCE)
    processes.insert_many(
        say({"_id": f"process-{number}"}, state="ended" if number % 2 else "alive")
        for number in range(1000)
    )
    diagnosis = llm_audit.doctor()
    assert len(diagnosis.processes) == 1001
    assert diagnosis.problems == []
    expiry = processes.index_information()["expiry"]
    assert (expiry["key"], expiry["expireAfterSeconds"]) == ([("expires_at", 1)], 0)


def test_a_good_end_is_soon_forgotten(recording: Recording, calls: Calls, processes: Calls) -> None:
    """A process that delivered everything is kept for a week, one with losses for a month."""
    (good,) = output_of(RECORD_AND_END, recording())
    calls.database.command("collMod", calls.name, validator=RULE)
    bad, _ = output_of(RECORD_WHAT_IS_REFUSED, recording())
    kept = {
        found["_id"]: found["expires_at"] - found["beat_at"]
        for found in processes.find({"_id": {"$in": [good, bad]}})
    }
    assert kept[good] < timedelta(days=8)
    assert kept[bad] > timedelta(days=29)


def test_calls_open_for_long_are_counted(calls: Calls) -> None:
    """Calls that are PENDING beyond the limit are counted, the oldest ten by their ids."""
    now = datetime.now(UTC)
    for number in range(12):
        created = now - timedelta(hours=2, minutes=number)
        open_call = {"_id": f"{99 - number}", "status": "PENDING", "created_at": created}
        calls.insert_one({**open_call, "process_nonce": f"nonce-{number % 2}"})
    young = arrived(calls, LLMLogger.start(model="m", messages=[]))

    found = llm_audit.doctor()
    assert found.open_calls.count == 12
    assert found.open_calls.call_ids == [f"{number}" for number in range(88, 98)]
    assert found.open_calls.by_process == {"nonce-0": 6, "nonce-1": 6}
    assert found.open_calls.oldest_at is not None
    assert now - found.open_calls.oldest_at > timedelta(hours=2, minutes=10)
    (problem,) = [problem for problem in found.problems if "PENDING" in problem]
    assert "12 calls" in problem

    assert llm_audit.doctor(pending_seconds=7200 + 90).open_calls.count == 10
    until(lambda: llm_audit.doctor(pending_seconds=0).open_calls.count == 13)
    by_process = llm_audit.doctor(pending_seconds=0).open_calls.by_process
    assert by_process[young["process_nonce"]] == 1


def test_open_calls_may_have_ids_of_any_kind(calls: Calls) -> None:
    """Whatever else writes into the collection, its ids need not compare."""
    created = datetime.now(UTC) - timedelta(hours=2)
    ids = ["b", ObjectId()]
    calls.insert_many({"_id": it, "status": "PENDING", "created_at": created} for it in ids)

    assert sorted(llm_audit.doctor().open_calls.call_ids) == sorted(map(str, ids))


def test_a_retry_clears_what_was_refused(calls: Calls) -> None:
    """Once what was refused has been sent again, the doctor no longer names it."""
    calls.database.create_collection(calls.name, validator=RULE)
    arrived(calls, LLMLogger.start(model="m", messages=FORBIDDEN))
    assert len(problems_about("retry_rejected")) == 1
    calls.database.command("collMod", calls.name, validator={})
    assert llm_audit.retry_rejected().arrived == 1
    assert llm_audit.doctor().refused.count == 0
    assert problems_about("retry_rejected") == []


def test_a_retry_clears_the_process(recording: Recording, calls: Calls) -> None:
    """Once what was refused of an ended process has arrived, it has delivered everything."""
    calls.database.create_collection(calls.name, validator=RULE)
    nonce, _ = output_of(RECORD_WHAT_IS_REFUSED, recording())
    calls.database.command("collMod", calls.name, validator={})
    assert llm_audit.retry_rejected().arrived == 1
    report, problems = report_of(nonce)
    assert report.everything_arrived is True
    assert problems == []


@pytest.mark.usefixtures("indexed")
def test_missing_indexes_are_named(calls: Calls, processes: Calls) -> None:
    """An index that somebody dropped is named with its collection."""
    record()
    assert llm_audit.shutdown(PATIENCE)
    calls.drop_index("trace_id_newest")
    processes.drop_index("expiry")
    found = llm_audit.doctor()
    assert found.missing_indexes == ["llm_calls.trace_id_newest", "llm_audit_processes.expiry"]
    assert len([problem for problem in found.problems if "llm_calls.trace_id" in problem]) == 1


@pytest.mark.usefixtures("indexed")
async def test_init_mends_missing_indexes(calls: Calls, processes: Calls) -> None:
    """What the doctor says to do about missing indexes creates them."""
    record()
    assert llm_audit.shutdown(PATIENCE)
    calls.drop_index("trace_id_newest")
    processes.drop_index("expiry")
    database = await llm_audit.init()
    await database.client.close()
    assert llm_audit.doctor().missing_indexes == []


def test_an_empty_database_stays_empty(calls: Calls) -> None:
    """Looking creates no collection, and where nothing was recorded, perhaps one looks amiss."""
    (problem,) = llm_audit.doctor().problems
    assert "LLM_AUDIT_DATABASE" in problem
    assert calls.database.list_collection_names() == []


def test_without_a_server(recording: Recording) -> None:
    """Without MongoDB the doctor cannot answer, and says so with an error of ours."""
    recording(mongo_url=NOWHERE)
    with pytest.raises(UnavailableError):
        llm_audit.doctor()


def test_the_page_about_processes_names_every_field(
    recording: Recording, calls: Calls, processes: Calls
) -> None:
    """What a process's document holds, its entries included, is in the reference."""
    calls.database.create_collection(calls.name, validator=RULE)
    recording(service="billing", environment="test")
    arrived(calls, LLMLogger.start(model="m", messages=FORBIDDEN))
    assert llm_audit.shutdown(PATIENCE)
    document = processes.find_one() or {}
    names = {*document, *document["rejected"][0], "recovered_at", "lost_at"}
    page = PAGE.read_text()
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_mongosh_answers_what_the_doctor_does(processes: Calls) -> None:
    """The page's query for dead processes that delivered everything finds those, and no others."""
    entry = {
        "what": "record",
        "reason": "code 121",
        "count": 1,
        "first_seq": 1,
        "last_seq": 1,
        "first_at": datetime.now(UTC),
        "last_at": datetime.now(UTC),
    }
    found: dict[str, Call] = {
        "living": {},
        "gone": {"state": "lost"},
        "ended": {"state": "ended"},
        "ended without a disk": {"state": "ended", "not_journaled": 3},
        "refused": {"state": "ended", "rejected": [entry]},
        "dropping": {"state": "recovered", "dropped": [entry]},
        "recovered": {"state": "recovered"},
        "perhaps": {"state": "recovered", "not_journaled": 3},
        "behind": {"state": "ended", "acked_through": 7},
    }
    processes.insert_many([say({"_id": nonce}, **fields) for nonce, fields in found.items()])
    query = re.search(r"const delivered = ({.*?^})", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert query is not None
    without_comments = re.sub(r"//.*", "", query[1])
    quoted = re.sub(r"([$\w]+):", r'"\1":', without_comments)
    delivered = json.loads(re.sub(r",\s*([}\]])", r"\1", quoted))

    reports = llm_audit.doctor().processes
    assert {report.nonce for report in reports} == found.keys()
    assert {process["_id"] for process in processes.find(delivered)} == {
        report.nonce for report in reports if report.everything_arrived
    }
