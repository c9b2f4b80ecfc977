"""One app with its workers, as the acceptance tests deploy it."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest
import warm
from patience import PATIENCE
from pymongo.collection import Collection

CallsOf = Callable[..., list[dict[str, Any]]]

TASKS_FOLDER = Path(__file__).parent / "acceptance"
ABORTING_SECONDS = 5
PREFORK = ("--pool", "prefork", "--concurrency", "2")
PREFORK_ALONE = ("--pool", "prefork", "--concurrency", "1")
THREADS = ("--pool", "threads", "--concurrency", "2")
GEVENT = ("--pool", "gevent", "--concurrency", "10")
EVENTLET = ("--pool", "eventlet", "--concurrency", "10")
SOLO = ("--pool", "solo")
POOLS = {
    "prefork": PREFORK,
    "prefork-alone": PREFORK_ALONE,
    "threads": THREADS,
    "gevent": GEVENT,
    "solo": SOLO,
}
BY_AGENT = "an agent ships"
PREFORK_BY_AGENT = f"prefork, {BY_AGENT}"


@dataclass
class Deployment:
    """One app's settings, shared by its producer (the test) and its workers.

    Attributes:
        environment: Of its workers.
        settings: Those variables of it that are the app's own.
        calls: What they record.
        folder: Their logs, and their spool.
    """

    environment: dict[str, str]
    settings: dict[str, str]
    calls: Collection[dict[str, Any]]
    folder: Path

    def with_settings(self, **changes: str) -> "Deployment":
        """Return the same deployment, its workers under other settings."""
        return replace(self, environment={**self.environment, **changes})

    @contextmanager
    def worker(
        self, *options: str, app: str = "audited_tasks"
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker of an app until the block is left, then stop it warmly.

        Celery is imported already, but for the pools that have to patch it first.
        """
        name = f"worker-{uuid.uuid4().hex[:8]}"
        log = (self.folder / f"{name}.log").open("wb")
        command = [
            *(sys.executable, "-X", "faulthandler", "-W", "error::UserWarning:pymongo"),
            *("-m", "celery"),
            *("-A", app, "worker", "--without-gossip", "--without-mingle"),
            *("--loglevel", "WARNING", "--hostname", f"{name}@%h", *options),
        ]
        green = {"gevent", "eventlet"} & {*options}
        start = subprocess.Popen if green else partial(warm.start, modules=warm.CELERY)
        process = start(
            command,
            cwd=TASKS_FOLDER,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                _abort(process)
                said = Path(log.name).read_text(errors="replace")
                _, _, stacks = said.partition("Fatal Python error")
                pytest.fail(f"the worker did not stop:\n{stacks}")
            finally:
                log.close()
                print(Path(log.name).read_text(errors="replace"))

    @contextmanager
    def agent(self) -> Iterator["Deployment"]:
        """Run an agent until the block is left; give the same, with workers that leave it to it."""
        left_to_it = self.with_settings(LLM_AUDIT_SHIPPER="agent")
        process = warm.start(
            [sys.executable, "-W", "error", "-m", "llm_audit.cli", "agent"],
            env=left_to_it.environment,
            start_new_session=True,
        )
        try:
            yield left_to_it
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(PATIENCE) == 0, "the agent did not end well"
            finally:
                process.kill()


@contextmanager
def deployed(
    mongo_url: str, broker_url: str, folder: Path, tasks: Path = TASKS_FOLDER, **more: str
) -> Iterator[Deployment]:
    """Give an app a database and a queue of its own.

    Args:
        mongo_url: A server's.
        broker_url: A server's.
        folder: For logs and the spool.
        tasks: Where the modules of its tasks lie.
        **more: Further settings.
    """
    database = f"test_{uuid.uuid4().hex}"
    settings = {
        "BROKER_URL": broker_url,
        "QUEUE": f"queue-{uuid.uuid4().hex}",
        "LLM_AUDIT_MONGO_URL": mongo_url,
        "LLM_AUDIT_DATABASE": database,
        "LLM_AUDIT_SPOOL_DIR": str(folder / "spool"),
        "LLM_AUDIT_STRICT": "true",
        "LLM_AUDIT_EXIT_TIMEOUT_SECONDS": str(PATIENCE),
        **more,
    }
    path = os.pathsep.join(map(str, (tasks, *tasks.parents[:2])))
    with pymongo.MongoClient(mongo_url, tz_aware=True) as client:
        yield Deployment(
            {**os.environ, **settings, "PYTHONPATH": path},
            settings,
            client[database]["llm_calls"],
            folder,
        )


def _abort(worker: subprocess.Popen[bytes]) -> None:
    """End a worker that hangs, then each of its children; their log says where each was."""
    main = psutil.Process(worker.pid)
    for process in (main, *main.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGABRT)
            psutil.wait_procs([process], ABORTING_SECONDS)  # one stack after the other
            process.kill()
    worker.wait()
