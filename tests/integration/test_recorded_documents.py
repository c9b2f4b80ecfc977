"""The documents that the recorder writes, as those find them who read."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from waiting import PATIENCE, Calls, Recording, arrived

import llm_audit
from llm_audit import LLMCall, LLMLogger, audit_context
from llm_audit.store.indexes import call_indexes

USER = {"role": "user", "content": "Compare Gorgias with its top competitors"}
ANSWER = {"role": "assistant", "content": "Zendesk and Freshdesk", "unknown": {"kept": True}}
TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}

pytestmark = pytest.mark.usefixtures("recording")


@pytest_asyncio.fixture
async def beanie(recording: Recording) -> AsyncIterator[None]:  # noqa: ARG001  (it configures)
    """Bind LLMCall to the test's database."""
    database = await llm_audit.init()
    yield
    await database.client.close()


@pytest.mark.usefixtures("beanie")
async def test_every_kind_of_record_is_read_with_beanie() -> None:
    """Pending, complete, failed, inferred and finish-only documents all parse as LLMCall."""
    with audit_context(tags=["t"], metadata={"a": 1}, user_id=7):
        pending = LLMLogger.start(model="m", messages=[USER])
        complete = LLMLogger.start(model="m", messages=[USER], tools=[{}], tool_choice={"a": 1})
    LLMLogger.complete(complete, response_message=ANSWER, tokens=TOKENS)
    failed = LLMLogger.start(model="m", input=["text"], call_type="EMBEDDING")
    LLMLogger.fail(failed, TimeoutError("slow"))
    with LLMLogger.log_call(model="m", messages=[USER]) as incomplete:
        pass
    finish_only = LLMLogger.complete("made elsewhere", response_message=ANSWER)
    assert llm_audit.flush(PATIENCE)

    found = {call.id: call async for call in LLMCall.find_all()}
    assert {call_id: call.status for call_id, call in found.items()} == {
        pending: "PENDING",
        complete: "SUCCESS",
        failed: "TIMEOUT",
        incomplete: "INCOMPLETE",
        finish_only: "SUCCESS",
    }
    assert found[pending].user_id == "7"
    assert (found[pending].tags, found[pending].metadata) == (["t"], {"a": 1})
    assert found[complete].response_message == ANSWER
    assert found[complete].total_tokens == 15
    assert found[failed].input == ["text"]
    assert found[finish_only].messages == []
    assert found[finish_only].created_at is None


def test_the_shipper_makes_the_collection_with_its_indexes(
    recording: Recording, calls: Calls
) -> None:
    """Who never calls init() has a compressed collection with every index after the first call."""
    recording(create_collection=True)
    arrived(calls, LLMLogger.start(model="m", messages=[]))

    names = {index.document["name"] for index in call_indexes()}
    assert calls.index_information().keys() - {"_id_"} == names
    (info,) = calls.database.list_collections(filter={"name": calls.name})
    assert "zstd" in str(info["options"])


def test_calls_expire_when_asked_to(recording: Recording, calls: Calls) -> None:
    """With retention_days a call says when it may be deleted, however it was written."""
    recording(retention_days=30)
    merged = LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    pending = LLMLogger.start(model="m", messages=[])
    for call_id in (merged, pending):
        call = arrived(calls, call_id)
        assert call["expires_at"] - call["created_at"] == timedelta(days=30)
