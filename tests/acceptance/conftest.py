"""Real Celery workers on a real Redis, recording into a real MongoDB."""

import gc
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import slow_provider
from deployment import BY_AGENT, POOLS, TASKS_FOLDER, CallsOf, Deployment, deployed
from flights import Flight
from slow_provider import SlowProvider
from waiting import ended_calls

import llm_audit
from llm_audit import embedded
from llm_audit.settings import reset_settings

pytest.importorskip("celery")

TASK_MODULES = (
    *("audited_tasks", "coroutine_tasks", "ending_tasks", "spinning_tasks", "travelling_tasks"),
)


@pytest.fixture(scope="session")
def any_provider() -> Iterator[SlowProvider]:
    """Run one provider for all tests of a process."""
    with slow_provider.serve() as provider:
        yield provider


@pytest.fixture
def provider(any_provider: SlowProvider) -> Iterator[SlowProvider]:
    """Have every call to the provider in flight until the test lets it answer."""
    any_provider.hold()
    yield any_provider
    any_provider.answer()


@pytest.fixture(scope="session")
def deployment(
    mongod: embedded.Mongod,
    redis_url: str,
    any_provider: SlowProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """Deploy one app: a database, a queue and a spool, also as this process's settings."""
    settings = {
        "PROVIDER_URL": any_provider.url,
        # not in native threads: a signal handler that switches greenlets while gevent holds the
        # lock of their queue, as Celery's do, stops the whole worker
        "GEVENT_RESOLVER": "block",
    }
    folder = tmp_path_factory.mktemp("deployment")
    with deployed(mongod.url, redis_url, folder, **settings) as deployment:
        yield deployment
        gc.collect()  # results of Celery 5.5 unsubscribe when they go: while the server is there


@pytest.fixture
def tasks(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the tasks in this process, as a producer does."""
    from celery import _state

    import celery_hooks

    # so that the tasks of this test are not registered again with the app of the next one
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    for name, value in deployment.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(TASKS_FOLDER))
    for name in TASK_MODULES:
        sys.modules.pop(name, None)
    import audited_tasks

    reset_settings()
    yield audited_tasks
    celery_hooks.uninstall()
    llm_audit.shutdown()
    reset_settings()
    audited_tasks.app.close()


@pytest.fixture(scope="session")
def left_to_an_agent(deployment: Deployment) -> Iterator[Deployment]:
    """Give the same deployment, with an agent that ships what its workers record."""
    with deployment.agent() as left_to_it:
        yield left_to_it


@pytest.fixture(scope="session", params=POOLS)
def pool(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run one worker of each pool for all the tests that leave it alive."""
    name, _, way = request.param.partition(", ")
    with _where(way, request).worker(*POOLS[name]):
        yield


def _where(way: str, request: pytest.FixtureRequest) -> Deployment:
    """Return where workers run that record in a way of delivery."""
    name = "left_to_an_agent" if way == BY_AGENT else "deployment"
    deployment: Deployment = request.getfixturevalue(name)
    return deployment


@pytest.fixture
def flight(tasks: Any, provider: SlowProvider, deployment: Deployment) -> Flight:
    """Have tasks whose calls are in flight until the test ends them."""
    assert tasks.app
    import ending_tasks

    return Flight(ending_tasks, provider, deployment)


@pytest.fixture
def own_queue(tasks: Any, request: pytest.FixtureRequest) -> Deployment:
    """Give the test a queue that no worker of another test listens to."""
    queue = f"queue-{uuid.uuid4().hex}"
    tasks.app.conf.task_default_queue = queue
    return _where(getattr(request, "param", ""), request).with_settings(QUEUE=queue)


@pytest.fixture
def calls_of(deployment: Deployment) -> CallsOf:
    """Wait for the calls of some tasks to end, and return them in the order they were made."""

    def wait(count: int, *task_ids: str) -> list[dict[str, Any]]:
        return ended_calls(deployment.calls, {"task_id": {"$in": task_ids}}, count)

    return wait
