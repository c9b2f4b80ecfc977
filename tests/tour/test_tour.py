"""A tour of llm-audit: read it from top to bottom."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

import llm_audit
from llm_audit import (
    LLMCallRepository,
    LLMCallStatusEnum,
    LLMLogger,
    audit_context,
    embedded,
    log_sentiment_analysis,
    pipelines,
)
from llm_audit.settings import reset_settings

Calls = Any
USER = {"role": "user", "content": "What is Gorgias?"}
ANSWER = {"role": "assistant", "content": "A customer support platform."}


@pytest.fixture
def calls(
    mongod: embedded.Mongod, database: Database[dict[str, Any]], tmp_path: Path
) -> Iterator[Calls]:
    """Record into a database of the test's own, and give its collection."""
    llm_audit.configure(
        mongo_url=mongod.url, database=database.name, spool_dir=tmp_path, strict=True
    )
    yield database["llm_calls"]
    llm_audit.shutdown()
    reset_settings()


def test_a_call_is_started_and_completed(calls: Calls) -> None:
    """A call is one document: what was sent, what came back, and what it took."""
    call_id = LLMLogger.start(provider="openai", model="gpt-4o", messages=[USER], temperature=0.7)
    LLMLogger.complete(
        call_id,
        response_message=ANSWER,
        tokens={"prompt_tokens": 10, "completion_tokens": 5},
        finish_reason="stop",
    )
    assert llm_audit.flush()

    call = calls.find_one({"_id": call_id})
    assert call["messages"] == [USER]
    assert call["response_message"] == ANSWER
    assert (call["status"], call["finish_reason"]) == ("SUCCESS", "stop")
    assert (call["prompt_tokens"], call["total_tokens"]) == (10, 15)
    assert call["estimated_cost"] > 0
    assert call["completed_at"] >= call["created_at"]


async def test_the_same_calls_may_be_awaited(calls: Calls) -> None:
    """Async code awaits what sync code calls; what is awaited gives the id again."""
    call_id = await LLMLogger.start(model="gpt-4o", messages=[USER])
    assert await LLMLogger.complete(call_id, response_message=ANSWER) == call_id
    assert llm_audit.flush()

    assert calls.find_one({"_id": call_id})["status"] == "SUCCESS"


def test_a_running_call_is_visible(calls: Calls) -> None:
    """Before the provider has answered, the call is there as PENDING."""
    call_id = LLMLogger.start(model="gpt-4o", messages=[USER])
    assert llm_audit.flush()

    assert calls.find_one({"_id": call_id})["status"] == "PENDING"


def test_an_exception_in_the_block_fails_the_call(calls: Calls) -> None:
    """A block that raises ends its call with the exception, which goes on up."""
    with (
        pytest.raises(TimeoutError),
        LLMLogger.log_call(model="gpt-4o", messages=[USER]) as call_id,
    ):
        raise TimeoutError("no answer")
    assert llm_audit.flush()

    call = calls.find_one({"_id": call_id})
    assert (call["status"], call["error_type"]) == ("TIMEOUT", "TimeoutError")
    assert call["error_message"] == "no answer"


@pytest.mark.usefixtures("calls")
async def test_calls_inherit_their_context_and_form_a_trace() -> None:
    """Ids and labels come from the context; calls in a call are its children."""
    with (
        audit_context(session_id="s-1", user_id=7, tags=["beta"]),
        LLMLogger.log_call(call_type="AGENT", model="gpt-4o", messages=[USER]) as outer,
    ):
        inner = LLMLogger.start(model="gpt-4o-mini", messages=[USER], tags=["tool"])
        LLMLogger.complete(inner, response_message=ANSWER)
        LLMLogger.complete(outer, response_message=ANSWER)
    assert llm_audit.flush()

    database = await llm_audit.init()
    first = await LLMCallRepository.get(outer)
    assert first is not None
    trace = await LLMCallRepository.get_calls_by_trace(first.trace_id)
    assert [call.id for call in trace] == [outer, inner]
    assert [call.parent_call_id for call in trace] == [None, outer]
    assert {call.user_id for call in trace} == {"7"}
    assert trace[1].tags == ["beta", "tool"]
    await database.client.close()


async def test_questions_are_answered(calls: Calls) -> None:
    """The repository answers in async code; the same pipelines run with any driver."""
    wanted = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    searching = LLMLogger.start(model="gpt-4o", messages=[USER])
    LLMLogger.complete(
        searching, response_message={"role": "assistant", "tool_calls": [wanted, wanted]}
    )
    failing = log_sentiment_analysis("Meh.", model="gpt-4o", review_id=3)
    LLMLogger.fail(failing, ConnectionError("reset"))
    assert llm_audit.flush()

    database = await llm_audit.init()
    (failed,) = await LLMCallRepository.list_by_filters(status=LLMCallStatusEnum.ERROR)
    (tool,) = await LLMCallRepository.tool_usage()
    (row,) = calls.aggregate(pipelines.tool_usage())
    assert (failed.id, failed.review_id) == (failing, "3")
    assert tool.calls == row["calls"] == 2
    await database.client.close()


def test_a_killed_process_loses_nothing(
    calls: Calls, mongod: embedded.Mongod, tmp_path: Path
) -> None:
    """What a process recorded before it was killed arrives, and its open call is closed."""
    script = (
        "import os, signal; from llm_audit import LLMLogger\n"
        "done = LLMLogger.start(model='gpt-4o', messages=[])\n"
        "LLMLogger.complete(done, response_message={'role': 'assistant', 'content': 'yes'})\n"
        "LLMLogger.start(model='gpt-4o', messages=[{'role': 'user', 'content': 'last words'}])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {
        **os.environ,
        "LLM_AUDIT_MONGO_URL": mongod.url,
        "LLM_AUDIT_DATABASE": calls.database.name,
        "LLM_AUDIT_SPOOL_DIR": str(tmp_path),
    }
    subprocess.run([sys.executable, "-P", "-c", script], env=environment, check=False)

    llm_audit.recover()
    ended = {"status": {"$ne": "PENDING"}}
    while calls.count_documents(ended) < 2:
        assert llm_audit.flush()
    assert sorted(call["status"] for call in calls.find()) == ["ABANDONED", "SUCCESS"]


def test_celery_tasks_tag_their_calls(calls: Calls) -> None:
    """With the hooks installed, a call made in a task carries the task."""
    celery = pytest.importorskip("celery")
    import celery_hooks

    app = celery.Celery("tour", broker="memory://")
    celery_hooks.install(app)

    @app.task(name="summarize")
    def summarize() -> str:
        call_id = LLMLogger.start(model="gpt-4o", messages=[USER])
        return LLMLogger.complete(call_id, response_message=ANSWER)

    result = summarize.apply()
    celery_hooks.uninstall()
    assert llm_audit.flush()

    call = calls.find_one({"_id": result.get()})
    assert call["task_id"] == result.id
    assert call["task"]["name"] == "summarize"
