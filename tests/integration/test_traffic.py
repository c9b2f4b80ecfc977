"""What real providers sent and received goes in through LLMLogger and comes out equal."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import gridfs
import pymongo
import pytest
import pytest_asyncio
from recorded_traffic import ARGUMENTS, TRAFFIC, recorded_calls, split
from waiting import PATIENCE

import llm_audit
from llm_audit import LLMCall, LLMLogger, embedded
from llm_audit.encoding.moved import restore
from llm_audit.providers.error_bodies import ERROR_FIELDS
from llm_audit.providers.response import read_response
from llm_audit.providers.tool_calls import tools_asked_for

DATABASE = "test_traffic"

pytestmark = pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")


@dataclass
class Sent:
    """What was given to LLMLogger for one recorded call."""

    start: dict[str, Any]
    request_params: dict[str, Any]
    outcome: dict[str, Any]


def outcomes_of(call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the ways in which a response may be given to complete()."""
    if isinstance(call["response"], dict):
        yield {"response": call["response"]}
        yield {"response_message": call["response"]}
    else:
        yield {"response_message": {"role": "assistant", "content": call["sse"]}}


@pytest.fixture(scope="module")
def sent(mongod: embedded.Mongod) -> Iterator[dict[str, Sent]]:
    """Record everything, in strict mode, and give what was sent by the call's id."""
    given: dict[str, Sent] = {}
    with tempfile.TemporaryDirectory() as spool:
        llm_audit.configure(
            mongo_url=mongod.url,
            database=DATABASE,
            embedding_vectors=True,
            redact_secrets=False,  # there are some in recorded MCP tools
            create_collection=False,
            spool_dir=spool,
            strict=True,
        )
        for call in recorded_calls():
            start, request_params = split(call)
            for outcome in outcomes_of(call):
                call_id = LLMLogger.start(**start, **request_params)
                LLMLogger.complete(call_id, **outcome)
                given[call_id] = Sent(start, request_params, outcome)
        assert llm_audit.flush(PATIENCE)
        assert llm_audit.stats()["rejected"] == []
        llm_audit.shutdown()
    yield given
    with pymongo.MongoClient(mongod.url) as client:
        client.drop_database(DATABASE)


@pytest.fixture(scope="module")
def stored(mongod: embedded.Mongod, sent: dict[str, Sent]) -> dict[str, dict[str, Any]]:
    """Give the documents by their id, with what had moved to GridFS put back."""
    with pymongo.MongoClient(mongod.url, tz_aware=True) as client:
        bucket = gridfs.GridFSBucket(client[DATABASE])

        def fetch(sha256: str) -> bytes:
            return bucket.open_download_stream(sha256).read()

        documents = {
            call["_id"]: restore(call, fetch) for call in client[DATABASE]["llm_calls"].find()
        }
    assert documents.keys() == sent.keys()
    return documents


@pytest_asyncio.fixture
async def beanie(mongod: embedded.Mongod) -> AsyncIterator[None]:
    """Bind LLMCall to the database of the traffic."""
    llm_audit.configure(mongo_url=mongod.url, database=DATABASE, create_collection=False)
    database = await llm_audit.init()
    yield
    await database.client.close()


def as_stored(value: Any) -> Any:
    """Return a value as it has to be read back: only ints beyond 64 bits change."""
    if isinstance(value, dict):
        return {key: as_stored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_stored(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def received_by(call: Sent) -> dict[str, Any]:
    """Return what has to be stored of a response."""
    if "response" in call.outcome:
        return read_response(call.outcome["response"], embedding_vectors=True)
    return call.outcome


def changed(value: Any) -> bool:
    return bool(as_stored(value) != value)


def test_there_is_much_to_record(sent: dict[str, Sent]) -> None:
    """The recorded traffic is there in full."""
    assert len(sent) > 2_000
    assert sum("tools" in call.start for call in sent.values()) > 1_000


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_requests_come_out_equal(
    sent: dict[str, Sent], stored: dict[str, dict[str, Any]], argument: str
) -> None:
    """What was given for an argument is in its field as it was."""
    given = {call_id: call.start.get(argument) for call_id, call in sent.items()}
    assert any(given.values())
    for call_id, value in given.items():
        assert stored[call_id].get(argument) == as_stored(value), call_id


def test_other_parameters_come_out_equal(
    sent: dict[str, Sent], stored: dict[str, dict[str, Any]]
) -> None:
    """Everything else in a request is in request_params as it was."""
    for call_id, call in sent.items():
        assert stored[call_id].get("request_params", {}) == as_stored(call.request_params), call_id


def test_responses_come_out_equal(sent: dict[str, Sent], stored: dict[str, dict[str, Any]]) -> None:
    """A message given, or read out of a response given, is stored as it was."""
    for call_id, call in sent.items():
        received = received_by(call)
        for name in ("api", "response_message", "other_choices", "usage"):
            assert stored[call_id].get(name) == as_stored(received.get(name)), call_id
        tools = tools_asked_for(received.get("response_message"))[0]
        assert stored[call_id].get("tools_called", []) == tools, call_id
        answered = not {*ERROR_FIELDS} & received.keys()
        assert (stored[call_id]["status"] == "SUCCESS") is answered, call_id


def test_responses_can_be_put_together_again(
    sent: dict[str, Sent], stored: dict[str, dict[str, Any]]
) -> None:
    """From the document of a call comes the body of its response, equal."""
    whole = 0
    for call_id, call in sent.items():
        if response := call.outcome.get("response"):
            assert llm_audit.response_of(stored[call_id]) == response, call_id
            whole += 1
    assert whole > 950


def test_notes_name_what_changed_and_nothing_else(
    sent: dict[str, Sent], stored: dict[str, dict[str, Any]]
) -> None:
    """Only calls with ints beyond 64 bits, or with media in GridFS, have notes."""
    whats = set()
    for call_id, call in sent.items():
        notes = stored[call_id].get("encoding_notes", [])
        beyond = [note for note in notes if note.endswith("int beyond 64 bits stored as str")]
        received = received_by(call)
        kept = [received.get(name) for name in ("response_message", "response_extra")]
        assert bool(beyond) == changed([call.start, call.request_params, *kept]), call_id
        whats |= {note.rpartition(": ")[2].partition("moved to GridFS")[1] for note in notes}
        told = [note for note in notes if note.startswith(("response: ", "usage: "))]
        assert told == received.get("encoding_notes", []) or told[0].startswith("usage: ")
    assert whats == {"", "moved to GridFS"}


@pytest.mark.usefixtures("beanie")
async def test_all_can_be_read_with_beanie(sent: dict[str, Sent]) -> None:
    """Every document parses as LLMCall."""
    names = [call.id async for call in LLMCall.find_all()]
    assert set(names) == sent.keys()


def test_helpers_can_fail() -> None:
    """The comparison above tells a changed value from an equal one."""
    assert as_stored({"a": [2**63, 1]}) == {"a": [str(2**63), 1]}
    assert changed([{"a": 2**70}])
    assert not changed([{"a": 2**62, "b": 1.5, "c": None}])
