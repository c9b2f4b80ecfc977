"""Documents of processes that hold anything: nothing stops for them, and the doctor names them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from dead_processes import left_behind
from patience import PATIENCE
from waiting import Call, Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger, cli
from llm_audit.journal.losses import CONTENT, RECORD
from llm_audit.journal.spool.owners import this_machine
from llm_audit.recorder import process
from llm_audit.settings import get_settings
from llm_audit.settings.names import FILES, PROCESSES, REJECTED, VERDICTS
from llm_audit.store.answers.shortfalls import note
from llm_audit.store.ensure import ensure
from llm_audit.store.indexes import call_indexes
from llm_audit.store.media import remove_expired

NOW = datetime.now(UTC)
ENTRY = {
    "what": "record",
    "reason": "code 121",
    "count": 1,
    "first_seq": 1,
    "last_seq": 1,
    "first_at": NOW,
    "last_at": NOW,
    "call_ids": ["c"],
}
ODD_VALUES: list[Any] = [
    *(None, "text", -1, 2**62, 1.5, float("nan"), float("inf"), True, b"bytes", [], {}, [[]], [{}]),
    *(DatetimeMS(2**60), DatetimeMS(-(2**60)), ObjectId(), Decimal128("NaN"), bson.Code("x"), NOW),
    *(["x"] * 10_000, {"$ne": 1}, [ENTRY] * 1_000, bson.MinKey(), bson.Regex("("), Int64(-(2**63))),
    *([{**ENTRY, name: odd}] for name in ENTRY for odd in ("text", None, 1e300)),
    [{name: value for name, value in ENTRY.items() if name != "first_at"}],
]
COUNTED = ("recorded", "begun", "not_journaled", "rejected", "dropped", "retried")
FIELDS = (
    *(
        "state",
        "beat",
        "beat_at",
        "started_at",
        "lease_seconds",
        "heartbeat_seconds",
        "pid",
        "host",
    ),
    *("boot_id", "recorded", "acked_through", "not_journaled", "rejected", "dropped", "retried"),
    *("done_without", "recovery", "clock_ahead_seconds", "backlog_age_seconds", "collection"),
    *("expires_at", "service", "begun"),
)
FACE = "\U0001f600"  # of four bytes
ODD_IDS: list[Any] = [7, 1.5, ObjectId(), {"a": 1}, b"bytes", True, NOW, bson.MinKey(), ""]


def document(nonce: Any, **fields: Any) -> Call:
    return {
        "_id": nonce,
        "collection": get_settings().collection,
        "host": "h",
        "pid": 1,
        "state": "alive",
        "beat": 1,
        "beat_at": NOW - timedelta(hours=1),
        "lease_seconds": 60.0,
        "recorded": 1,
        "acked_through": 1,
        "rejected": [],
        "dropped": [],
        "done_without": [],
        **fields,
    }


def odd_documents() -> list[Call]:
    odd = [
        document(f"{name} {number}", **{name: value})
        for name in FIELDS
        for number, value in enumerate(ODD_VALUES)
    ]
    host, boot_id = this_machine()
    here = {"host": host, "boot_id": boot_id, "beat_at": NOW, "lease_seconds": 1e6}
    odd += [document(f"here {pid}", pid=pid, **here) for pid in (0, -1, 2**31, 2**62, -(2**63))]
    return [*odd, *map(document, ODD_IDS), {"_id": "nothing else"}]


def test_the_doctor_and_the_living_read_documents_of_any_shape(
    recording: Recording, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every odd document is named, the silent are still found, and recording goes on."""
    recording(strict=False, heartbeat_seconds=0.4, lease_seconds=1.2)
    documents = odd_documents()
    calls.database[PROCESSES].insert_many(documents)
    calls.database[VERDICTS].insert_many([{"_id": odd["_id"], "status": 7} for odd in documents])
    for name in ("reason", "rejected_at", "record", "call_id", "expires_at", "media"):
        calls.database[REJECTED].insert_many(
            {"_id": f"{name} {number}", "collection": calls.name, name: odd}
            for number, odd in enumerate(ODD_VALUES)
        )
    calls.insert_one({"_id": "left open", "process_nonce": "silent", "status": "PENDING"})
    calls.insert_one({"_id": 5, "process_nonce": "silent", "status": "PENDING"})
    calls.database[PROCESSES].insert_one(document("silent", lease_seconds=0.1))

    call_id = LLMLogger.start(model="m", messages=[])
    LLMLogger.complete(call_id)
    assert llm_audit.flush(PATIENCE)
    until(lambda: calls.count_documents({"_id": "left open", "status": "ABANDONED"}))

    diagnosis = llm_audit.doctor()
    assert not diagnosis.not_looked_at
    listed = {report.nonce for report in diagnosis.processes}
    wanted = {str(odd["_id"]) for odd in documents if odd.get("collection") != "text"}
    dates = {str(odd) for odd in ODD_IDS if isinstance(odd, datetime)}  # MongoDB has milliseconds
    assert wanted <= listed | dates
    for name in ("beat_at", "lease_seconds", "pid", "recorded", "rejected", "dropped"):
        named = f"The document of Process {name} {ODD_VALUES.index('text')} "
        assert [line for line in diagnosis.problems if line.startswith(named)], name
    assert llm_audit.retry_rejected().arrived == 0
    llm_audit.shutdown(PATIENCE)
    capsys.readouterr()
    for options in ([], ["--json"]):
        assert cli.main(["doctor", *options]) == 1
        assert capsys.readouterr().err == ""


def test_a_dead_process_with_an_odd_document_is_recovered(
    recording: Recording, calls: Calls
) -> None:
    """Whatever stands in its document, its calls arrive, and those it left open are closed."""
    recording(strict=False, recovery_interval_seconds=0.1)
    processes = calls.database[PROCESSES]
    for field in (*COUNTED, "state", "beat", "recovery", "collection"):
        for odd in ("text", [{"count": "x"}]):
            with left_behind() as nonce:
                call_id = LLMLogger.start(model="m", messages=[])
            processes.replace_one({"_id": nonce}, document(nonce, **{field: odd}), upsert=True)
            assert llm_audit.recover(PATIENCE), (field, odd)
            (call,) = calls.find({"_id": call_id})
            assert call["status"] != "PENDING", (field, odd)


def test_a_document_has_a_bound(recording: Recording, calls: Calls) -> None:
    """Neither ids nor reasons nor the settings make it larger than MongoDB takes."""
    recording(strict=False, service="s" * 2**20, environment="ä" * 2**20)
    LLMLogger.complete("x" * 20_000_000)
    recorder = process.recorder()
    for tally in (recorder.journal.losses, recorder.shipper.own.rejected.counted):
        for number in range(1_000):
            name = f"{FACE}{number}{FACE * 10_000}"
            for what in (RECORD, CONTENT):
                tally.add(what, name, seq=number, call_ids=[f"{n}{name}" for n in range(20)])
    for number in range(1_000):
        note(get_settings().database, f"{FACE}{number}", "why" * 10_000, FACE * 10_000)
    recorder.shipper.life.soon()
    LLMLogger.start(model="m", messages=[])
    processes = calls.database[PROCESSES]
    nonce = recorder.constants["process_nonce"]
    until(lambda: processes.count_documents({"_id": nonce, "beat": {"$gte": 2}}))
    (kept,) = processes.find({"_id": nonce})
    assert sum(entry["count"] for entry in kept["dropped"]) >= 2_000
    assert len(bson.encode(kept)) < 2**20


def test_expired_media_of_any_shape_keep_no_others(recording: Recording, calls: Calls) -> None:
    """An entry of GridFS that holds what nobody writes is passed over, and looked at later."""
    recording()
    files = calls.database[FILES]
    ensure(calls.database, calls.name, call_indexes())
    odd = [None, 7, "text", [7], [None], {"$ne": 1}, ["$x"], [""]]
    for number, collections in enumerate([[calls.name], *odd]):
        metadata = {"uploads": [], "expires_at": NOW - timedelta(days=number)}
        files.insert_one(
            {"_id": f"{number:064x}", "metadata": metadata | {"collections": collections}}
        )
    remove_expired(calls.database, NOW)
    assert files.find_one({"_id": f"{0:064x}"}) is None
