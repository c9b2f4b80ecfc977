"""A poisoned batch: one document that MongoDB refuses keeps none of the others."""

from collections.abc import Callable

import pytest
from faults.harmed import Harmed
from faults.promises import Verdict
from faults.table import Report
from patience import LONG
from refused import refusals
from waiting import PATIENCE, Calls

import llm_audit
from llm_audit import LLMLogger

GOOD = 499
TIMES = 10 if LONG else 1
MESSAGES = [{"role": "user", "content": "hello"}]
POISON = [{"role": "user", "content": "hello", "forbidden": True}]
FAILED_VALIDATION = "code 121"  # DocumentValidationFailure, in MongoDB's error_codes.yml
ALMOST_16_MIB = "x" * (15 * 2**20)


def record() -> str:
    """Record one call to its end."""
    call_id = LLMLogger.start(model="m", messages=MESSAGES)
    LLMLogger.complete(call_id, response_message={"content": "hello"})
    return str(call_id)


def poisoned_start() -> str:
    """Record a call of which the start is refused."""
    call_id = LLMLogger.start(model="m", messages=POISON)
    LLMLogger.complete(call_id, response_message={"content": "hello"})
    return str(call_id)


def poisoned_outcome() -> str:
    """Record a call of which the end is refused."""
    call_id = LLMLogger.start(model="m", messages=MESSAGES)
    LLMLogger.complete(call_id, response_message={"content": "hello", "forbidden": True})
    return str(call_id)


def judge(calls: Calls, good: list[str], bad: list[str]) -> Verdict:
    """Compare: the good are whole, the bad are there without what was refused."""
    found = {call["_id"]: call for call in calls.find()}
    verdict = Verdict(recorded=len(good) + len(bad))
    verdict.lost = len({*good, *bad} - found.keys())
    verdict.doubled = len(found) - len(found.keys() & {*good, *bad})
    whole = {"status": "SUCCESS", "messages": MESSAGES, "response_message": {"content": "hello"}}
    verdict.wrong_status = sum(found[i]["status"] != "SUCCESS" for i in bad)
    verdict.wrong_status += sum(not whole.items() <= found[i].items() for i in good)
    return verdict


@pytest.mark.parametrize(
    ("fault", "field", "poisoned"),
    [
        ("1 of 500 starts refused by a validator", "messages", poisoned_start),
        ("1 of 500 outcomes refused by a validator", "response_message", poisoned_outcome),
    ],
)
def test_poisoned_batch(
    harmed: Harmed, report: Report, *, fault: str, field: str, poisoned: Callable[[], str]
) -> None:
    """Of 500 calls in a batch 499 arrive whole, and the one lies aside with the reason."""
    harmed.settings(batch_size=500)
    rule = {f"{field}.forbidden": {"$exists": False}}
    harmed.calls.database.create_collection(harmed.calls.name, validator=rule)
    good, bad = [], []
    for _ in range(TIMES):
        with harmed.frozen():
            good += [record() for _ in range(GOOD // 2)]
            bad.append(poisoned())
            good += [record() for _ in range(GOOD - GOOD // 2)]
        assert llm_audit.flush(PATIENCE)
    report(fault, TIMES, judge(harmed.calls, good, bad))
    kept = refusals(harmed.calls)
    assert [refusal["call_id"] for refusal in kept] == bad
    assert {refusal["reason"] for refusal in kept} == {FAILED_VALIDATION}


def test_document_of_17_mb(harmed: Harmed, report: Report) -> None:
    """An outcome that would make a document too large lies aside, and the call still ends."""
    harmed.settings(batch_size=500)
    good, bad = [], []
    for _ in range(TIMES):
        bad.append(LLMLogger.start(model="m", messages=MESSAGES))
        assert llm_audit.flush(PATIENCE)
        # somebody else fills the document, so that what is small enough for us is not for MongoDB
        harmed.calls.update_one({"_id": bad[-1]}, {"$set": {"annotation": ALMOST_16_MIB}})
        with harmed.frozen():
            LLMLogger.complete(bad[-1], response_message={"content": "not base64 " * (2**21 // 11)})
            good += [record() for _ in range(GOOD)]
        assert llm_audit.flush(PATIENCE)
    verdict = judge(harmed.calls, good, [str(call_id) for call_id in bad])
    report("document of 17 MB", TIMES, verdict)
    assert [refusal["call_id"] for refusal in refusals(harmed.calls)] == bad
