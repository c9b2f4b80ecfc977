"""What MongoDB will not take: set aside, counted and said once, and never in the way of others."""

import logging
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from pymongo.collection import Collection
from refused import content_of, raw_content_of, refusals
from waiting import PATIENCE, Call, Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMLogger, audit_context
from llm_audit.call import CallFields
from llm_audit.journal.losses import Losses
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.statements.writes import Write
from llm_audit.recorder.closing import Closing
from llm_audit.recorder.retry import RetryResult
from llm_audit.recorder.shipping import availability
from llm_audit.settings import get_settings
from llm_audit.settings.names import REJECTED
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.refused.rejected import Rejected
from llm_audit.store.refused.waiting import bring_in, files

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "rejected.md"
SECRET = "the content of a call"
MESSAGES = [{"role": "user", "content": SECRET}]
ANSWER = {"role": "assistant", "content": SECRET}

pytestmark = pytest.mark.usefixtures("recording")


def record(**given: Any) -> str:
    call_id = LLMLogger.start(model="m", messages=MESSAGES, **given)
    LLMLogger.complete(call_id, response_message=ANSWER, tokens={"total_tokens": 7})
    return call_id


def only_for(calls: Calls, rule: Call) -> None:
    """Let the collection take only what a query matches."""
    calls.database.create_collection(calls.name, validator=rule)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_refused_start_does_not_block_the_others(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Among good calls, a start that a validator refuses arrives without its content."""
    only_for(calls, {"messages.forbidden": {"$exists": False}})
    good = [record() for _ in range(5)]
    with audit_context(tags=["t"], metadata={"m": SECRET}):
        bad = LLMLogger.start(model="m", messages=[{"forbidden": SECRET}], user_id="u")
    good += [record() for _ in range(5)]
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": good}, "messages": MESSAGES}) == 10
    call = arrived(calls, bad)
    assert (call["status"], call["model"], call["user_id"]) == ("PENDING", "m", "u")
    assert call["tags"] == ["t"]
    assert not {"messages", "metadata"} & call.keys()
    assert "refused by MongoDB" in " ".join(call["encoding_notes"])
    (refused,) = llm_audit.stats()["rejected"]
    assert (refused["count"], refused["call_ids"]) == (1, [bad])
    assert len(complaints(caplog)) == 1
    CallFields.model_validate(call)


def test_what_was_refused_is_kept_with_the_reason(recording: Recording, calls: Calls) -> None:
    """The whole record is in MongoDB, with what the server said, for as long as its call."""
    recording(retention_days=7, create_collection=True)
    only_for(calls, {"messages.forbidden": {"$exists": False}})
    bad = LLMLogger.start(model="m", messages=[{"forbidden": SECRET}])
    call = arrived(calls, bad)

    (refusal,) = refusals(calls)
    assert (refusal["call_id"], refusal["collection"]) == (bad, calls.name)
    assert content_of(refusal)["messages"] == [{"forbidden": SECRET}]
    assert (refusal["reason"], refusal["detail"]) == ("code 121", "Document failed validation")
    assert refusal["process_nonce"] == call["process_nonce"]
    assert refusal["expires_at"] == call["expires_at"] > refusal["rejected_at"]
    indexes = calls.database[REJECTED].index_information()
    assert indexes["expiry"]["expireAfterSeconds"] == 0
    assert not list(get_settings().spool_dir.glob("*/rejected/*"))


def test_the_page_about_refused_records_names_every_field(
    recording: Recording, calls: Calls
) -> None:
    """What such a document holds is in the reference."""
    recording(retention_days=7, media_limit_bytes=1_000)
    only_for(calls, {"messages": {"$exists": False}})
    arrived(calls, LLMLogger.start(model="m", messages=[{"content": "QUJD" * 2_000}]))
    (refusal,) = refusals(calls)
    page = PAGE.read_text()
    assert "media" in refusal
    assert sorted(name for name in refusal if f"| `{name}` |" not in page) == []


def test_what_mongodb_will_not_even_keep_waits_in_the_spool(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """A file holds what MongoDB refuses twice, and moves once it is taken; it is counted once."""
    calls.database.create_collection(REJECTED, validator={"never": {"$exists": True}})
    only_for(calls, {"messages.forbidden": {"$exists": False}})
    bad = LLMLogger.start(model="m", messages=[{"forbidden": SECRET}])
    good = record()
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": [bad, good]}}) == 2
    (file,) = get_settings().spool_dir.glob("*/rejected/*")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert llm_audit.retry_rejected() == RetryResult(arrived=0, refused_again=1)
    assert len([line for line in complaints(caplog) if "readWrite" in line]) == 1
    (problem,) = [line for line in llm_audit.doctor().problems if str(file) in line]
    assert "readWrite" in problem

    calls.database.command("collMod", REJECTED, validator={})
    until(lambda: not file.exists())
    (refusal,) = refusals(calls)
    assert content_of(refusal)["messages"] == [{"forbidden": SECRET}]
    assert [entry["count"] for entry in llm_audit.stats()["rejected"]] == [1]


def test_one_file_in_the_spool_holds_up_no_other(
    calls: Calls, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What MongoDB takes of them moves; what it refuses, or nobody can read, is counted as left."""
    rejected = calls.database.create_collection(REJECTED, validator={"bad": {"$exists": False}})
    folder = tmp_path / "rejected"
    folder.mkdir()
    (folder / "a.1.bson").write_bytes(b"no BSON")
    for name, fields in (("b", {"bad": 1}), ("c", {}), ("d", {"bad": 1}), ("e", {})):
        (folder / f"{name}.1.bson").write_bytes(bson.encode({"_id": name, **fields}))
    connection = Connection(get_settings())

    assert bring_in(connection, tmp_path) == 3
    connection.close()
    assert {kept["_id"] for kept in rejected.find()} == {"c", "e"}
    assert [path.name[0] for path in files(tmp_path)] == ["a", "b", "d"]
    assert "cannot be read" in caplog.text


def test_what_two_bring_in_at_once_is_brought_once(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process has brought, and another has sent again, is not brought back by a third."""
    rejected = calls.database[REJECTED]
    insert_many = Collection.insert_many
    sent_again = []

    def insert_after_another(self: Calls, *args: Any, **given: Any) -> Any:
        monkeypatch.setattr(Collection, "insert_many", insert_many)
        bring_in(connection, tmp_path)
        sent_again.append(rejected.delete_many({}).deleted_count)
        return insert_many(self, *args, **given)

    (tmp_path / "rejected").mkdir()
    (tmp_path / "rejected" / "a.1.bson").write_bytes(bson.encode({"_id": "a"}))
    connection = Connection(get_settings())
    monkeypatch.setattr(Collection, "insert_many", insert_after_another)
    assert bring_in(connection, tmp_path) == 0
    connection.close()
    assert sent_again[0] + rejected.count_documents({}) == 1
    assert files(tmp_path) == []


def test_a_refused_closing_is_kept_once(calls: Calls, tmp_path: Path) -> None:
    """Whoever closes a call of the dead, however often: one document says that it is refused."""
    only_for(calls, {"status": {"$ne": "ABANDONED"}})
    calls.insert_one({"_id": "call", "process_nonce": "dead", "status": "PENDING"})
    settings = get_settings()
    connection = Connection(settings)
    for nonce in ("one", "another"):
        refusals_of = Rejected(settings, connection, ProcessFolder(tmp_path / nonce), Losses())
        delivery = Delivery(settings, connection, refusals_of, Losses())
        for _ in range(2):
            Closing(settings, connection, delivery, tmp_path).abandon(
                "dead", ended_by="worker_lost"
            )
    connection.close()
    (refusal,) = refusals(calls)
    assert (refusal["call_id"], refusal["process_nonce"]) == ("call", "one")


def test_a_refused_finish_is_replaced_by_a_bare_one(calls: Calls) -> None:
    """A call whose outcome is refused still ends, with status and tokens, and keeps its start."""
    only_for(calls, {"response_message.content": {"$ne": SECRET}})
    call = arrived(calls, record())

    assert (call["status"], call["messages"]) == ("SUCCESS", MESSAGES)
    assert call["total_tokens"] == 7
    assert "response_message" not in call
    assert "response_message" in " ".join(call["encoding_notes"])
    (refusal,) = refusals(calls)
    assert content_of(refusal)["response_message"] == ANSWER


def test_a_document_that_would_become_too_large_still_ends(calls: Calls) -> None:
    """Where others have filled the document, the outcome that no longer fits is a bare one."""
    call_id = LLMLogger.start(model="m", messages=MESSAGES)
    arrived(calls, call_id)
    calls.update_one({"_id": call_id}, {"$set": {"annotation": "x" * (14 * 2**20)}})
    message = {"role": "assistant", "content": "not base64 " * (3 * 2**20 // 11)}
    LLMLogger.complete(call_id, response_message=message)
    other = record()
    call = arrived(calls, call_id)

    assert call["status"] == "SUCCESS"
    assert "response_message" not in call
    assert arrived(calls, other)["response_message"] == ANSWER
    (refusal,) = refusals(calls)
    assert content_of(refusal)["response_message"] == message


def test_a_call_that_is_refused_even_bare_is_kept_aside(calls: Calls) -> None:
    """Where not even a bare call is taken, a note says where it lies, and others arrive."""
    only_for(calls, {"model": {"$ne": "forbidden"}})
    bad = LLMLogger.start(model="forbidden", messages=MESSAGES)
    good = record()

    call = arrived(calls, bad)
    assert "model" not in call
    assert "refused by MongoDB" in " ".join(call["encoding_notes"])
    assert arrived(calls, good)["status"] == "SUCCESS"
    (refusal,) = refusals(calls)
    assert (refusal["call_id"], content_of(refusal)["messages"]) == (bad, MESSAGES)
    (refused,) = llm_audit.stats()["rejected"]
    assert (refused["count"], refused["call_ids"]) == (1, [bad])


@pytest.mark.parametrize("alone", [False, True])
def test_a_users_unique_index_does_not_block(
    recording: Recording, calls: Calls, *, alone: bool
) -> None:
    """A duplicate in an index of the user's own is a refusal, not a reason to send again."""
    calls.create_index("metadata.order", unique=True)
    recording(batch_size=1 if alone else 500)
    first, second = record(metadata={"order": 1}), record(metadata={"order": 1})
    others = [record(metadata={"order": n}) for n in range(2, 5)]
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": [first, *others]}, "status": "SUCCESS"}) == 4
    assert {refusal["call_id"] for refusal in refusals(calls)} == {second}


@pytest.mark.parametrize("alone", [False, True])
def test_an_index_that_cannot_hold_the_call_does_not_block(
    recording: Recording, calls: Calls, *, alone: bool
) -> None:
    """A call that an index of the user's own cannot hold arrives without what it cannot hold."""
    calls.create_index([("tags", 1), ("metadata.parallel", 1)])
    recording(batch_size=1 if alone else 500)
    bad = record(tags=["a", "b"], metadata={"parallel": [1, 2]})
    good = record(tags=["a"], metadata={"parallel": 1})

    assert arrived(calls, good)["tags"] == ["a"]
    call = arrived(calls, bad)
    assert (call["status"], call["response_message"]) == ("SUCCESS", ANSWER)
    assert "metadata" not in call


@pytest.mark.parametrize("alone", [False, True])
def test_an_unknown_error_does_not_block(
    recording: Recording, calls: Calls, monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    """An error that nobody foresaw counts as a refusal after a few tries."""
    monkeypatch.setattr(availability, "BACKOFF_FIRST_SECONDS", 0.001)
    calls.create_index([("metadata.place", "2dsphere")])
    recording(batch_size=1 if alone else 500)
    bad = record(metadata={"place": "nowhere"})
    good = record()

    assert arrived(calls, good)["status"] == "SUCCESS"
    call = arrived(calls, bad)
    assert call["status"] == "SUCCESS"
    assert "metadata" not in call


def test_log_lines_never_hold_content(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    """Neither refusals nor mistakes nor double ends put what was recorded into the log."""
    only_for(calls, {"response_message.content": {"$ne": SECRET}, "model": {"$ne": SECRET}})
    caplog.set_level(logging.DEBUG, logger="llm_audit")
    llm_audit.configure(**{**dict(get_settings()), "strict": False})
    LLMLogger.complete(record(), response_message=ANSWER)
    LLMLogger.start(model=SECRET, messages=SECRET, tags=SECRET, call_type="POEM")
    LLMLogger.complete({"content": SECRET}, tokens={"prompt_tokens": SECRET}, status="open")
    assert llm_audit.flush(PATIENCE)

    assert len(caplog.records) >= 6
    assert SECRET not in caplog.text


def test_a_refused_record_that_cannot_be_kept_is_counted(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the disk does not take what MongoDB refused, it is counted, and others arrive."""
    only_for(calls, {"messages.content": {"$ne": SECRET}})
    calls.database.create_collection(REJECTED, validator={"never": {"$exists": True}})
    settings = get_settings()
    in_the_way = settings.spool_dir / settings.target() / "rejected"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    call_id = LLMLogger.start(model="m", messages=MESSAGES)
    good = LLMLogger.start(model="m", messages=[{"role": "user", "content": "fine"}])
    LLMLogger.complete(good)

    assert arrived(calls, call_id)["model"] == "m"
    assert arrived(calls, good)["status"] == "SUCCESS"
    (dropped,) = llm_audit.stats()["dropped"]
    assert (dropped["count"], dropped["call_ids"]) == (1, [call_id])
    assert SECRET not in caplog.text


def test_our_own_faults_are_logged_without_content(
    calls: Calls, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the shipper itself fails, the log says where, not what, and nothing is lost."""
    monkeypatch.setattr(availability, "BACKOFF_MAX_SECONDS", 0.01)
    statement = Write.statement

    def fails_once(*_: object, **__: object) -> None:
        monkeypatch.setattr(Write, "statement", statement)
        raise LookupError(SECRET)

    monkeypatch.setattr(Write, "statement", fails_once)
    call_id = LLMLogger.start(model="m", messages=MESSAGES)

    assert arrived(calls, call_id)["messages"] == MESSAGES
    (line,) = complaints(caplog)
    assert "LookupError" in line
    assert "delivery.py" in line
    assert SECRET not in caplog.text


def test_a_refused_record_that_python_cannot_hold_is_set_aside(calls: Calls) -> None:
    """A date beyond the year 9999 in what is refused costs its content once, and no other call."""
    only_for(calls, {"messages.forbidden": {"$exists": False}})
    forbidden = [{"forbidden": SECRET}]
    bad = LLMLogger.start(model="m", messages=forbidden, metadata={"when": DatetimeMS(2**60)})
    good = [record() for _ in range(5)]
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": good}, "status": "SUCCESS"}) == 5
    assert calls.count_documents({"_id": bad, "messages": {"$exists": False}}) == 1
    (refused,) = llm_audit.stats()["rejected"]
    assert (refused["count"], refused["call_ids"]) == (1, [bad])
    (refusal,) = refusals(calls)
    assert "metadata" in raw_content_of(refusal)


def test_refused_notes_leave_the_media_referred_to(recording: Recording, calls: Calls) -> None:
    """What a call has in GridFS is named by it, though MongoDB takes no note of how it got in."""
    recording(media_limit_bytes=1_000)
    calls.database.create_collection(calls.name, validator={"encoding_notes": {"$exists": False}})
    call = arrived(calls, LLMLogger.start(model="m", messages=[{"content": "QUJD" * 2_000}]))

    assert call["media"] == [call["messages"][0]["content"]["gridfs_id"].hex()]
    assert [entry["what"] for entry in llm_audit.stats()["rejected"]] == ["notes"]
