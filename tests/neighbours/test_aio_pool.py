"""celery-aio-pool: tasks that are coroutines, on one loop of the worker."""

import uuid
from collections.abc import Callable

from celery import Celery
from deployment import CallsOf, Deployment

from llm_audit import audit_context

CUSTOM = {"CELERY_CUSTOM_WORKER_POOL": "celery_aio_pool.pool:AsyncIOPool"}
TASKS = 5
CALLS = 6  # of each


def test_coroutines_of_a_pool_of_their_own(
    deploy: Callable[..., Deployment],
    producer_for: Callable[[Deployment], Celery],
    calls_with: CallsOf,
) -> None:
    """Each task's calls carry its own context, wherever its coroutine goes; none is warned of."""
    deployed = deploy(**CUSTOM)
    producer = producer_for(deployed)
    run = uuid.uuid4().hex
    expected = {}
    with deployed.worker("--pool", "custom", app="aio_tasks"):
        for number in range(TASKS):
            with audit_context(user_id=f"user {number}", tags=[f"tag {number}"]):
                task_id = producer.send_task("aio_tasks.ask", (f"{run} {number}",)).id
            expected[task_id] = (f"user {number}", [f"tag {number}"])
        calls = calls_with(TASKS * CALLS, run)

    assert {call["trace_id"] for call in calls} == set(expected)
    for call in calls:
        assert (call["user_id"], call["tags"]) == expected[call["trace_id"]]
        (text,) = call["messages"]
        is_open = str(text).startswith("{'role': 'user', 'content': 'open")
        assert call["status"] == ("INCOMPLETE" if is_open else "SUCCESS")
        if call["task"]["name"] == "aio_tasks.ask":
            assert call["task_id"] == call["trace_id"]
    log = max(deployed.folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
    assert "async def" not in log.read_text()
