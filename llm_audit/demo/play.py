"""The demo's plot: scenes, and after each what the command line tells of it."""

import shlex

from openai import AsyncOpenAI
from rich.console import Console
from rich.text import Text

import llm_audit
from llm_audit.cli.exits import NAME
from llm_audit.cli.run import run_here
from llm_audit.demo import scenes
from llm_audit.demo.scenes import Scene
from llm_audit.demo.worker import Worker

YOUR_APP = """\
    import celery_hooks
    import llm_audit

    llm_audit.configure(mongo_url="mongodb://...")  # or LLM_AUDIT_MONGO_URL
    celery_hooks.install(app)                       # your Celery app
    llm_audit.instrument()                          # every call of every client
"""


async def play(console: Console, worker: Worker) -> None:
    """Play every scene, and run the commands that show what it left in MongoDB.

    Args:
        console: Where to print.
        worker: Takes the tasks; it need not be ready yet.

    Raises:
        SceneError: What a scene waits for does not come.
        WorkerEndedError: The worker is gone.
    """
    database = await llm_audit.init()
    try:
        await _scenes(console, worker)
    finally:
        await database.client.close()
    for command in ("failures", "retries", "tools", "costs", "latency"):
        _show(console, command)
    console.print("KEEP=1 leaves it all up, with `llm-audit ui`, which shows it in a browser.")
    console.print()
    console.print("In your own app", style="bold")
    console.print(YOUR_APP)


async def _scenes(console: Console, worker: Worker) -> None:
    def done(scene: Scene) -> None:
        console.print(f"Done: {scene.title}.", style="bold")
        _show(console, *scene.command)

    async with AsyncOpenAI() as llm_client:
        done(await scenes.rag_pipeline(llm_client))
        done(await scenes.tool_call(llm_client))
        done(await scenes.conversation(llm_client))
    await scenes.worker_ready(worker)
    console.print("The worker is ready.")
    done(await scenes.chain_of_tasks(worker))
    done(await scenes.chord_of_tasks(worker))
    done(await scenes.failing_task(worker))
    call = await scenes.task_in_mid_call(worker)
    console.print("A task waits for its answer.", style="bold")
    _show(console, "task", str(call.task_id))
    console.print(f"Its process {call.pid} gets SIGKILL now.", style="bold")
    done(await scenes.killed_task(worker, call))


def _show(console: Console, name: str, *arguments: str) -> None:
    """Print a command of the command line as it is typed, and run it."""
    console.print(Text(f"$ {NAME} {shlex.join((name, *arguments))}", "cyan"))
    run_here(name, *arguments)
    console.print()
