"""The page on arq: its code runs in a worker of arq's, on a real Redis."""

import sys
from pathlib import Path

from queue_pages import placed
from waiting import Calls, Recording

WORK = """
import asyncio
from arq import Retry, create_pool, func

async def wait(ctx):
    async with LLMLogger.log_call(model="waiting"):
        await asyncio.sleep(60)

async def flaky(ctx):
    async with LLMLogger.log_call(model="flaky"):
        if ctx["job_try"] == 1:
            raise Retry()

wait, flaky = audited(wait), audited(flaky)
WorkerSettings.functions += [func(wait, timeout=0.3), flaky]

def produce():
    async def send():
        pool = await create_pool(WorkerSettings.redis_settings)
        await pool.enqueue_job("summarize", "text")
        await pool.enqueue_job("wait")
        await pool.enqueue_job("flaky")
        await pool.aclose()
    asyncio.run(send())
"""


def test_arq(tmp_path: Path, redis_url: str, recording: Recording, calls: Calls) -> None:
    """Calls of jobs that run side by side know their own job, and each has ended with its cause."""
    with placed(tmp_path, redis_url, recording()) as place:
        place.produce("arq.md", WORK)
        place.run(sys.executable, "-m", "arq", "jobs.WorkerSettings", "--burst")

    ended = {call["model"]: call for call in calls.find().sort("_id", 1)}
    assert {name: call["status"] for name, call in ended.items()} == {
        "gpt-4o-mini": "SUCCESS",
        "waiting": "CANCELLED",
        "flaky": "INCOMPLETE",
    }
    assert len({call["task_id"] for call in ended.values()}) == 3
    first, second = calls.find({"model": "flaky"}).sort("_id", 1)
    assert (first["task_id"], first["metadata"]) == (second["task_id"], {"try": 1})
    assert second["metadata"] == {"try": 2}
