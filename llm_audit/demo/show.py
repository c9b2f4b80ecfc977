"""The demo from beginning to end: start everything, play the scenes, print what MongoDB has."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime

from openai import AsyncOpenAI
from pymongo.errors import PyMongoError
from rich.console import Console

import llm_audit
from llm_audit import LLMCallRepository
from llm_audit.demo import report, scenes
from llm_audit.demo.scenes import Scene
from llm_audit.demo.stage import Stage, stage
from llm_audit.demo.worker import CHILDREN, Worker
from llm_audit.errors import LLMAuditError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_EXIT = 128  # and the signal's number, as shells do


def main() -> int:
    """Run the demo.

    Returns:
        The exit code: 0, also for Ctrl-C after KEEP=1; 1 for an error; 130 for Ctrl-C before.
    """
    console = Console(markup=False, highlight=False)
    console.file.reconfigure(errors="replace")
    try:
        return asyncio.run(_until_a_signal(_demo(console, keep=bool(os.environ.get("KEEP")))))
    except (LLMAuditError, PyMongoError) as error:
        print(error, file=sys.stderr)
        return 1


async def _until_a_signal(work: Coroutine[None, None, None]) -> int:
    """Let a signal end the work where it awaits something, and only the first one.

    So no signal cuts into starting a server or into cleaning up, however often Ctrl-C is pressed.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not received:
            task.cancel()
        received.append(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        return SIGNAL_EXIT + received[0]
    return 0


async def _demo(console: Console, *, keep: bool) -> None:
    began = datetime.now(UTC)
    with stage() as running:
        database = await llm_audit.init()
        try:
            _introduce(console, running)
            played = await _play(console, running.worker)
            await _report(console, played, began)
            if keep:
                report.print_kept(console, running.environment)
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        finally:
            await database.client.close()


def _introduce(console: Console, running: Stage) -> None:
    report.print_heading(console, "llm-audit", "a demo on this machine, with real servers")
    for name, where, what in (
        ("mongod", running.mongod.url, f"pid {running.mongod.pid}" if running.mongod.pid else ""),
        ("redis-server", running.redis.url, f"pid {running.redis.pid}"),
        ("provider", running.environment["OPENAI_BASE_URL"], "speaks OpenAI's API"),
        ("Celery worker", f"prefork, {CHILDREN} children", f"pid {running.worker.pid}"),
    ):
        console.print(f"{name:<15}{where:<35}{what}")


async def _play(console: Console, worker: Worker) -> list[Scene]:
    played: list[Scene] = []

    def done(scene: Scene) -> None:
        played.append(scene)
        console.print(f"done: {scene.title}")

    console.print()
    async with AsyncOpenAI() as llm_client:
        done(await scenes.rag_pipeline(llm_client))
        done(await scenes.tool_call(llm_client))
    await worker.ready()
    console.print("The worker is ready.")
    done(await scenes.chain_of_tasks(worker))
    done(await scenes.group_of_tasks(worker))
    done(await scenes.failing_task(worker))
    call = await scenes.task_in_mid_call(worker)
    console.print(f"Call {call.id} is {call.status}: its child {call.pid} gets SIGKILL now.")
    done(await scenes.killed_task(worker, call))
    return played


async def _report(console: Console, played: list[Scene], began: datetime) -> None:
    traces = [await LLMCallRepository.get_calls_by_trace(scene.trace_id) for scene in played]
    task_ids = [task_id for scene in played for task_id in scene.task_ids]
    tasks = [await LLMCallRepository.get_calls_by_task(task_id) for task_id in task_ids]
    report.print_traces(console, zip(played, traces, strict=True))
    report.print_task_calls(console, [call for calls in tasks for call in calls])
    report.print_failures(console, await LLMCallRepository.failure_summary(start_date=began))
    report.print_tools(console, await LLMCallRepository.tool_usage(start_date=began))
    report.print_models(
        console,
        await LLMCallRepository.cost_summary("model", start_date=began),
        await LLMCallRepository.latency_summary("model", start_date=began),
    )
    report.print_your_app(console)
