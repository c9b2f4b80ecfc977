"""What the apps of these tests have in common."""

import os

from celery import Celery

import celery_hooks
from llm_audit import LLMLogger


def make_app(name: str, **conf: object) -> Celery:
    """Return an app whose tasks are tagged, as the environment sets it up."""
    app = Celery(name, broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
    app.conf.update(
        task_default_queue=os.environ["QUEUE"],
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        result_expires=60,
        **conf,
    )
    celery_hooks.install(app)
    return app


def call(text: str) -> str:
    """Record a whole call and return its id."""
    call_id = LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": text}])
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "Yes."})
    return str(call_id)
