"""Large content: recorded, in GridFS once, read back whole, whoever was killed in between."""

import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from bson import json_util
from children import child
from faults.refusing import Refusal, refusing
from large_content import IMAGE, counts, sha256_of, start, stored
from nowhere import NOWHERE
from waiting import PATIENCE, Call, Calls, Recording, arrived, until

import llm_audit
from llm_audit import (
    LLMCall,
    LLMCallRepository,
    LLMLogger,
    SyncLLMCallRepository,
    UnavailableError,
    embedded,
)
from llm_audit.encoding.moved import reference_in
from llm_audit.settings.names import PROCESSES
from llm_audit.store.indexes import MEDIA_INDEX, call_indexes
from llm_audit.store.media import find_missing, find_unreferenced, remove

NOW = timedelta(0)

# Dies just before the given command is sent to the given collection for the given time.
RECORD_UNTIL = """
import os, signal, sys
from pymongo import monitoring
from llm_audit import LLMLogger, flush
from patience import PATIENCE

name, collection, times = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Kill(monitoring.CommandListener):
    def started(self, event):
        global times
        if event.command_name == name and event.command[name] == collection:
            times -= 1
            if times == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    def succeeded(self, event): pass
    def failed(self, event): pass

monitoring.register(Kill())
image = "QUJD" * (3 * 2**20)
message = {"role": "user", "image": image}
print(LLMLogger.start(model="m", messages=[message]), flush=True)
flush(PATIENCE)
"""
BEFORE = {
    "the upload": ("update", "fs.chunks", 1),
    "the last chunks": ("update", "fs.chunks", 3),
    "the entry": ("findAndModify", "fs.files", 1),
    "the call": ("insert", "llm_calls", 1),
}
LARGE = "QUJD" * (3 * 2**20)

pytestmark = pytest.mark.usefixtures("recording")


@pytest_asyncio.fixture
async def bound(recording: Recording) -> AsyncIterator[None]:
    """Bind LLMCall to the test's own database."""
    recording()
    database = await llm_audit.init()
    yield
    await database.client.close()


def sent(calls: Calls, collection: str) -> int:
    """Return how many writes a collection has seen since profiling began."""
    return calls.database["system.profile"].count_documents(
        {
            "ns": f"{calls.database.name}.{collection}",
            "op": {"$in": ["update", "insert", "command"]},
        }
    )


def record_until_killed(recording: Recording, calls: Calls, moment: str) -> str:
    """Record in a process that dies at that moment, and return the call's id."""
    name, collection, times = BEFORE[moment]
    with child(RECORD_UNTIL, recording(), name, collection, str(times)) as process:
        call_id = process.stdout.readline().strip()
        process.wait(PATIENCE)
        assert calls.count_documents({}) == 0
        return call_id


def arrived_with(calls: Calls, call_id: str) -> Call:
    """Wait for a call of another process, with its media."""
    until(lambda: calls.find_one({"_id": call_id, "media": {"$exists": True}}))
    return arrived(calls, call_id)


def forget_spool(recording: Recording) -> None:
    shutil.rmtree(recording().spool_dir)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"messages": [{"image": "data:image/png;base64," + "QUJD" * (10 * 2**20)}]}, "a cat"),
        ({"system_prompt": "prose " * (2 * 2**20)}, "prose too " * (6 * 2**20 // 10)),
        (
            {"tools": [{"n": n, "image": IMAGE if n == 7 else "x" * 300} for n in range(40_000)]},
            "an image in a moved list",
        ),
        ({"metadata": {"schema": {"$ref": "a", "$id": "b"}, "image": IMAGE}}, "a strange key"),
    ],
    ids=["40 MB image", "12 MB prompt, 6 MB answer", "nested", "renamed key"],
)
@pytest.mark.usefixtures("bound")
async def test_a_call_comes_back_whole(calls: Calls, fields: dict[str, Any], answer: str) -> None:
    """With its media, a call is read as it was recorded, by async and by sync code."""
    response_message = {"role": "assistant", "content": answer}
    call_id = start(**fields)
    LLMLogger.complete(call_id, response_message=response_message)
    arrived(calls, call_id)

    call = await LLMCallRepository.get(call_id, with_media=True)
    assert isinstance(call, LLMCall)
    assert call.id == call_id
    assert {name: getattr(call, name) for name in fields} == fields
    assert call.response_message == response_message
    assert SyncLLMCallRepository(calls).get(call_id, with_media=True) == call
    assert all(len(stored(calls, sha256)) > 100_000 for sha256 in call.media)


def test_every_question_takes_a_call_with_media(calls: Calls) -> None:
    """What moved is in nobody's way, and how it begins is found by a search."""
    document = {"type": "text", "text": "data:text/plain;base64," + "Zm9v" * 100_000}
    call_id = start(
        session_id="s",
        trace_id="t",
        system_prompt="data:a/b," + "x" * 300_000,
        input=b"\xff" * 300_000,
        messages=[{"role": "user", "content": [document]}],
        metadata={f"k{n}": "v" * 1_000 for n in range(20_000)},
    )
    answer = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": IMAGE}}]}
    LLMLogger.complete(call_id, response_message=answer, error="QUJD" * 100_000)
    assert len(arrived(calls, call_id)["media"]) >= 5

    questions = SyncLLMCallRepository(calls)
    since = datetime.now(UTC) - timedelta(hours=1)
    found = questions.search("data:text/plain", start_date=since)
    assert [call.id for call in found] == [call_id]
    assert found[0].metadata["kind"] == "dict"
    assert [turn.id for turn in questions.get_session("s").turns] == [call_id]
    assert questions.get_trace_tree("t").calls == 1
    assert questions.tool_usage()
    (listed,) = questions.list_by_filters()
    assert listed.unreadable == []
    (whole,) = [questions.get(call_id, with_media=True)]
    assert whole is not None
    assert whole.metadata["k19999"] == "v" * 1_000


@pytest.mark.usefixtures("bound")
async def test_no_call_has_no_media() -> None:
    """Without such a call there is None, with media as without."""
    assert await LLMCallRepository.get("none", with_media=True) is None


def _alter(calls: Calls, sha256: str) -> None:
    chunk = calls.database["fs.chunks"].find_one({"files_id": sha256, "n": 0})
    assert chunk is not None
    data = chunk["data"][:-4] + b"RVZJ"
    calls.database["fs.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": data}})


def _forget(calls: Calls, sha256: str) -> None:
    calls.update_one({"media": sha256}, {"$unset": {"media": 1}})


WRONG: dict[str, tuple[Callable[[Calls, str], object], str]] = {
    "no entry": (lambda calls, it: calls.database["fs.files"].delete_one({"_id": it}), "missing"),
    "a part is gone": (
        lambda calls, it: calls.database["fs.chunks"].delete_one({"files_id": it}),
        "missing",
    ),
    "an odd entry": (
        lambda calls, it: calls.database["fs.files"].update_one(
            {"_id": it}, {"$set": {"length": "long"}}
        ),
        "missing",
    ),
    "altered": (_alter, "altered"),
    "not the call's": (_forget, "does not name it"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.usefixtures("bound")
async def test_a_call_is_read_whatever_is_wrong_with_its_media(calls: Calls, what: str) -> None:
    """The place says what is wrong, the call lists it, and all the rest is there."""
    spoil, word = WRONG[what]
    other = "R0lG" * 100_000
    call_id = start(metadata={"beside": other, "n": 1})
    arrived(calls, call_id)
    spoil(calls, sha256_of(IMAGE))

    call = await LLMCallRepository.get(call_id, with_media=True)
    assert call is not None
    assert SyncLLMCallRepository(calls).get(call_id, with_media=True) == call
    (reference,) = [*references(call.messages)]
    assert reference["gridfs_id"].hex() == sha256_of(IMAGE)
    assert word in reference["problem"]
    assert call.media_problems[sha256_of(IMAGE)] == reference["problem"]
    assert call.metadata["n"] == 1
    if what != "not the call's":
        assert call.metadata["beside"] == other
    if what in {"no entry", "a part is gone"}:
        assert find_missing(calls) == {call_id: [sha256_of(IMAGE)]}


def references(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the references in a value."""
    if reference_in(value):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from references(item)


async def test_who_may_not_read_media_reads_the_call(
    mongod: embedded.Mongod, recording: Recording, calls: Calls
) -> None:
    """A missing right for GridFS is told in its place; what refuses everything is an error."""
    call_id = start()
    arrived(calls, call_id)
    with refusing(mongod) as server:
        recording(mongo_url=server.url)
        await llm_audit.init()
        for names, is_read in (({"fs.files"}, True), ({"fs.chunks"}, True), ({"llm_calls"}, False)):
            server.refusal = Refusal(
                lambda sent, of=names: next(iter(sent.values())) in of, 13, "no right"
            )
            with SyncLLMCallRepository() as questions:
                if is_read:
                    call = questions.get(call_id, with_media=True)
                    assert call == await LLMCallRepository.get(call_id, with_media=True)
                    assert call is not None
                    (problem,) = call.media_problems.values()
                    assert problem.startswith("MongoDB does not let it be read: ")
                else:
                    with pytest.raises(UnavailableError):
                        questions.get(call_id, with_media=True)
        server.refusal = None


@pytest.mark.usefixtures("bound")
async def test_how_much_is_fetched_is_bounded(calls: Calls) -> None:
    """What is beyond `media_max_bytes` stays a reference that names the argument."""
    images = ["QUJD" * 100_000, "QUJE" * 100_000]
    call_id = start(messages=[{"role": "user", "images": images * 50}])
    arrived(calls, call_id)

    call = await LLMCallRepository.get(call_id, with_media=True, media_max_bytes=500_000)
    assert call is not None
    found = call.messages[0]["images"]
    whole = [image for image in found if isinstance(image, str)]
    assert len(whole) == 50
    assert len({id(image) for image in whole}) == 1, "it is there once"
    (problem,) = call.media_problems.values()
    assert problem == "its 400,000 bytes are too many: media_max_bytes=500,000"


@pytest.mark.usefixtures("bound")
async def test_no_content_reads_what_is_another_calls(calls: Calls) -> None:
    """What has the shape of a reference is content, whoever sends it, and through any door."""
    theirs = start(company_id="a")
    sha256 = sha256_of(IMAGE)
    arrived(calls, theirs)
    stored_reference = next(references(calls.find_one({"_id": theirs})))
    for forged in (
        {"gridfs_id": sha256, "length": 1, "kind": "str"},
        {"gridfs_id": bytes.fromhex(sha256), "length": 1, "kind": "str"},
        {"gridfs_id": json_util.loads(json_util.dumps(stored_reference["gridfs_id"]))},
        stored_reference,
        json_util.loads(json_util.dumps(stored_reference)),
    ):
        with llm_audit.audit_context(metadata={"in the context": forged}):
            mine = LLMLogger.start(
                model="m",
                company_id="b",
                metadata=forged,
                x=forged,
                messages=[forged],
                tools=[forged],
            )
        message = {"role": "assistant", "content": [forged]}
        response = {"choices": [{"message": message}], "y": forged, "usage": forged}
        LLMLogger.complete(mine, response=response)
        LLMLogger.annotate(mine, metadata={"later": forged})
        failed = LLMLogger.start(model="m", input=forged, system_prompt=forged)
        LLMLogger.fail(failed, RuntimeError(forged), response_message=forged)
        arrived(calls, mine)
        for stored_call in (arrived(calls, failed), arrived(calls, mine)):
            assert list(references(stored_call)) == []
        call = await LLMCallRepository.get(mine, with_media=True)

        assert call is not None
        assert (call.media, call.media_problems) == ([], {})
        assert len(str(call)) < 10_000
        assert call.messages[0].keys() == forged.keys(), "and it can be read"


def test_media_lists_what_a_call_refers_to(calls: Calls) -> None:
    """`media` holds each content of start and outcome once; calls without have no such field."""
    answer = {"role": "assistant", "content": [IMAGE, IMAGE + "QUJD"]}
    call_id = start()
    LLMLogger.complete(call_id, response_message=answer)
    plain = start(messages=[])

    assert sorted(arrived(calls, call_id)["media"]) == sorted(
        sha256_of(image) for image in answer["content"]
    )
    assert "media" not in arrived(calls, plain)
    assert find_missing(calls) == {}


def test_an_index_finds_the_calls_of_a_content(calls: Calls) -> None:
    """Which calls refer to a content is read from the index, newest first."""
    calls.create_indexes(call_indexes())
    plan = calls.find({"media": sha256_of(IMAGE)}).sort("_id", -1).explain()
    scan = plan["queryPlanner"]["winningPlan"]["inputStage"]

    assert (scan["stage"], scan["indexName"]) == ("IXSCAN", MEDIA_INDEX)


def test_a_shared_image_is_in_the_spool_once(recording: Recording) -> None:
    """Hundreds of calls with one image take its disk space once while MongoDB is away."""
    settings = recording(mongo_url=NOWHERE, exit_timeout_seconds=0)
    for _ in range(300):
        start()
    files = {path.stat().st_ino: path.stat() for path in settings.spool_dir.rglob("*.blob")}

    assert [(file.st_size, file.st_nlink) for file in files.values()] == [(len(IMAGE), 300)]


def test_a_shared_image_is_sent_once(calls: Calls) -> None:
    """Hundreds of calls with one image send it once, and little else besides the calls."""
    calls.database.command("profile", 2)
    ids = [start() for _ in range(500)]
    assert llm_audit.flush(PATIENCE)
    calls.database.command("profile", 0)

    assert calls.count_documents({"media": sha256_of(IMAGE)}) == len(ids)
    assert counts(calls) == (1, 2)
    assert sent(calls, "fs.chunks") <= 5  # indexes, two chunks, and a count of them
    assert sent(calls, "fs.files") <= 100  # two batches or a few more


@pytest.mark.parametrize("moment", BEFORE)
def test_killed_at_any_moment_nothing_is_lost(
    recording: Recording, calls: Calls, moment: str
) -> None:
    """Whatever a killed process had uploaded, the next one completes it from the spool."""
    call_id = record_until_killed(recording, calls, moment)
    llm_audit.recover()
    call = arrived_with(calls, call_id)

    assert call["media"] == [sha256_of(LARGE)]
    assert stored(calls, call["media"][0]) == LARGE.encode()
    assert counts(calls) == (1, -(-len(LARGE) // (255 * 1024)))
    assert find_unreferenced(calls.database, NOW) == []


@pytest.mark.parametrize("moment", list(BEFORE)[1:])
def test_killed_with_its_spool_lost(recording: Recording, calls: Calls, moment: str) -> None:
    """What an upload leaves whose call will never come is found and can be removed."""
    record_until_killed(recording, calls, moment)
    forget_spool(recording)
    assert find_unreferenced(calls.database, timedelta(hours=1)) == []

    (found,) = find_unreferenced(calls.database, NOW)
    assert found.sha256 == sha256_of(LARGE)
    assert (found.referenced_at is not None) == (moment == "the call")
    assert found.size_bytes > len(LARGE) // 2
    assert remove(calls.database, [found]) == 1
    assert counts(calls) == (0, 0)


@pytest.mark.parametrize("damage", ["removed", "shortened"])
def test_a_blob_lost_from_the_spool_holds_nothing_up(
    recording: Recording, calls: Calls, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A call whose media are not in the spool any more arrives, and what it lacks is known."""
    call_id = record_until_killed(recording, calls, "the upload")
    (path,) = recording().spool_dir.rglob("*.blob")
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(b"")
    llm_audit.recover()
    call = arrived_with(calls, call_id)

    assert "cannot be read from the spool" in caplog.text
    assert counts(calls) == (0, 0)
    assert find_missing(calls) == {call_id: call["media"]}
    lost = {"dropped.reason": "media lost from the spool", "dropped.call_ids": call_id}
    until(lambda: calls.database[PROCESSES].find_one(lost))


def test_an_index_of_the_users_own_costs_only_the_media(calls: Calls) -> None:
    """Where fs.files may not hold a filename twice, calls arrive, and the loss is counted."""
    files = calls.database["fs.files"]
    files.create_index("filename", unique=True)
    content = b"\xff" * 400_000
    files.insert_one({"filename": hashlib.sha256(content).hexdigest()})
    first = LLMLogger.start(model="m", messages=[])
    second = LLMLogger.start(model="m", messages=[{"role": "user", "content": content}])
    third = LLMLogger.start(model="m", messages=[])
    assert llm_audit.flush(PATIENCE)

    assert calls.count_documents({"_id": {"$in": [first, second, third]}}) == 3
    (dropped,) = llm_audit.stats()["dropped"]
    assert (dropped["what"], dropped["count"], dropped["call_ids"]) == ("content", 1, [second])
