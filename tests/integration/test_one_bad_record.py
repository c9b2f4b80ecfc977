"""Whatever is wrong with one record, foreseen or not, costs that record: its neighbours arrive."""

from collections.abc import Callable
from typing import Any, NamedTuple

import bson
import pytest
from bson.errors import InvalidBSON
from dead_processes import left_behind, nothing_sent
from patience import PATIENCE
from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from refused import refusals
from waiting import Calls, Recording, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal import batches, unread
from llm_audit.journal.losses import RECORD
from llm_audit.journal.reader import JournalReader
from llm_audit.journal.records import LATER, START, Record, pack
from llm_audit.journal.segments import segment
from llm_audit.journal.statements import writes
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.statements.writes import Write
from llm_audit.journal.writer import Journal
from llm_audit.recorder import exits, process
from llm_audit.recorder.retry import RetryResult
from llm_audit.recorder.shipping import availability
from llm_audit.recorder.shipping.heartbeat import Heartbeat
from llm_audit.recorder.shipping.shipper import Shipper
from llm_audit.recorder.shipping.silence import Silence
from llm_audit.recorder.shipping.upkeep import Upkeep
from llm_audit.settings import get_settings
from llm_audit.settings.names import CHUNKS, FILES
from llm_audit.store import gridfs
from llm_audit.store.delivery import delivery, groups, isolation, sorting
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.delivery.sorting import Sorting
from llm_audit.store.delivery.verdicts import Verdicts
from llm_audit.store.refused import keeping, rejected
from llm_audit.store.refused.rejected import Rejected
from llm_audit.store.refused.waiting import files

MARK = "the bad record"
GOOD = 6  # before it, and as many after it
MESSAGES = [{"role": "user", "content": "hello"}]
ANSWER = {"role": "assistant", "content": "hello"}
ON_DATE_9999 = "e677d21f-dbff-7000-8000-000000000000"


class Step(NamedTuple):
    """A step on the way from the journal to MongoDB, and what it raises for one record."""

    of: Any
    name: str
    raises: type[BaseException] = ValueError


class PanicException(BaseException):
    """As Rust's are: no Exception."""


# Each is made to raise for whatever has to do with one call, as often as that is tried.
STEPS = [
    Step(segment, "unpack", PanicException),
    Step(unread, "made_of", PanicException),
    Step(batches, "writes_for", SystemExit),
    Step(Write, "statement", PanicException),
    Step(Rejected, "_document", PanicException),
    Step(segment, "unpack", MemoryError),
    Step(segment, "made_of", KeyError),
    Step(unread, "made_of", RecursionError),
    Step(batches, "writes_for", TypeError),
    Step(JournalReader, "_staged", KeyError),
    Step(writes, "_join"),
    Step(writes, "_on_insert", OverflowError),
    Step(writes, "start_beside", RecursionError),
    Step(groups, "apart", IndexError),
    Step(gridfs, "refer", OSError),
    Step(Retention, "expires_at", OverflowError),
    Step(Write, "statement", InvalidBSON),
    Step(Write, "after_duplicate", AssertionError),
    Step(Collection, "bulk_write", MemoryError),
    Step(Collection, "bulk_write", OperationFailure),
    Step(Delivery, "_send_group", ZeroDivisionError),
    Step(Sorting, "sort_out", KeyError),
    Step(Sorting, "_without_refused", LookupError),
    Step(Rejected, "keep", ValueError),
    Step(Rejected, "instead", TypeError),
    Step(keeping, "insert", ValueError),
    Step(rejected, "pack", ValueError),
]


class Poisoned:
    """Makes steps raise for one call."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.call_ids: set[str] = set()
        self._patch = patch

    def record(self) -> list[str]:
        """Record the bad call among good ones; return the good ones."""
        good = [one_call("hello") for _ in range(GOOD)]
        self.call_ids.add(one_call(MARK))
        return good + [one_call("hello") for _ in range(GOOD)]

    def poison(self, step: Step) -> None:
        """Have a step raise for it."""
        genuine = getattr(step.of, step.name)

        def fails(*given: Any, **named: Any) -> Any:
            if any(map(self._has_to_do, (*given, *named.values()))):
                raise step.raises(f"secret {MARK}")
            return genuine(*given, **named)

        for module in (step.of, segment, writes, batches, delivery, sorting, rejected, keeping):
            if getattr(module, step.name, None) is genuine:
                self._patch.setattr(module, step.name, fails)

    def _has_to_do(self, thing: Any) -> bool:
        if isinstance(thing, Record | Write):
            return getattr(thing, "record", thing).id in self.call_ids
        if isinstance(thing, bytes | bytearray | memoryview):
            return MARK.encode() in bytes(thing)
        if isinstance(thing, list | tuple):
            return any(map(self._has_to_do, thing))
        return any(name in repr(thing) for name in (MARK, *self.call_ids))


# In these nothing is left that could be kept in MongoDB: of bytes that cannot be read, a file.
NOT_KEPT = {"unpack", "_staged", "keep", "_document", "insert", "pack"}


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Poisoned:
    return Poisoned(monkeypatch)


def one_call(content: str) -> str:
    """Record a call to its end, with media that move to GridFS."""
    call_id = LLMLogger.start(model="m", messages=[*MESSAGES, content], metadata={"m": content})
    answer = {**ANSWER, "image": "QUJD" * 700 + content.encode().hex()}
    LLMLogger.complete(call_id, response_message=answer)
    return str(call_id)


def judge(calls: Calls, good: list[str], bad: set[str], step: Step) -> None:
    """All the good calls are whole; the bad one is accounted for, with the reason."""
    whole = {"status": "SUCCESS", "messages.0": MESSAGES[0], "response_message.content": "hello"}
    assert calls.count_documents({"_id": {"$in": good}, **whole}) == len(good), step
    kept = refusals(calls)
    assert {refusal["call_id"] for refusal in kept} <= bad, step
    reasons = [refusal["reason"] for refusal in kept]
    dropped = llm_audit.stats()["dropped"] + [
        entry
        for process in calls.database["llm_audit_processes"].find()
        for entry in process.get("dropped", [])
    ]
    reasons += [entry["reason"] for entry in dropped]
    arrived = calls.find_one({"_id": {"$in": list(bad)}, **whole})
    # where the fault is of what would set it aside, nothing need be
    assert reasons or arrived, step
    if step.name not in NOT_KEPT and not arrived:
        assert kept, (step, reasons)
    assert {reason.split(":")[0] for reason in reasons} <= {"internal", "code 11000"} | {
        step.raises.__name__,
        "media lost from the spool",
    }, (step, reasons)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.name}-{step.raises.__name__}")
def test_a_step_that_raises_for_one_record_holds_up_no_other(
    recording: Recording,
    calls: Calls,
    poisoned: Poisoned,
    step: Step,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What goes with it, before and after it arrives; of this process, and of a dead one."""
    recording(retention_days=90, strict=False, media_limit_bytes=1_000)
    with nothing_sent():
        good = poisoned.record()
        # its start and its end meet documents that are there, so that answers have to be read
        calls.insert_one({"_id": next(iter(poisoned.call_ids)), "status": "PENDING"})
        poisoned.poison(step)
    assert llm_audit.flush(PATIENCE), step
    judge(calls, good, poisoned.call_ids, step)
    more = one_call("hello")
    assert llm_audit.flush(PATIENCE), step
    judge(calls, [more], poisoned.call_ids, step)
    llm_audit.shutdown(PATIENCE)

    with left_behind():
        good = poisoned.record()
    assert llm_audit.recover(PATIENCE), step
    judge(calls, good, poisoned.call_ids, step)
    assert MARK not in caplog.text


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (Heartbeat, "show"),
        (Heartbeat, "_write"),
        (Silence, "look"),
        (Shipper, "_measure_room"),
        (Upkeep, "_bring_in_refused"),
        (exits, "listen"),
        (Journal, "deleted"),
        (Verdicts, "on"),
    ],
    ids=lambda of: getattr(of, "__name__", of),
)
def test_what_is_done_beside_holds_up_nothing(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch, of: Any, name: str
) -> None:
    """A fault in showing life, in looking after the spool or at others keeps no call waiting."""
    recording(strict=False, heartbeat_seconds=0.05, lease_seconds=1, segment_max_bytes=2_000)
    monkeypatch.setattr(of, name, raising(ZeroDivisionError()))
    call_ids = []
    for _ in range(5):
        call_ids += [one_call("hello") for _ in range(5)]
        assert llm_audit.flush(PATIENCE), name
    assert calls.count_documents({"_id": {"$in": call_ids}, "status": "SUCCESS"}) == 25


def test_a_fault_of_ours_with_every_record_keeps_the_journal(
    recording: Recording, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing can be sent, a few records are set aside and the rest waits till it can be."""
    recording(strict=False, batch_size=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Write, "statement", raising(ZeroDivisionError(MARK)))
        call_ids = [one_call("hello") for _ in range(50)]
        until(lambda: "every record fails" in caplog.text)
        assert not llm_audit.flush(0)
        assert "internal: ZeroDivisionError" in str(llm_audit.flush(0).reason)
    assert llm_audit.flush(PATIENCE)
    few = {refusal["call_id"] for refusal in refusals(calls)}
    assert len(few) <= isolation.IN_A_ROW_MAX
    assert calls.count_documents({"_id": {"$in": call_ids}, "status": "SUCCESS"}) == 50
    assert llm_audit.retry_rejected().refused_again == 0
    whole = {"_id": {"$in": call_ids}, "response_message.content": "hello"}
    assert calls.count_documents(whole) == 50
    assert MARK not in caplog.text


def test_many_bad_records_in_a_row_hold_up_nothing_for_ever(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch, poisoned: Poisoned
) -> None:
    """Whoever has found what raises cannot stop a journal with it: others prove that all works."""
    recording(strict=False)
    with nothing_sent():
        bad = {one_call(MARK) for _ in range(3 * isolation.IN_A_ROW_MAX)}
        good = one_call("hello")
        poisoned.call_ids |= bad
        poisoned.poison(Step(writes, "_on_insert"))
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": good, "status": "SUCCESS"}) == 1
    monkeypatch.setattr(isolation, "NEXT_AFTER_SECONDS", 0.001)
    monkeypatch.setattr(availability, "BACKOFF_MAX_SECONDS", 0.01)
    more = [one_call(MARK) for _ in range(3 * isolation.IN_A_ROW_MAX)]
    poisoned.call_ids |= set(more)
    assert llm_audit.flush(PATIENCE)  # nothing else is there that would prove it


def test_a_journal_of_which_nothing_can_be_sent_holds_up_no_other_journal(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a dead process's records all fail: it is left alone, and the next dead one's arrive."""
    recording(strict=False)
    monkeypatch.setattr(isolation, "IN_A_ROW_MAX", 1)
    with left_behind():
        bad = {one_call("bad") for _ in range(3)}
    with left_behind():
        good = [one_call("good") for _ in range(3)]
    statement = Write.statement

    def fails(write: Write, *given: Any, **named: Any) -> Any:
        if write.record.id in bad:
            raise ZeroDivisionError
        return statement(write, *given, **named)

    monkeypatch.setattr(Write, "statement", fails)
    mine = one_call("hello")
    llm_audit.recover(0)
    until(lambda: calls.count_documents({"_id": {"$in": good}, "status": "SUCCESS"}) == len(good))
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": mine, "status": "SUCCESS"}) == 1


def test_a_broken_record_is_not_taken_for_a_server_without_pipelines(
    recording: Recording, calls: Calls
) -> None:
    """What MongoDB says of one record's bytes says nothing of pipelines: scores go on arriving."""
    recording(strict=False)
    scored = LLMLogger.start(model="m", messages=MESSAGES)
    assert llm_audit.flush(PATIENCE)
    broken = bson.encode({"messages": ["x" * 40]}).replace(b"x" * 40, b"\xff" * 39 + b"\0")
    unknown_type = bytearray(bson.encode({"metadata": 7}))
    unknown_type[4] = 0x55
    with nothing_sent():
        recorder = process.recorder()
        for number, doc in enumerate([broken, bytes(unknown_type)]):
            recorder.journal.append(pack(LATER, str(scored), number + 1, doc), str(scored))
            recorder.journal.append(pack(START, f"bad {number}", 0, doc), "bad")
        LLMLogger.score(scored, name="helpful", value=1.0)
        good = one_call("hello")
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": good, "status": "SUCCESS"}) == 1
    assert calls.count_documents({"_id": scored, "scores.name": "helpful"}) == 1
    assert "updates that are pipelines" not in str(llm_audit.doctor().done_without)


def test_ids_of_any_instant_cost_nothing(recording: Recording, calls: Calls) -> None:
    """An id from outside may name any instant: what is reckoned with it goes to the last date."""
    ids = [
        ON_DATE_9999,
        *(f"{digits * 8}-{digits * 4}-7{digits * 3}-8000-000000000000" for digits in "01789aef"),
        *("zzzzzzzz-zzzz-7000-8000-000000000000", "7" * 36, "x", "-" * 36, "\U0001f600" * 36),
    ]
    for retention_days in (0.001, 90, 365_000):
        recording(retention_days=retention_days, strict=False, media_limit_bytes=1_000)
        for call_id in ids:
            LLMLogger.score(call_id, name="n", value=1.0)
            LLMLogger.annotate(call_id, tags=["t"])
            LLMLogger.complete(call_id, response_message={**ANSWER, "image": "QUJD" * 700})
            LLMLogger.fail(call_id, ValueError("late"))
        more = [one_call("hello") for _ in range(3)]
        assert llm_audit.flush(PATIENCE)
        assert llm_audit.stats()["rejected"] == llm_audit.stats()["dropped"] == []
        there = {call["_id"] for call in calls.find({}, {"_id": 1})}
        assert sorted({*ids, *more} - there) == []


def raising(fault: BaseException) -> Callable[..., Any]:
    def raises(*_: Any, **__: Any) -> Any:
        raise fault

    return raises


@pytest.mark.parametrize("name", [FILES, CHUNKS])
def test_a_rule_on_media_holds_up_nothing(recording: Recording, calls: Calls, name: str) -> None:
    """Media that a validator refuses wait in the spool with their record, until it is fixed."""
    recording(strict=False, media_limit_bytes=1_000, recovery_interval_seconds=0.2)
    calls.database.create_collection(name, validator={"never": {"$exists": True}})
    call_ids = [one_call("hello") for _ in range(3)]
    plain = LLMLogger.start(model="m", messages=MESSAGES)
    LLMLogger.complete(plain)
    assert llm_audit.flush(PATIENCE)
    assert calls.count_documents({"_id": {"$in": [*call_ids, plain]}, "status": "SUCCESS"}) == 4
    counted = {entry["what"]: entry for entry in llm_audit.stats()["rejected"]}
    assert (counted[RECORD]["count"], counted[RECORD]["reason"]) == (3, "code 121")
    assert llm_audit.stats()["dropped"] == []
    target = get_settings().spool_dir / get_settings().target()
    assert len(files(target)) == 3

    calls.database.command("collMod", name, validator={})
    until(lambda: files(target) == [])
    assert llm_audit.retry_rejected() == RetryResult(arrived=3, refused_again=0)
    whole = {"_id": {"$in": call_ids}, "response_message.image": {"$exists": True}}
    assert calls.count_documents(whole) == 3
