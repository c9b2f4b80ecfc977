"""Two processes draw the same id: neither call goes into the other's document; both are kept."""

import json

import pytest
from children import child
from refused import content_of, refusals
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.statements.writes import ANOTHERS
from llm_audit.recorder import process
from llm_audit.recorder.retry import RetryResult
from llm_audit.settings.names import PROCESSES

# Each call is sent when it has begun, and ended in a way of its own.
TWIN = """
import json, sys
import llm_audit, llm_audit.recording
from llm_audit import LLMLogger
from llm_audit.ids import created_at
from patience import PATIENCE

at_once, apart, unended = ids = json.loads(sys.argv[1])
def record(call_id):
    drawn = call_id, int(created_at(call_id).timestamp() * 1000)
    llm_audit.recording.new_call_id = lambda: drawn
    LLMLogger.start(model="twin", messages=[{"content": {1, 2}}], metadata={"secret": 1})

for call_id in ids:
    record(call_id)
    if call_id == at_once:
        LLMLogger.complete(call_id, response_message={"content": "twin"})
    assert llm_audit.flush(PATIENCE)
LLMLogger.complete(apart, response_message={"content": "twin"})
LLMLogger.end_open_calls(None, ended_by="shutdown")
assert llm_audit.flush(PATIENCE)
assert llm_audit.stats()["superseded"] >= 1
(rejected,) = llm_audit.stats()["rejected"]
print(json.dumps([rejected["count"], rejected["reason"]]))
"""


@pytest.mark.usefixtures("recording")
def test_a_call_of_another_process_is_no_repetition(recording: Recording, calls: Calls) -> None:
    """It is found and counted, said without content, and kept; what is there stays as it is."""
    settings = recording()
    ids = [LLMLogger.start(model="first", messages=[]) for _ in range(3)]
    LLMLogger.complete(ids[0], response_message={"content": "first"})
    assert llm_audit.flush(PATIENCE)
    before = list(calls.find().sort("_id"))

    with child(TWIN, settings, json.dumps(ids)) as twin:
        output, errors = twin.communicate()
        assert twin.returncode == 0, errors
    assert json.loads(output) == [5, ANOTHERS]
    assert errors.count(ANOTHERS) == 1
    assert "secret" not in errors

    assert list(calls.find().sort("_id")) == before
    kept = refusals(calls)
    assert sorted((each["call_id"], each["reason"]) for each in kept) == sorted(
        (call_id, ANOTHERS) for call_id in [ids[0], ids[0], ids[1], ids[1], ids[2]]
    )
    said = [content_of(each) for each in kept]
    assert sum(fields.get("model") == "twin" for fields in said) == 3
    assert sum(fields.get("response_message") == {"content": "twin"} for fields in said) == 2
    (twins,) = calls.database[PROCESSES].find({"rejected.reason": ANOTHERS})
    assert twins["rejected"][0]["count"] == 5
    assert f"Ids were drawn twice ({ANOTHERS})" in str(llm_audit.doctor().problems)

    assert llm_audit.retry_rejected() == RetryResult(arrived=0, refused_again=5)
    assert list(calls.find().sort("_id")) == before

    process.stop()  # whoever records then, it is the same call
    LLMLogger.complete(ids[1], response_message={"content": "first"})
    LLMLogger.fail(ids[2], "no")
    assert llm_audit.flush(PATIENCE)
    ended = {call["_id"]: call["status"] for call in calls.find()}
    assert [ended[call_id] for call_id in ids] == ["SUCCESS", "SUCCESS", "ERROR"]
