"""The Celery app that real workers run in the acceptance tests; the environment sets it up."""

import os
import signal
from functools import partial
from importlib import import_module

from celery import Celery, Task, signals
from patience import PATIENCE

import celery_hooks
from llm_audit import LLMLogger, log_sentiment_analysis

app = Celery("audited", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.update(
    task_serializer="json",
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["QUEUE"],
    result_expires=60,
    include=["coroutine_tasks", "ending_tasks", "spinning_tasks", "travelling_tasks"],
    worker_soft_shutdown_timeout=float(os.environ.get("SOFT_SHUTDOWN_SECONDS", "0")),
    worker_proc_alive_timeout=PATIENCE,  # for children that come up slowly
    worker_pool_start_method=os.environ.get("START_METHOD", "fork"),
)
app.autodiscover_tasks(["discovered"])
if "BEAT_TEXT" in os.environ:
    entry = {"schedule": 0.2, "task": "audited_tasks.analyze", "args": [os.environ["BEAT_TEXT"]]}
    app.conf.beat_schedule = {"analyze": entry}
other_tools = os.environ.get("OTHER_TOOLS")
if other_tools == "before":
    import_module("other_tools").set_up()
install = partial(celery_hooks.install, app, flush=os.environ.get("FLUSH"), coroutines=True)
if os.environ.get("INSTALL") == "late":
    signals.worker_ready.connect(lambda **_: install(), weak=False)
else:
    install()
if other_tools == "after":
    import_module("other_tools").set_up()


def one_call(text: str) -> str:
    """Record a whole call and return its id."""
    call_id = log_sentiment_analysis(text, "gpt-3.5-turbo")
    LLMLogger.complete(
        call_id,
        response_message={"role": "assistant", "content": "positive"},
        tokens={"prompt_tokens": 10, "completion_tokens": 1},
    )
    return str(call_id)


@app.task
def analyze(text: str) -> str:
    """Make one call."""
    return one_call(text)


@app.task
def join(results: list[str]) -> str:
    """Make one call after a group, as the body of a chord."""
    return one_call(" ".join(results))


@app.task
def then(earlier: str, text: str) -> str:
    """Make one call after another task in a chain."""
    return one_call(f"{earlier} {text}")


@app.task
def analyze_in_subtask(text: str) -> tuple[str, str]:
    """Let another task make a call, inside a call of this one; return the ids of call and task."""
    with LLMLogger.log_call(model="gpt-4", messages=[]) as call_id:
        subtask = analyze.delay(text)
        LLMLogger.complete(call_id)
    return call_id, subtask.id


@app.task
def fail_in_call() -> None:
    """Raise while a call is open."""
    LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": "never answered"}])
    raise ValueError("the provider said no")


@app.task
def leave_open() -> str:
    """Return while a call is open."""
    return str(LLMLogger.start(model="gpt-4", messages=[]))


@app.task
def die_in_call() -> None:
    """Be killed while a call is open."""
    LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": "last words"}])
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True, max_retries=1)
def retry_once(self: "Task") -> str:
    """Make a call, fail, and make another one at the second attempt."""
    call_id = one_call("again")
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return call_id


@app.task
def whoami() -> int:
    """Return the pid that runs the task."""
    return os.getpid()
