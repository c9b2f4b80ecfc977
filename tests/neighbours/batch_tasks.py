"""Tasks of celery-batches: one body runs for many messages."""

from typing import Any

from audited import call, make_app
from celery_batches import Batches

import celery_hooks
from llm_audit import LLMLogger

app = make_app("batched", worker_prefetch_multiplier=0)


@app.task
def follow(text: str) -> None:
    """Make a call in a task that a batch has published."""
    call(f"follows {text}")


@app.task(base=Batches, flush_every=3, flush_interval=600)
def summarize(requests: list[Any]) -> None:
    """Make a call for all the messages, one for each, and leave one open."""
    texts = [request.args[0] for request in requests]
    call(f"all of {' '.join(texts)}")
    for request in requests:
        with celery_hooks.request_context(request):
            call(f"one of {request.args[0]}")
            follow.delay(request.args[0])
    LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": f"open {texts}"}])
