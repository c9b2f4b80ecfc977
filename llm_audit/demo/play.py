"""The demo's plot: the scenes in their order, then what MongoDB has of them."""

from datetime import UTC, datetime

from openai import AsyncOpenAI
from rich.console import Console

import llm_audit
from llm_audit import LLMCallRepository
from llm_audit.demo import report, scenes
from llm_audit.demo.scenes import Scene
from llm_audit.demo.worker import Worker


async def play(console: Console, worker: Worker) -> None:
    """Play every scene, and print what is read back from MongoDB.

    Args:
        console: Where to.
        worker: Takes the tasks; it need not be ready yet.

    Raises:
        SceneError: What a scene waits for does not come.
        WorkerEndedError: The worker is gone.
    """
    began = datetime.now(UTC)
    database = await llm_audit.init()
    try:
        await _report(console, await _scenes(console, worker), began)
    finally:
        await database.client.close()


async def _scenes(console: Console, worker: Worker) -> list[Scene]:
    played: list[Scene] = []

    def done(scene: Scene) -> None:
        played.append(scene)
        console.print(f"Done: {scene.title}.")

    async with AsyncOpenAI() as llm_client:
        done(await scenes.rag_pipeline(llm_client))
        done(await scenes.tool_call(llm_client))
    await scenes.worker_ready(worker)
    console.print("The worker is ready.")
    done(await scenes.chain_of_tasks(worker))
    done(await scenes.group_of_tasks(worker))
    done(await scenes.failing_task(worker))
    call = await scenes.task_in_mid_call(worker)
    console.print(f"A call is {call.status} in MongoDB: its child {call.pid} gets SIGKILL now.")
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
