"""Workers beside other projects' packages, on a real Redis, recording into a real MongoDB."""

import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from deployment import CallsOf, Deployment, deployed
from waiting import ended_calls

import celery_hooks
from llm_audit import embedded

TASKS_FOLDER = Path(__file__).parent
NEIGHBOURS = ("arq", "celery_aio_pool", "celery_batches", "ddtrace", "flower", "ipykernel")

if not all(map(find_spec, NEIGHBOURS)):
    collect_ignore_glob = ["test_*.py"]  # they are in a venv of their own: make neighbours


@pytest.fixture(scope="session")
def deployment(
    mongod: embedded.Mongod, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Give the apps one database."""
    folder = tmp_path_factory.mktemp("neighbours")
    with deployed(mongod.url, redis_url, folder, TASKS_FOLDER) as deployment:
        yield deployment


@pytest.fixture
def deploy(deployment: Deployment) -> Callable[..., Deployment]:
    """Give an app a queue of its own, and further settings."""

    def with_queue(**settings: str) -> Deployment:
        return deployment.with_settings(QUEUE=f"queue-{uuid.uuid4().hex}", **settings)

    return with_queue


@pytest.fixture
def producer_for(deployment: Deployment) -> Iterator[Callable[[Deployment], Celery]]:
    """Give the test an app that publishes by name: it imports no tasks, and no neighbour."""
    broker = deployment.settings["BROKER_URL"]
    app = Celery("producer", broker=broker, backend=broker, set_as_current=False)
    celery_hooks.install(app)

    def produce(deployed: Deployment) -> Celery:
        app.conf.task_default_queue = deployed.environment["QUEUE"]
        return app

    yield produce
    celery_hooks.uninstall()
    app.close()


@pytest.fixture
def calls_with(deployment: Deployment) -> CallsOf:
    """Wait for so many calls to end with this in their messages, and return the oldest first."""

    def wait(count: int, text: str) -> list[dict[str, Any]]:
        return ended_calls(deployment.calls, {"messages.content": {"$regex": text}}, count)

    return wait
