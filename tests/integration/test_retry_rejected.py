"""What MongoDB refused is sent again once its rules are fixed, and the call is whole then."""

import base64
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import gridfs
import pymongo
import pytest
from agents_running import agent
from children import child
from pymongo.collection import Collection
from refused import refusals
from waiting import PATIENCE, Call, Calls, Recording, arrived

import llm_audit
from llm_audit import LLMLogger, SyncLLMCallRepository, UnavailableError, embedded
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.recorder.retry import RetryResult
from llm_audit.settings import get_settings
from llm_audit.settings.fields import ShippedBy
from llm_audit.settings.names import PROCESSES, REJECTED

MESSAGES = [{"role": "user", "content": "fine"}]
FORBIDDEN = [{"role": "user", "content": "fine", "forbidden": True}]
ANSWER = {"role": "assistant", "content": "fine"}
FORBIDDEN_ANSWER = {"role": "assistant", "content": "fine", "forbidden": True}
RULE = {"messages.forbidden": {"$exists": False}, "response_message.forbidden": {"$exists": False}}
# Sends again what was refused, and is killed when that has arrived.
DIE_BEFORE_FORGETTING = """
import os, signal
import llm_audit
from pymongo.collection import Collection

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

Collection.delete_many = die
llm_audit.retry_rejected()
"""
NONE_LEFT = RetryResult(arrived=0, refused_again=0)

pytestmark = pytest.mark.usefixtures("recording")


@pytest.fixture
def strict_calls(calls: Calls) -> Calls:
    """Give a collection that does not take what is forbidden."""
    calls.database.create_collection(calls.name, validator=RULE)
    return calls


def fix(calls: Calls, rule: Call | None = None) -> None:
    """Let the collection take everything, or what another rule allows."""
    calls.database.command("collMod", calls.name, validator=rule or {})


def record(messages: list[Call] = FORBIDDEN, answer: Call = FORBIDDEN_ANSWER, **given: Any) -> str:
    call_id = LLMLogger.start(model="m", messages=messages, **given)
    LLMLogger.complete(call_id, response_message=answer, tokens={"total_tokens": 7})
    return call_id


def notes(call: Call) -> str:
    return " ".join(call.get("encoding_notes", []))


def test_a_mended_call_is_whole(strict_calls: Calls) -> None:
    """Once the collection takes it, the call has its content back and no note of a refusal."""
    call_id = record(user_id="u")
    refused = arrived(strict_calls, call_id)
    assert not {"messages", "response_message"} & refused.keys()
    assert "refused by MongoDB" in notes(refused)

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=2, refused_again=0)

    call = arrived(strict_calls, call_id)
    assert (call["messages"], call["response_message"]) == (FORBIDDEN, FORBIDDEN_ANSWER)
    assert (call["status"], call["total_tokens"], call["user_id"]) == ("SUCCESS", 7, "u")
    assert "refused by MongoDB" not in notes(call)
    assert call["outcome_key"] == refused["outcome_key"]
    assert refusals(strict_calls) == []
    assert llm_audit.retry_rejected() == NONE_LEFT
    assert strict_calls.count_documents({}) == 1


@pytest.mark.parametrize("batch_size", [1, 500])
def test_only_what_was_refused_is_touched(
    recording: Recording, strict_calls: Calls, batch_size: int
) -> None:
    """Many refused calls among good ones come back, and the good ones stay as they were."""
    recording(batch_size=batch_size)
    good = [record(MESSAGES, ANSWER) for _ in range(5)]
    bad = [record(FORBIDDEN, ANSWER) for _ in range(5)] + [
        record(MESSAGES, FORBIDDEN_ANSWER) for _ in range(5)
    ]
    assert llm_audit.flush(PATIENCE)
    before = list(strict_calls.find({"_id": {"$in": good}}).sort("_id"))

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=10, refused_again=0)
    whole = {"messages": {"$exists": True}, "response_message": {"$exists": True}}
    assert strict_calls.count_documents({"_id": {"$in": bad}, **whole}) == 10
    assert list(strict_calls.find({"_id": {"$in": good}}).sort("_id")) == before


def test_other_notes_stay(strict_calls: Calls) -> None:
    """Only the note of the refusal goes; what encoding had to change is still said, once."""
    call_id = record(metadata={"labels": {"only one"}})
    refused = arrived(strict_calls, call_id)
    encoded = [note for note in refused["encoding_notes"] if "refused" not in note]
    assert encoded

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=2, refused_again=0)
    call = arrived(strict_calls, call_id)
    assert call["encoding_notes"] == encoded
    assert call["metadata"] == {"labels": ["only one"]}


def test_an_outcome_from_elsewhere_comes_back(strict_calls: Calls) -> None:
    """The bare outcome of a call that was started elsewhere yields to the whole one."""
    call_id = str(uuid.uuid4())
    LLMLogger.complete(call_id, response_message=FORBIDDEN_ANSWER)
    assert "response_message" not in arrived(strict_calls, call_id)

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    call = arrived(strict_calls, call_id)
    assert (call["status"], call["response_message"]) == ("SUCCESS", FORBIDDEN_ANSWER)
    assert "refused by MongoDB" not in notes(call)


def test_an_outcome_of_higher_precedence_stands(strict_calls: Calls) -> None:
    """What the owner has said meanwhile is not overwritten by an outcome from elsewhere."""
    call_id = str(uuid.uuid4())
    LLMLogger.complete(call_id, response_message=FORBIDDEN_ANSWER)
    arrived(strict_calls, call_id)
    owners = {"status": "ERROR", "outcome_key": outcome_key(Rank.OWNER, 1.0)}
    strict_calls.update_one({"_id": call_id}, {"$set": owners})

    fix(strict_calls)
    llm_audit.retry_rejected()
    call = arrived(strict_calls, call_id)
    assert call["status"] == "ERROR"
    assert "response_message" not in call
    assert refusals(strict_calls) == []


def test_the_owners_outcome_stands(strict_calls: Calls) -> None:
    """An abandonment that was noted meanwhile yields to the refused outcome of the owner."""
    call_id = record(MESSAGES, FORBIDDEN_ANSWER)
    arrived(strict_calls, call_id)
    inferred = {"status": "ABANDONED", "outcome_key": outcome_key(Rank.INFERENCE, 1.0)}
    strict_calls.update_one({"_id": call_id}, {"$set": {**inferred, "ended_by": "lease_expired"}})

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    call = arrived(strict_calls, call_id)
    assert (call["status"], call["response_message"]) == ("SUCCESS", FORBIDDEN_ANSWER)
    assert call["outcome_key"] > outcome_key(Rank.ELSEWHERE, 0)
    assert "ended_by" not in call


def test_another_machine_may_send_it(
    recording: Recording, strict_calls: Calls, tmp_path: Path
) -> None:
    """Whoever has the settings finds what was refused, media too, though the spool is gone."""
    recording(media_limit_bytes=1000)
    data = base64.b64encode(bytes(range(256)) * 16).decode()
    url = f"data:image/png;base64,{data}"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    call_id = record([{"role": "user", "content": content, "forbidden": True}], ANSWER)
    arrived(strict_calls, call_id)
    assert llm_audit.shutdown(PATIENCE)
    shutil.rmtree(get_settings().spool_dir)

    fix(strict_calls)
    recording(spool_dir=tmp_path / "elsewhere")
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    (file,) = gridfs.GridFSBucket(strict_calls.database).find({})
    assert arrived(strict_calls, call_id)["media"] == [file._id]


def test_what_waited_in_the_spool_is_whole(recording: Recording, strict_calls: Calls) -> None:
    """What MongoDB would not even keep comes back with its media, also if GridFS has lost them."""
    recording(media_limit_bytes=1000)
    database = strict_calls.database
    database.create_collection(REJECTED, validator={"never": {"$exists": True}})
    content = "QUJD" * 2_000
    call_id = record([{"role": "user", "content": content, "forbidden": True}], ANSWER)
    arrived(strict_calls, call_id)
    for name in ("fs.files", "fs.chunks"):
        database.drop_collection(name)

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=0, refused_again=1)
    database.command("collMod", REJECTED, validator={})
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    arrived(strict_calls, call_id)
    call = SyncLLMCallRepository(strict_calls).get(call_id, with_media=True)
    assert call is not None
    assert call.messages is not None
    assert call.messages[0]["content"] == content
    assert not list(get_settings().spool_dir.glob("*/rejected/*"))


@pytest.mark.parametrize("shipper", ["thread", "agent"])
def test_what_waited_is_found_whoever_has_shipped_it(
    recording: Recording, strict_calls: Calls, shipper: ShippedBy
) -> None:
    """Also after a move from threads to an agent, and whatever is set where the retry is made."""
    settings = recording(shipper=shipper)
    database = strict_calls.database
    database.create_collection(REJECTED, validator={"never": {"$exists": True}})
    with agent(settings, complains=True) if shipper == "agent" else nullcontext():
        call_id = record(FORBIDDEN, ANSWER)
        arrived(strict_calls, call_id)
    (waits,) = settings.spool_dir.glob("*/rejected/*.bson")
    assert waits.parent.parent.name == settings.target(shipper)

    fix(strict_calls)
    database.command("collMod", REJECTED, validator={})
    recording(shipper="agent" if shipper == "thread" else "thread")
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    (call,) = strict_calls.find()
    assert (call["_id"], call["messages"]) == (call_id, FORBIDDEN)


def test_a_retry_while_it_is_shipped(strict_calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as a record is kept it may be sent again: nothing that is on its way undoes that."""
    insert_many = Collection.insert_many
    results = []

    def keep_and_retry(self: Calls, *args: Any, **given: Any) -> Any:
        result = insert_many(self, *args, **given)
        fix(strict_calls)
        results.append(llm_audit.retry_rejected())
        return result

    monkeypatch.setattr(Collection, "insert_many", keep_and_retry)
    call_id = record()
    assert llm_audit.flush(PATIENCE)
    call = arrived(strict_calls, call_id)
    assert (call["messages"], call["response_message"]) == (FORBIDDEN, FORBIDDEN_ANSWER)
    assert "refused by MongoDB" not in notes(call)
    assert results == [RetryResult(arrived=2, refused_again=0)]


def test_every_note_of_a_refusal_goes(strict_calls: Calls) -> None:
    """A record refused several times, for several reasons, has no note of any in the end."""
    call_id = record(FORBIDDEN, ANSWER)
    (note,) = arrived(strict_calls, call_id)["encoding_notes"]
    earlier = f"{note.rpartition(': ')[0]}: code 10334"
    strict_calls.update_one({"_id": call_id}, {"$push": {"encoding_notes": earlier}})

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    assert arrived(strict_calls, call_id)["encoding_notes"] == []


def test_what_is_refused_again_stays(strict_calls: Calls) -> None:
    """What MongoDB still does not take is kept until it does, and its call is left as it is."""
    first = record(FORBIDDEN, ANSWER)
    second = record(MESSAGES, FORBIDDEN_ANSWER)
    assert llm_audit.flush(PATIENCE)
    kept, before = refusals(strict_calls), list(strict_calls.find())
    assert llm_audit.retry_rejected() == RetryResult(arrived=0, refused_again=2)
    assert (refusals(strict_calls), list(strict_calls.find())) == (kept, before)

    fix(strict_calls, {"response_message.forbidden": {"$exists": False}})
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=1)
    assert arrived(strict_calls, first)["messages"] == FORBIDDEN
    (refusal,) = refusals(strict_calls)
    assert refusal["call_id"] == second

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    assert arrived(strict_calls, second)["response_message"] == FORBIDDEN_ANSWER
    assert refusals(strict_calls) == []


def test_several_machines_at_once(recording: Recording, strict_calls: Calls) -> None:
    """Whoever sends a record, and however often, it arrives once and is counted once."""
    ids = [record(FORBIDDEN, FORBIDDEN_ANSWER) for _ in range(200)]
    assert llm_audit.flush(PATIENCE)
    fix(strict_calls)
    script = "import llm_audit; print(llm_audit.retry_rejected().arrived)"
    settings = recording(batch_size=20)
    with ExitStack() as stack:
        machines = [stack.enter_context(child(script, settings)) for _ in range(3)]
        outputs = [machine.communicate() for machine in machines]

    assert sum(int(arrived) for arrived, _ in outputs) == 400
    assert {call["_id"] for call in strict_calls.find({"messages": FORBIDDEN})} == set(ids)
    assert not any(notes(call) for call in strict_calls.find())
    assert [about["retried"] for about in strict_calls.database[PROCESSES].find()] == [400]
    assert refusals(strict_calls) == []


def test_one_that_is_killed_at_it(recording: Recording, strict_calls: Calls) -> None:
    """A retry that could not forget what has arrived is done again, and changes nothing."""
    call_id = record(FORBIDDEN, FORBIDDEN_ANSWER)
    arrived(strict_calls, call_id)
    fix(strict_calls)
    with child(DIE_BEFORE_FORGETTING, recording()) as machine:
        assert machine.wait(PATIENCE) == -9
    whole = arrived(strict_calls, call_id)
    assert whole["messages"] == FORBIDDEN
    assert len(refusals(strict_calls)) == 2

    assert llm_audit.retry_rejected() == RetryResult(arrived=2, refused_again=0)
    assert list(strict_calls.find()) == [whole]


def test_a_record_with_notes_is_one_record(calls: Calls) -> None:
    """Where neither a start nor its notes are taken, one record is kept, and sent again once."""
    rule = {"messages": {"$exists": True}, **RULE}  # so not even a bare call is taken
    calls.database.create_collection(calls.name, validator=rule)
    LLMLogger.start(model="m", messages=FORBIDDEN, metadata={"labels": {"only one"}})
    assert llm_audit.flush(PATIENCE)
    assert len(refusals(calls)) == 1
    assert [entry["count"] for entry in llm_audit.stats()["rejected"]] == [1]
    assert llm_audit.retry_rejected() == RetryResult(arrived=0, refused_again=1)

    fix(calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)


def test_what_cannot_be_read_is_left(strict_calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    """A record that somebody has damaged stays as it is, and the others are sent."""
    bad, other = record(FORBIDDEN, ANSWER), record(FORBIDDEN, ANSWER)
    assert llm_audit.flush(PATIENCE)
    (refusal, _) = refusals(strict_calls)
    assert refusal["call_id"] == bad
    record_bytes = bytearray(refusal["record"])
    record_bytes[-10] ^= 1
    rejected = strict_calls.database[REJECTED]
    rejected.update_one({"_id": refusal["_id"]}, {"$set": {"record": bytes(record_bytes)}})

    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    assert arrived(strict_calls, other)["messages"] == FORBIDDEN
    assert [kept["call_id"] for kept in refusals(strict_calls)] == [bad]
    assert "cannot be read" in caplog.text


def test_recording_goes_on_meanwhile(strict_calls: Calls) -> None:
    """The process that has been refused something may retry, and goes on keeping refusals."""
    first = record(FORBIDDEN, ANSWER)
    arrived(strict_calls, first)
    fix(strict_calls)
    assert llm_audit.retry_rejected().arrived == 1
    fix(strict_calls, RULE)
    second = record(FORBIDDEN, ANSWER)
    arrived(strict_calls, second)
    fix(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    assert strict_calls.count_documents({"messages": FORBIDDEN}) == 2


@pytest.mark.usefixtures("calls")
def test_nothing_there() -> None:
    """Where nothing was refused there is nothing to send."""
    assert llm_audit.retry_rejected() == NONE_LEFT


@pytest.fixture
def server() -> Iterator[embedded.Mongod]:
    """Run a mongod that may be killed."""
    with embedded.Mongod() as server:
        yield server


def test_without_mongodb(recording: Recording, server: embedded.Mongod) -> None:
    """With MongoDB away the error says so; what is kept there is sent once it is back."""
    settings = recording(mongo_url=server.url)
    with pymongo.MongoClient(server.url) as client:
        client[settings.database].create_collection("llm_calls", validator=RULE)
        call_id = record(FORBIDDEN, ANSWER)
        assert llm_audit.flush(PATIENCE)
        server.kill()
        with pytest.raises(UnavailableError):
            llm_audit.retry_rejected()

        server.restart()
        calls = client[settings.database]["llm_calls"]
        fix(calls)
        assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
        assert arrived(calls, call_id)["messages"] == FORBIDDEN
