"""flower, which reads the events of workers and asks them what they do."""

import json
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from deployment import THREADS, CallsOf, Deployment
from waiting import PATIENCE, until


@contextmanager
def flower_of(deployed: Deployment) -> Iterator[Callable[[str], Any]]:
    """Run flower beside a worker; call what is given to ask it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "plain_tasks", "flower"),
            *(f"--port={port}", "--address=127.0.0.1"),
        ],
        env={**deployed.environment, "FLOWER_UNAUTHENTICATED_API": "true"},
    )

    def ask(path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}") as response:
                return json.load(response)
        except OSError:  # not yet
            return {}

    try:
        until(lambda: ask("workers?refresh=true"))
        yield ask
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_flower_shows_what_the_calls_say(
    deploy: Callable[..., Deployment],
    producer_for: Callable[[Deployment], Celery],
    calls_with: CallsOf,
) -> None:
    """A task that flower shows is found by its id among the calls, on the same worker."""
    deployed = deploy()
    text = uuid.uuid4().hex
    with deployed.worker(*THREADS, app="plain_tasks"), flower_of(deployed) as ask:
        task_id = producer_for(deployed).send_task("plain_tasks.ask", (text,)).id
        (call,) = calls_with(1, text)
        until(lambda: ask(f"task/info/{task_id}").get("state") == "SUCCESS")
        shown = ask(f"task/info/{task_id}")
        registered = json.dumps(ask("workers"))

    assert (call["task_id"], call["task"]["worker"]) == (task_id, shown["worker"])
    assert call["_id"] in shown["result"]
    assert "plain_tasks.ask" in registered
