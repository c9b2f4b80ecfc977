"""What MongoDB refused is sent again once its rules are mended, and the call is whole then."""

import base64
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import gridfs
import pymongo
import pytest
from waiting import PATIENCE, Call, Calls, Recording, arrived

import llm_audit
from llm_audit import LLMLogger, UnavailableError, embedded
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.recorder.retry import RetryResult
from llm_audit.settings import get_settings

MESSAGES = [{"role": "user", "content": "fine"}]
FORBIDDEN = [{"role": "user", "content": "fine", "forbidden": True}]
ANSWER = {"role": "assistant", "content": "fine"}
FORBIDDEN_ANSWER = {"role": "assistant", "content": "fine", "forbidden": True}
RULE = {"messages.forbidden": {"$exists": False}, "response_message.forbidden": {"$exists": False}}
NONE_LEFT = RetryResult(arrived=0, refused_again=0)

pytestmark = pytest.mark.usefixtures("recording")


@pytest.fixture
def strict_calls(calls: Calls) -> Calls:
    """Give a collection that does not take what is forbidden."""
    calls.database.create_collection(calls.name, validator=RULE)
    return calls


def mend(calls: Calls, rule: Call | None = None) -> None:
    """Let the collection take everything, or what another rule allows."""
    calls.database.command("collMod", calls.name, validator=rule or {})


def record(messages: list[Call] = FORBIDDEN, answer: Call = FORBIDDEN_ANSWER, **given: Any) -> str:
    call_id = LLMLogger.start(model="m", messages=messages, **given)
    LLMLogger.complete(call_id, response_message=answer, tokens={"total_tokens": 7})
    return call_id


def rejected_files() -> list[Path]:
    return sorted(get_settings().spool_dir.glob("*/rejected/*"))


def notes(call: Call) -> str:
    return " ".join(call.get("encoding_notes", []))


def test_a_mended_call_is_whole(strict_calls: Calls) -> None:
    """Once the collection takes it, the call has its content back and no note of a refusal."""
    call_id = record(user_id="u")
    refused = arrived(strict_calls, call_id)
    assert not {"messages", "response_message"} & refused.keys()
    assert "refused by MongoDB" in notes(refused)

    mend(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=2, refused_again=0)

    call = arrived(strict_calls, call_id)
    assert (call["messages"], call["response_message"]) == (FORBIDDEN, FORBIDDEN_ANSWER)
    assert (call["status"], call["total_tokens"], call["user_id"]) == ("SUCCESS", 7, "u")
    assert "refused by MongoDB" not in notes(call)
    assert call["outcome_key"] == refused["outcome_key"]
    assert rejected_files() == []
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

    mend(strict_calls)
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

    mend(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=2, refused_again=0)
    call = arrived(strict_calls, call_id)
    assert call["encoding_notes"] == encoded
    assert call["metadata"] == {"labels": ["only one"]}


def test_an_outcome_from_elsewhere_comes_back(strict_calls: Calls) -> None:
    """The bare outcome of a call that was started elsewhere yields to the whole one."""
    call_id = str(uuid.uuid4())
    LLMLogger.complete(call_id, response_message=FORBIDDEN_ANSWER)
    assert "response_message" not in arrived(strict_calls, call_id)

    mend(strict_calls)
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

    mend(strict_calls)
    llm_audit.retry_rejected()
    call = arrived(strict_calls, call_id)
    assert call["status"] == "ERROR"
    assert "response_message" not in call
    assert rejected_files() == []


def test_the_owners_outcome_stands(strict_calls: Calls) -> None:
    """An abandonment that was noted meanwhile yields to the refused outcome of the owner."""
    call_id = record(MESSAGES, FORBIDDEN_ANSWER)
    arrived(strict_calls, call_id)
    inferred = {"status": "ABANDONED", "outcome_key": outcome_key(Rank.INFERENCE, 1.0)}
    strict_calls.update_one({"_id": call_id}, {"$set": {**inferred, "ended_by": "lease_expired"}})

    mend(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    call = arrived(strict_calls, call_id)
    assert (call["status"], call["response_message"]) == ("SUCCESS", FORBIDDEN_ANSWER)
    assert call["outcome_key"] > outcome_key(Rank.ELSEWHERE, 0)
    assert "ended_by" not in call


def test_media_come_back_too(recording: Recording, strict_calls: Calls) -> None:
    """Media of a refused call are in GridFS, and once it is mended the call refers to them."""
    recording(media_limit_bytes=1000)
    data = base64.b64encode(bytes(range(256)) * 16).decode()
    url = f"data:image/png;base64,{data}"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    call_id = record([{"role": "user", "content": content, "forbidden": True}], ANSWER)
    arrived(strict_calls, call_id)

    mend(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    (file,) = gridfs.GridFSBucket(strict_calls.database).find({})
    assert str(file._id) in str(arrived(strict_calls, call_id)["messages"])


def test_what_is_refused_again_is_kept_again(strict_calls: Calls) -> None:
    """What MongoDB still does not take stays in the rejected journal until it does."""
    first = record(FORBIDDEN, ANSWER)
    second = record(MESSAGES, FORBIDDEN_ANSWER)
    assert llm_audit.flush(PATIENCE)
    assert llm_audit.retry_rejected() == RetryResult(arrived=0, refused_again=2)
    for call_id, missing in ((first, "messages"), (second, "response_message")):
        call = arrived(strict_calls, call_id)
        assert missing not in call
        assert len([note for note in call["encoding_notes"] if missing in note]) == 1

    mend(strict_calls, {"response_message.forbidden": {"$exists": False}})
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=1)
    assert arrived(strict_calls, first)["messages"] == FORBIDDEN
    (file,) = rejected_files()
    (refusal,) = bson.decode_all(file.read_bytes())
    assert refusal["record"]["id"] == second
    assert "121" in refusal["reason"]

    mend(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    assert arrived(strict_calls, second)["response_message"] == FORBIDDEN_ANSWER
    assert rejected_files() == []


def test_a_record_with_notes_is_one_record(calls: Calls) -> None:
    """Where neither a start nor its notes are taken, one record is kept, and sent again once."""
    rule = {"messages": {"$exists": True}, **RULE}  # so not even a bare call is taken
    calls.database.create_collection(calls.name, validator=rule)
    LLMLogger.start(model="m", messages=FORBIDDEN, metadata={"labels": {"only one"}})
    assert llm_audit.flush(PATIENCE)
    (file,) = rejected_files()
    assert len(bson.decode_all(file.read_bytes())) == 1
    assert [entry["count"] for entry in llm_audit.stats()["rejected"]] == [1]
    assert llm_audit.retry_rejected() == RetryResult(arrived=0, refused_again=1)

    mend(calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)


@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_a_damaged_file_is_left(
    recording: Recording, strict_calls: Calls, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    """A file that cannot be read stays as it is, the log names it, and the others are sent."""
    bad = record(FORBIDDEN, ANSWER)
    arrived(strict_calls, bad)
    (damaged,) = rejected_files()
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-5] if harm == "cut" else b"\xff\xff" + content[2:])
    left = damaged.read_bytes()

    recording(service="another recorder")
    other = record(FORBIDDEN, ANSWER)
    arrived(strict_calls, other)
    assert len(rejected_files()) == 2

    mend(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    assert arrived(strict_calls, other)["messages"] == FORBIDDEN
    assert rejected_files() == [damaged]
    assert damaged.read_bytes() == left
    assert damaged.name in caplog.text


def test_recording_goes_on_meanwhile(strict_calls: Calls) -> None:
    """The process that has been refused something may retry, and goes on keeping refusals."""
    first = record(FORBIDDEN, ANSWER)
    arrived(strict_calls, first)
    mend(strict_calls)
    assert llm_audit.retry_rejected().arrived == 1
    mend(strict_calls, RULE)
    second = record(FORBIDDEN, ANSWER)
    arrived(strict_calls, second)
    mend(strict_calls)
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    assert strict_calls.count_documents({"messages": FORBIDDEN}) == 2


def test_nothing_there(recording: Recording) -> None:
    """Where nothing was refused there is nothing to send, and MongoDB is not even asked."""
    recording(mongo_url="mongodb://127.0.0.1:9")
    assert llm_audit.retry_rejected() == NONE_LEFT


@pytest.fixture
def server() -> Iterator[embedded.Mongod]:
    """Run a mongod that may be killed."""
    with embedded.Mongod() as server:
        yield server


def test_without_mongodb(recording: Recording, server: embedded.Mongod) -> None:
    """With MongoDB away the error says so, and the file is as it was."""
    settings = recording(mongo_url=server.url)
    with pymongo.MongoClient(server.url) as client:
        client[settings.database].create_collection("llm_calls", validator=RULE)
        call_id = record(FORBIDDEN, ANSWER)
        assert llm_audit.flush(PATIENCE)
        (file,) = rejected_files()
        content = file.read_bytes()
        server.kill()
        with pytest.raises(UnavailableError):
            llm_audit.retry_rejected()
        assert rejected_files() == [file]
        assert file.read_bytes() == content

        server.restart()
        calls = client[settings.database]["llm_calls"]
        mend(calls)
        assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
        assert arrived(calls, call_id)["messages"] == FORBIDDEN
