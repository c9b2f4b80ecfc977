"""The public names, used as users do: mypy reads this, nobody runs it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, assert_type

from pymongo.asynchronous.database import AsyncDatabase

import celery_hooks
import llm_audit
from llm_audit import (
    ConfigurationError,
    LLMAuditError,
    LLMCall,
    LLMCallRepository,
    LLMCallStatusEnum,
    LLMCallTypeEnum,
    LLMLogger,
    NotInitializedError,
    SyncLLMCallRepository,
    TookTooLongError,
    UnavailableError,
    UsageError,
    audit_context,
    audited,
    carry_context,
    lifespan,
    log_chat,
    log_classification,
    log_embedding,
    log_extraction,
    log_moderation,
    log_rag_query,
    log_rag_synthesis,
    log_sentiment_analysis,
    log_summarization,
    log_translation,
    pipelines,
    record_batch,
    record_result,
    request_of,
    response_of,
)
from llm_audit.context import CallContext
from llm_audit.queries.answers.conversation import Conversation
from llm_audit.queries.answers.lines import Found
from llm_audit.queries.answers.summaries import (
    CostSummary,
    FailureSummary,
    LatencySummary,
    RetrySpend,
    ScoreSummary,
    ToolUsage,
    Usage,
)
from llm_audit.queries.answers.tasks import Task, TaskAndAround, TaskSummary
from llm_audit.queries.answers.trace_tree import TraceTree
from llm_audit.references import CallReference

MESSAGES = [{"role": "user", "content": "Hello"}]
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def in_plain_code() -> None:
    """Record without an event loop; a call's id is a str."""
    call_id = LLMLogger.start(
        call_type=LLMCallTypeEnum.CHAT, provider="openai", model="gpt-4o", messages=MESSAGES
    )
    assert_type(call_id, CallReference)
    as_text: str = call_id
    assert_type(LLMLogger.complete(as_text, response={"choices": []}), CallReference)
    assert_type(LLMLogger.fail(call_id, TimeoutError(), status="TIMEOUT"), CallReference)
    assert_type(call_id.wait(timeout_seconds=1), bool)
    with LLMLogger.log_call(call_type="PRODUCT_GAP", model="m", messages=MESSAGES) as logged:
        assert_type(logged, CallReference)


async def in_async_code() -> None:
    """Record in an event loop: the same functions, awaited."""
    call_id = await LLMLogger.start(model="gpt-4o", messages=MESSAGES, temperature=0.2)
    assert_type(call_id, CallReference)
    assert_type(await LLMLogger.complete(call_id, tokens={"prompt_tokens": 1}), CallReference)
    assert_type(await LLMLogger.fail(call_id, "no answer"), CallReference)
    async with LLMLogger.log_call(model="m", messages=MESSAGES) as logged:
        assert_type(logged, CallReference)
    async with lifespan("an app"):
        for_servers: Callable[[str], AbstractAsyncContextManager[None]] = lifespan
        assert callable(for_servers)


def by_helpers() -> None:
    """Start calls of one type each."""
    assert_type(log_chat(MESSAGES, "m", user_id="u"), CallReference)
    assert_type(log_classification("text", ["good", "bad"], "m"), CallReference)
    assert_type(log_embedding(["text"], "m"), CallReference)
    assert_type(log_extraction("text", ["name"], "m"), CallReference)
    assert_type(log_moderation("text", "m"), CallReference)
    assert_type(log_rag_query("question", "m"), CallReference)
    assert_type(log_rag_synthesis("question", ["document"], "m"), CallReference)
    assert_type(log_sentiment_analysis("text", "m", review_id=7), CallReference)
    assert_type(log_summarization("text", "m"), CallReference)
    assert_type(log_translation("text", "German", "m"), CallReference)
    assert_type(record_batch(['{"custom_id": "a"}'], [{}], batch_id="b").call_ids, list[str])
    assert_type(record_result({"id": "resp_1"}), CallReference | None)


def in_a_context() -> None:
    """Say once what all calls inside share, also to another thread."""

    def work(text: str, times: int = 1) -> list[str]:
        return [text] * times

    with audit_context(trace_id="t", user_id="u", tags=["beta"], metadata={"plan": "free"}):
        carried = carry_context(work)
    assert_type(carried("a", times=2), list[str])
    with audit_context(call_type="CLASSIFICATION", review_id=7) as context:
        assert_type(context, CallContext)
    about = audit_context(user_id="u")
    assert_type(about(work)("a", times=2), list[str])
    about(work)("a", time=2)  # type: ignore[call-arg]

    @about
    async def answer(text: str) -> int:
        return len(text)

    @about
    async def stream(text: str) -> AsyncIterator[str]:
        yield text

    as_before: Callable[[str], Coroutine[Any, Any, int]] = answer
    assert_type(as_before, Callable[[str], Coroutine[Any, Any, int]])
    assert_type(stream("a"), AsyncIterator[str])


@audited
def tool(text: str, times: int = 1) -> list[str]:
    """Be recorded."""
    return [text] * times


@audited(call_type="AGENT", name="assistant")
async def agent(text: str) -> AsyncIterator[str]:
    """Be recorded, too."""
    yield text


def of_ones_own() -> None:
    """Call functions that are recorded: their types are as before."""
    assert_type(tool("a", times=2), list[str])
    assert_type(agent("a"), AsyncIterator[str])
    tool("a", time=2)  # type: ignore[call-arg]
    audited(call_typ="AGENT")  # type: ignore[call-overload]
    assert_type(audited(tool)("a"), list[str])


def in_a_process() -> None:
    """Look after what this process records."""
    llm_audit.configure(mongo_url="mongodb://localhost", service="reviews")
    flushed = llm_audit.flush(timeout_seconds=5)
    assert_type(bool(flushed), bool)
    assert_type(flushed.unacknowledged_operations, int)
    assert_type(flushed.reason, str | None)
    assert_type(llm_audit.stats(), Mapping[str, Any])
    assert_type(llm_audit.recover(), bool)
    llm_audit.retry_rejected()
    assert_type(llm_audit.doctor().processes[0].nonce, str)
    llm_audit.shutdown()
    assert_type(llm_audit.instrument("openai", "anthropic"), None)
    assert_type(llm_audit.uninstrument(), None)


async def by_questions() -> None:
    """Ask with the repository, and with Beanie."""
    assert_type(await llm_audit.init(), AsyncDatabase[dict[str, Any]])
    assert_type(await LLMCallRepository.get("id", with_media=True), LLMCall | None)
    calls = await LLMCallRepository.list_by_filters(user_id="u", start_date=SINCE, limit=5)
    assert_type(calls, list[LLMCall])
    assert_type(calls[0].status, LLMCallStatusEnum)
    assert_type(calls[0].model, str | None)
    assert_type(await LLMCallRepository.count_by_filters(provider="openai"), int)
    assert_type(await LLMCallRepository.search("needle"), Found[LLMCall])
    assert_type(await LLMCallRepository.get_calls_by_trace("t"), list[LLMCall])
    assert_type(await LLMCallRepository.get_calls_by_task("t"), list[LLMCall])
    assert_type(await LLMCallRepository.get_workflow("w"), list[LLMCall])
    assert_type(await LLMCallRepository.get_trace_tree("t"), TraceTree)
    assert_type(await LLMCallRepository.get_session("s"), Conversation)
    assert_type(await LLMCallRepository.tool_usage(company_id="c"), list[ToolUsage])
    assert_type(await LLMCallRepository.failure_summary(), FailureSummary)
    assert_type(await LLMCallRepository.cost_summary("model"), list[CostSummary])
    assert_type(await LLMCallRepository.usage_over_time("day"), list[Usage])
    assert_type(await LLMCallRepository.retry_spend(), list[RetrySpend])
    assert_type(await LLMCallRepository.task_summary(), list[TaskSummary])
    assert_type(await LLMCallRepository.list_tasks(limit=5), list[Task])
    assert_type(await LLMCallRepository.get_task("t"), TaskAndAround | None)
    assert_type(await LLMCallRepository.latency_summary("model"), list[LatencySummary])
    assert_type(await LLMCallRepository.score_summary("helpful"), list[ScoreSummary])
    of_company = LLMCallRepository().for_company("c")
    assert_type(await of_company.search("needle", with_content=False), Found[LLMCall])
    assert_type(await LLMCall.find(LLMCall.model == "gpt-4o").to_list(), list[LLMCall])
    await LLMCall.aggregate(pipelines.tool_usage(user_id="u")).to_list()


def by_questions_in_plain_code() -> None:
    """Ask without an event loop: the same questions, and one company's calls only."""
    with SyncLLMCallRepository() as calls:
        assert_type(calls.get("id", with_media=True), LLMCall | None)
        of_company = calls.for_company(7).for_user("u")
        assert_type(of_company, SyncLLMCallRepository)
        assert_type(of_company.list_by_filters(limit=5, tags=["beta"]), list[LLMCall])
        assert_type(of_company.get_trace_tree("t"), TraceTree)
        assert_type(calls.cost_summary("day", timezone="UTC", model="m"), list[CostSummary])
        if found := calls.get("id"):
            assert_type(response_of(found), dict[str, Any] | None)
            assert_type(request_of(found), Any)
        calls.list_by_filters(compny_id="c")  # type: ignore[call-arg]
        calls.get_session()  # type: ignore[call-arg]


def where_it_goes_wrong(error: LLMAuditError) -> str:
    """Tell the errors apart; the built-in classes catch them too."""
    if isinstance(error, UsageError | ConfigurationError):
        mistaken: ValueError = error
        return str(mistaken)
    if isinstance(error, NotInitializedError):
        too_soon: RuntimeError = error
        return str(too_soon)
    if isinstance(error, TookTooLongError | UnavailableError):
        return "later"
    return str(error)


async def what_is_misspelt() -> None:
    """Learn from the type checker what is no argument."""
    LLMLogger.complete("id", respons={})  # type: ignore[arg-type]
    audit_context(trace="t")  # type: ignore[arg-type]
    await LLMCallRepository.list_by_filters(compny_id="c")  # type: ignore[call-arg]


def in_celery(app: Any) -> None:
    """Install the hooks, and take them away."""
    celery_hooks.install(app, flush="task", instrument=True)
    celery_hooks.uninstall()
