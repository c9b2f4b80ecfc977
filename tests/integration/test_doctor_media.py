"""What the doctor says of media: what belongs to no call is removed when asked, no more."""

from datetime import timedelta

import pytest
from waiting import PATIENCE, Calls, Recording, arrived

import llm_audit
from llm_audit import LLMLogger
from llm_audit.diagnosis import doctor
from llm_audit.references import CallReference


@pytest.fixture(autouse=True)
def small_media(recording: Recording) -> None:
    """Let little content be large enough for GridFS."""
    recording(media_limit_bytes=1000)


@pytest.fixture
def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take media for left over as soon as no call refers to them, not an hour later."""
    monkeypatch.setattr(doctor, "UPLOADED_LONG_AGO", timedelta(hours=-1))


def record(data: bytes = b"x" * 2000) -> CallReference:
    return LLMLogger.start(model="m", messages=[{"role": "user", "content": {"data": data}}])


def problems_about(text: str) -> list[str]:
    return [problem for problem in llm_audit.doctor().problems if text in problem]


@pytest.mark.usefixtures("an_hour_later")
def test_unreferenced_media_are_removed(calls: Calls) -> None:
    """Media that no call refers to are named; `clean` removes these and no others."""
    kept, deleted = record(), record(b"y" * 2000)
    (orphan,) = arrived(calls, deleted)["media"]
    calls.delete_one({"_id": deleted})

    assert llm_audit.doctor().unreferenced_media == [orphan]
    assert len(problems_about("clean=True")) == 1
    cleaned = llm_audit.doctor(clean=True)
    assert (cleaned.cleaned, cleaned.unreferenced_media) == ([orphan], [])
    assert not [problem for problem in cleaned.problems if "GridFS" in problem]

    assert llm_audit.doctor().unreferenced_media == []
    assert llm_audit.doctor(clean=True).cleaned == []
    files = {file["_id"] for file in calls.database["fs.files"].find({}, {"_id": 1})}
    assert files == set(arrived(calls, kept)["media"])
    assert {chunk["files_id"] for chunk in calls.database["fs.chunks"].find()} == files


def test_media_of_calls_on_their_way_are_left_alone(calls: Calls) -> None:
    """What was uploaded less than an hour ago may belong to a call that is still on its way."""
    call_id = record()
    (sha256,) = arrived(calls, call_id)["media"]
    calls.delete_one({"_id": call_id})
    assert llm_audit.doctor(clean=True).cleaned == []
    assert calls.database["fs.files"].count_documents({"_id": sha256}) == 1


def test_missing_media_are_named(calls: Calls) -> None:
    """Calls whose media somebody removed from GridFS are named with what they lack."""
    call_id = record()
    (sha256,) = arrived(calls, call_id)["media"]
    calls.database["fs.files"].delete_one({"_id": sha256})
    assert llm_audit.doctor().calls_without_media == {call_id: [sha256]}
    assert len(problems_about("missing in GridFS")) == 1
    for odd in ({"length": "long", "chunkSize": 5}, {"length": 5}, {"length": 5, "chunkSize": {}}):
        calls.database["fs.files"].replace_one({"_id": sha256}, odd, upsert=True)
        assert llm_audit.doctor().calls_without_media == {call_id: [sha256]}, odd


def test_altered_media_are_named(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content that is not what was recorded is found, as far as it is read; all on request."""
    whole, altered = record(b"y" * 2000), record(b"x" * 2000)
    (sha256,) = arrived(calls, altered)["media"]
    arrived(calls, whole)
    assert llm_audit.doctor().checked_media == 2
    assert problems_about("sha256") == []

    chunk = {"files_id": sha256}
    calls.database["fs.chunks"].update_one(chunk, {"$set": {"data": b"x" * 1999 + b"z"}})
    calls.update_one({"_id": whole}, {"$push": {"media": {"$each": [{"$gt": ""}, 5]}}})
    diagnosis = llm_audit.doctor()
    assert (diagnosis.altered_media, diagnosis.unchecked_media) == ({altered: [sha256]}, 0)
    assert len(problems_about("another sha256")) == 1

    monkeypatch.setattr(doctor, "MEDIA_BYTES", 1)
    some, everything = llm_audit.doctor(), llm_audit.doctor(all_media=True)
    assert (some.checked_media, some.unchecked_media) == (1, 1)
    assert (everything.checked_media, everything.unchecked_media) == (2, 0)
    assert everything.altered_media == {altered: [sha256]}


@pytest.mark.usefixtures("an_hour_later")
def test_media_of_what_was_refused_come_back(calls: Calls) -> None:
    """Media of a record that was refused stay as long as it is kept, whatever is cleaned."""
    rule = {"messages.0.role": {"$ne": "user"}, "messages": {"$exists": True}}
    calls.database.create_collection(calls.name, validator=rule)  # not even a bare call is taken
    call_id = record()
    assert llm_audit.flush(PATIENCE)
    assert llm_audit.doctor(clean=True).cleaned == []

    calls.database.command("collMod", calls.name, validator={})
    assert llm_audit.retry_rejected().arrived == 1
    (sha256,) = arrived(calls, call_id)["media"]
    assert calls.database["fs.files"].count_documents({"_id": sha256}) == 1
