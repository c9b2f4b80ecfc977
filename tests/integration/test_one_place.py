"""One call, one place: what is said of a call goes where it began, whatever is configured since."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE
from waiting import Calls, Recording

import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder import process

ANSWER = {"role": "assistant", "content": "a"}


@pytest.fixture
def others(calls: Calls) -> Iterator[Calls]:
    """Give the calls of another database on the same server, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield calls.database.client[name][calls.name]
    calls.database.client.drop_database(name)


def start(model: str) -> str:
    return LLMLogger.start(model=model, messages=[{"role": "user", "content": "q"}])


def test_a_call_ends_where_it_began(
    recording: Recording, calls: Calls, others: Calls, tmp_path: Path
) -> None:
    """Also after a shutdown and under another database; what begins then is recorded there."""
    recording()
    completed, failed, marked, left = map(start, ("completed", "failed", "marked", "left"))
    with LLMLogger.log_call(model="around", messages=[]) as around:
        assert llm_audit.shutdown(PATIENCE)
        llm_audit.configure(database=others.database.name)
        LLMLogger.complete(completed, response_message=ANSWER)  # before anything is recorded there
        llm_audit.configure(service="else")
        LLMLogger.complete(start("new"), response_message=ANSWER)
        LLMLogger.fail(failed, RuntimeError("boom"))
        LLMLogger.score(marked, "helpful", 1)
        LLMLogger.annotate(marked, tags=["t"])
    assert completed.wait(PATIENCE)  # type: ignore[attr-defined]
    assert llm_audit.flush(PATIENCE)
    assert {
        call["model"]: (call["status"], call["messages"] != [], call.get("service"))
        for call in calls.find()
    } == {
        "completed": ("SUCCESS", True, None),
        "failed": ("ERROR", True, None),
        "marked": ("INCOMPLETE", True, None),
        "left": ("INCOMPLETE", True, None),
        "around": ("INCOMPLETE", False, None),
    }
    scored = calls.find_one({"_id": marked})
    assert scored is not None
    assert (scored["scores"][0]["value"], scored["tags"]) == (1, ["t"])
    (new,) = others.find()
    assert (new["model"], new["status"], new["service"]) == ("new", "SUCCESS", "else")

    # the same place by another way is one place, and once more is no news
    assert llm_audit.shutdown(PATIENCE)
    llm_audit.configure(database=calls.database.name, spool_dir=tmp_path / "another spool")
    LLMLogger.complete(left, response_message=ANSWER)
    assert llm_audit.shutdown(PATIENCE)
    assert process._Home.elsewhere == {}
    assert calls.count_documents({"model": "left", "status": "SUCCESS"}) == 1
    assert (calls.count_documents({}), others.count_documents({})) == (5, 1)
    assert around not in {call["_id"] for call in others.find()}
    for spool_dir in (tmp_path / "spool", tmp_path / "another spool"):
        assert not list(spool_dir.glob("*/*/*.bson"))  # nothing waits
