"""Tasks that celery-aio-pool runs: coroutines on one event loop."""

import asyncio

from audited import call, make_app
from celery import Task

from llm_audit import LLMLogger

app = make_app("coroutines")


@app.task(bind=True)
async def ask(self: Task, text: str) -> str:
    """Make one call here, one beside, and leave one open."""
    call(f"before {text}")
    await asyncio.sleep(0.05)
    async with LLMLogger.log_call(
        model="gpt-4", messages=[{"role": "user", "content": text}]
    ) as call_id:
        await LLMLogger.complete(call_id)
    await asyncio.gather(asyncio.to_thread(call, f"in a thread {text}"), beside(text))
    follow.delay(text)
    LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": f"open {text}"}])
    return str(self.request.id)


async def beside(text: str) -> None:
    """Make one call in an asyncio task of its own."""
    await asyncio.sleep(0.01)
    call(f"beside {text}")


@app.task
def follow(text: str) -> None:
    """Make one call outside of the loop."""
    call(f"follows {text}")
