"""What happens in the demo: calls from async code, and from tasks, however those end."""

import asyncio
import os
import signal
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from celery import chain, chord, group
from openai import AsyncOpenAI

import llm_audit
from llm_audit import LLMCall, LLMCallRepository, LLMCallStatusEnum, audit_context
from llm_audit.demo import assistant
from llm_audit.demo.tasks import (
    analyze_review_sentiment,
    app,
    summarize_reviews,
    write_report,
)
from llm_audit.demo.worker import NAME, Worker
from llm_audit.errors import LLMAuditError

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.05
QUESTIONS = ("What do customers like?", "And what do they miss?", "What should we do first?")
PING_SECONDS = 0.25


class SceneError(LLMAuditError, RuntimeError):
    """What a scene waits for does not come."""


@dataclass(frozen=True)
class Scene:
    """A title, and the command of `llm-audit` that shows what the scene left in MongoDB."""

    title: str
    command: tuple[str, str]


async def rag_pipeline(llm_client: AsyncOpenAI) -> Scene:
    """Answer a question from reviews, in async code."""
    with audit_context(trace_id=uuid4(), company_id="gorgias", user_id="user-7") as context:
        await assistant.rag_pipeline(llm_client, "What is missing from our reports?")
    llm_audit.flush()
    return Scene("RAG pipeline, async code", ("trace", str(context.trace_id)))


async def tool_call(llm_client: AsyncOpenAI) -> Scene:
    """Let the model call a tool, in async code."""
    with audit_context(trace_id=uuid4(), company_id="gorgias") as context:
        await assistant.compare_competitors(llm_client)
    llm_audit.flush()
    return Scene("Tool call and its synthesis, async code", ("trace", str(context.trace_id)))


async def conversation(llm_client: AsyncOpenAI) -> Scene:
    """Talk with a user, in async code."""
    session_id = f"user-7, {datetime.now():%A}"  # noqa: DTZ005  (as the user's calendar says)
    with audit_context(session_id=session_id, company_id="gorgias", user_id="user-7"):
        await assistant.conversation(llm_client, QUESTIONS)
    llm_audit.flush()
    return Scene("Conversation of three turns, streamed", ("session", session_id))


async def worker_ready(worker: Worker) -> None:
    """Wait until the worker takes tasks.

    Raises:
        WorkerEndedError: It never will.
    """
    while not app.control.ping(destination=[NAME], timeout=PING_SECONDS):
        worker.check()
        await asyncio.sleep(POLL_SECONDS)


async def chain_of_tasks(worker: Worker) -> Scene:
    """Analyse one review after the other."""
    last = chain(analyze_review_sentiment.si("review-1"), analyze_review_sentiment.si("review-2"))()
    calls = await _ended_calls(worker, 2, last.parent.id, last.id)
    return _trace("Chain of two tasks", calls)


async def chord_of_tasks(worker: Worker) -> Scene:
    """Analyse reviews at the same time, then write a report, at its second attempt."""
    members = group(analyze_review_sentiment.s(f"review-{n}") for n in (3, 4, 5))
    report = chord(members)(write_report.s())
    tasks = (report.id, *(member.id for member in report.parent))
    calls = await _ended_calls(worker, 7, *tasks)
    return _trace("Chord: three tasks, then a report that is retried", calls)


async def failing_task(worker: Worker) -> Scene:
    """Ask a provider that is too busy, at both attempts of a task."""
    task = summarize_reviews.delay("pricing [429]")
    await _ended_calls(worker, 2, task.id)
    return Scene("Task that fails, retried once", ("task", task.id))


async def task_in_mid_call(worker: Worker) -> LLMCall:
    """Ask a provider that never answers; return the call once it is visible as PENDING."""
    task = summarize_reviews.delay("support [hang]")
    return (await _calls(worker, 1, (LLMCallStatusEnum.PENDING,), task.id))[0]


async def killed_task(worker: Worker, call: LLMCall) -> Scene:
    """SIGKILL the child that makes a call, and wait until the call is closed."""
    if call.pid is None or call.task_id is None:
        raise SceneError(f"Call {call.id} does not say which process makes it.")
    os.kill(call.pid, signal.SIGKILL)
    await _ended_calls(worker, 1, call.task_id)
    return Scene("Task whose process is SIGKILLed in mid-call", ("task", call.task_id))


def _trace(title: str, calls: list[LLMCall]) -> Scene:
    traces = {call.trace_id for call in calls if call.trace_id}
    if len(traces) != 1:
        raise SceneError(f"{title}: one trace was expected, not {len(traces)}.")
    return Scene(title, ("trace", traces.pop()))


async def _ended_calls(worker: Worker, count: int, *task_ids: str) -> list[LLMCall]:
    ended = tuple(status for status in LLMCallStatusEnum if status is not LLMCallStatusEnum.PENDING)
    return await _calls(worker, count, ended, *task_ids)


async def _calls(
    worker: Worker, count: int, statuses: tuple[LLMCallStatusEnum, ...], *task_ids: str
) -> list[LLMCall]:
    """Wait until so many calls of some tasks have one of these statuses; oldest first."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                calls = [
                    call
                    for task_id in task_ids
                    for call in await LLMCallRepository.get_calls_by_task(task_id)
                ]
                if sum(call.status in statuses for call in calls) == count:
                    return calls
                worker.check()
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise SceneError(
            f"There are not {count} calls of these tasks after {PATIENCE_SECONDS:.0f} s. "
            f"The worker's log ends with:\n{worker.log_tail()}"
        ) from None
