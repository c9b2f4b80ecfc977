"""Recording a call, from LLMLogger to the document in MongoDB."""

import asyncio
import copy
from datetime import timedelta

import pytest
from waiting import PATIENCE, Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMLogger, UsageError, audit_context
from llm_audit.call import OUTCOME_FIELD_NAMES, CallFields
from llm_audit.recorder.process import open_calls

USER = {"role": "user", "content": "Compare Gorgias with its top competitors"}
ANSWER = {"role": "assistant", "content": "Zendesk and Freshdesk", "unknown": {"kept": True}}
TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}

pytestmark = pytest.mark.usefixtures("recording")


def test_a_call_is_stored_as_it_was(calls: Calls) -> None:
    """What was sent and received, unknown keys included, is in the document unchanged."""
    tools = [{"type": "function", "function": {"name": "get", "parameters": {"$defs": {}}}}]
    call_id = LLMLogger.start(
        call_type="rag_query",
        provider="openrouter",
        model="gpt-4",
        messages=[USER],
        system_prompt="You are an analyst.",
        tools=tools,
        tool_choice="auto",
        temperature=0.7,
        max_tokens=500,
        seed=42,
        stop=["END"],
    )
    assert LLMLogger.complete(
        call_id,
        response_message=ANSWER,
        tokens=TOKENS,
        finish_reason="stop",
        response_id="resp-1",
        response_model="gpt-4-0613",
        time_to_first_token_ms=12.5,
    ) == (call_id)
    call = arrived(calls, call_id)

    assert call["call_type"] == "RAG_QUERY"
    assert (call["provider"], call["model"]) == ("openrouter", "gpt-4")
    assert call["messages"] == [USER]
    assert call["system_prompt"] == "You are an analyst."
    assert (call["tools"], call["tool_choice"]) == (tools, "auto")
    assert (call["temperature"], call["max_tokens"]) == (0.7, 500)
    assert call["request_params"] == {"seed": 42, "stop": ["END"]}
    assert call["response_message"] == ANSWER
    assert call["finish_reason"] == "stop"
    assert (call["response_id"], call["response_model"]) == ("resp-1", "gpt-4-0613")
    assert call["time_to_first_token_ms"] == 12.5
    assert TOKENS.items() <= call.items()
    assert call["status"] == "SUCCESS"
    assert "encoding_notes" not in call


def test_nothing_in_a_list_or_dict_is_not_stored(calls: Calls) -> None:
    """Tags and metadata without anything in them are as good as none: the model refuses a null."""
    call_id = LLMLogger.start(model="m", messages=[], tags=[], metadata={}, tools=[])

    call = arrived(calls, call_id)
    assert not {"tags", "metadata"} & call.keys()
    assert CallFields.model_validate(call).tags == []


async def test_sync_and_async_code_record_alike(calls: Calls) -> None:
    """Awaited or not, the same functions record the same document."""
    sync_id = LLMLogger.start(model="m", messages=[USER])
    LLMLogger.complete(sync_id, response_message=ANSWER)
    async_id = await LLMLogger.start(model="m", messages=[USER])
    await LLMLogger.complete(async_id, response_message=ANSWER)

    one, other = arrived(calls, sync_id), arrived(calls, async_id)
    assert one.keys() == other.keys()
    assert one["response_message"] == other["response_message"] == ANSWER


def test_a_running_call_is_pending(calls: Calls) -> None:
    """Until it ends, a call is in MongoDB as PENDING with nothing of an outcome."""
    call = arrived(calls, LLMLogger.start(model="m", messages=[USER]))
    assert call["status"] == "PENDING"
    assert set(OUTCOME_FIELD_NAMES) & call.keys() == {"status"}


def test_a_long_call_becomes_visible_by_itself(recording: Recording, calls: Calls) -> None:
    """A call that still runs after the limit is shipped without anybody flushing."""
    recording(pending_after_seconds=0)
    call_id = LLMLogger.start(model="m", messages=[USER])
    until(lambda: calls.count_documents({"_id": call_id, "status": "PENDING"}))


def test_times_fit_together(calls: Calls) -> None:
    """The end is the beginning plus the latency, to the millisecond."""
    call_id = LLMLogger.start(model="m", messages=[])
    LLMLogger.complete(call_id)
    call = arrived(calls, call_id)

    elapsed = call["completed_at"] - call["created_at"]
    assert call["latency_ms"] >= 0
    assert abs(elapsed - timedelta(milliseconds=call["latency_ms"])) <= timedelta(milliseconds=1)


def test_fail_keeps_the_exception(calls: Calls) -> None:
    """A failed call has type, message and traceback of its error."""
    call_id = LLMLogger.start(model="m", messages=[USER])
    LLMLogger.fail(call_id, ValueError("bad key"))
    call = arrived(calls, call_id)

    assert (call["status"], call["ended_by"]) == ("ERROR", "exception")
    assert (call["error_type"], call["error_message"]) == ("ValueError", "bad key")
    assert "ValueError: bad key" in call["error_traceback"]


def test_a_status_may_be_given(calls: Calls) -> None:
    """complete() and fail() take a terminal status of the caller's."""
    cancelled = LLMLogger.start(model="m", messages=[])
    LLMLogger.fail(cancelled, "user left", status="cancelled")
    incomplete = LLMLogger.start(model="m", messages=[])
    LLMLogger.complete(incomplete, response_message=ANSWER, status="INCOMPLETE")

    assert arrived(calls, cancelled)["status"] == "CANCELLED"
    assert arrived(calls, incomplete)["status"] == "INCOMPLETE"


def test_log_call_fails_with_the_exception_inside(calls: Calls) -> None:
    """An exception inside the block ends the call and goes on up."""
    with pytest.raises(KeyError), LLMLogger.log_call(model="m", messages=[USER]) as call_id:
        raise KeyError("inside")
    call = arrived(calls, call_id)
    assert (call["status"], call["error_type"]) == ("ERROR", "KeyError")


async def test_a_cancelled_block_is_cancelled(calls: Calls) -> None:
    """Cancelling the asyncio task inside the block gives CANCELLED."""
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        async with LLMLogger.log_call(model="m", messages=[USER]) as call_id:
            begun.set_result(call_id)
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    call_id = await begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert arrived(calls, call_id)["status"] == "CANCELLED"


async def test_leaving_the_block_without_an_end_is_incomplete(calls: Calls) -> None:
    """A block that nobody completed ends as INCOMPLETE and says why."""
    async with LLMLogger.log_call(model="m", messages=[USER]) as call_id:
        pass
    call = arrived(calls, call_id)
    assert (call["status"], call["ended_by"]) == ("INCOMPLETE", "block_ended")


def test_an_incomplete_call_may_still_be_completed(calls: Calls) -> None:
    """The owner's outcome, however late, beats that of the block that ended."""
    with LLMLogger.log_call(model="m", messages=[USER]) as call_id:
        pass
    assert arrived(calls, call_id)["status"] == "INCOMPLETE"
    LLMLogger.complete(call_id, response_message=ANSWER)
    call = arrived(calls, call_id)

    assert (call["status"], call["response_message"]) == ("SUCCESS", ANSWER)
    assert "ended_by" not in call


def test_an_exception_after_complete_leaves_success(calls: Calls) -> None:
    """What happens in the block after complete() is no failure of the call."""
    call_id = ""

    def fail_after_complete() -> None:
        nonlocal call_id
        with LLMLogger.log_call(model="m", messages=[USER]) as call_id:
            LLMLogger.complete(call_id, response_message=ANSWER)
            raise KeyError("later")

    with pytest.raises(KeyError):
        fail_after_complete()
    call = arrived(calls, call_id)
    assert call["status"] == "SUCCESS"
    assert "error_type" not in call


def test_a_second_end_is_counted_and_logged_once(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several ends the first stands; the others are counted, and one line says so."""
    call_id = LLMLogger.start(model="m", messages=[USER])
    LLMLogger.complete(call_id, response_message=ANSWER)
    LLMLogger.fail(call_id, "second")
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "third"})

    assert arrived(calls, call_id)["response_message"] == ANSWER
    assert llm_audit.stats()["ended_twice"] == 2
    assert [line for line in caplog.messages if "twice" in line] == caplog.messages
    assert len(caplog.messages) == 1


def test_what_changes_after_start_is_not_stored(calls: Calls) -> None:
    """The stored messages are those of the moment in which start() was called."""
    messages = [copy.deepcopy(USER)]
    call_id = LLMLogger.start(model="m", messages=messages)
    messages[0]["content"] = "changed"
    messages.append(ANSWER)
    assert arrived(calls, call_id)["messages"] == [USER]


@pytest.mark.parametrize("shipped", [True, False])
def test_an_end_from_elsewhere_joins_its_start(calls: Calls, *, shipped: bool) -> None:
    """A call ended by a process that has not started it becomes one document."""
    call_id = LLMLogger.start(model="m", messages=[USER])
    if shipped:
        assert llm_audit.flush(PATIENCE)
    open_calls().clear()
    LLMLogger.complete(call_id, response_message=ANSWER)
    call = arrived(calls, call_id)

    assert (call["status"], call["messages"]) == ("SUCCESS", [USER])
    assert call["response_message"] == ANSWER
    assert call["latency_ms"] >= 0


def test_mistakes_lose_nothing_else(
    recording: Recording, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """Outside strict mode a call full of mistakes is recorded with all that is right in it."""
    recording(strict=False)
    call_id = LLMLogger.start(
        call_type=5,
        model=4,
        messages="hello",
        tags="beta",
        metadata=[1],
        user_id=1.5,
        temperature="hot",
        provider="openai",
    )
    LLMLogger.complete(
        call_id,
        response_message="hi",
        tokens={"prompt_tokens": -1, "completion_tokens": 2},
        estimated_cost="much",
        status="PENDING",
        finish_reason="stop",
    )
    call = arrived(calls, call_id)

    assert (call["call_type"], call["model"], call["provider"]) == ("OTHER", "4", "openai")
    assert call["messages"] == [{"role": "user", "content": "hello"}]
    assert (call["tags"], call["metadata"], call["user_id"]) == (["beta"], {"value": [1]}, "1.5")
    assert call["request_params"] == {"temperature": "hot", "call_type": 5}
    assert call["response_message"] == {"role": "assistant", "content": "hi"}
    assert (call["status"], call["finish_reason"]) == ("SUCCESS", "stop")
    assert call["completion_tokens"] == 2
    assert len(caplog.messages) == len(set(caplog.messages)) == 9


def test_a_mistake_in_strict_mode_names_the_argument() -> None:
    """In strict mode start() and complete() raise what is wrong."""
    with pytest.raises(UsageError, match="messages"):
        LLMLogger.start(model="m", messages="hello")
    with pytest.raises(UsageError, match="call_id"):
        LLMLogger.complete(None)
    with pytest.raises(UsageError, match="status"):
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]), status="PENDING")


def test_disabled_recording_is_a_no_op(recording: Recording) -> None:
    """Disabled, everything still returns usable references and leaves no trace anywhere."""
    settings = recording(enabled=False)
    with LLMLogger.log_call(model="m", messages=[USER]) as call_id:
        assert LLMLogger.complete(call_id, response_message=ANSWER) == call_id
    assert asyncio.run(asyncio.wait_for(LLMLogger.start(model="m", messages=[]), 5))
    assert LLMLogger.fail(call_id, "x") == call_id
    with audit_context(user_id="u"):
        assert len({LLMLogger.start(messages="wrong") for _ in range(3)}) == 3

    assert llm_audit.flush()
    assert llm_audit.stats() == {}
    assert not settings.spool_dir.exists()
