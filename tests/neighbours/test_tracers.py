"""Sentry and ddtrace, which replace parts of Celery: neither they nor we lose anything."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from deployment import PREFORK, CallsOf, Deployment
from waiting import PATIENCE, until

DATADOG = {"DD_CELERY_DISTRIBUTED_TRACING": "true", "DD_TRACE_PARTIAL_FLUSH_MIN_SPANS": "1"}
# One: ddtrace knows a run by its task's id, which an attempt and the next one share.
THREAD = ("--pool", "threads", "--concurrency", "1")
TASKS = {"again": 12, "fail": 1}  # runs of each


@pytest.mark.parametrize("options", [PREFORK, THREAD], ids=["prefork", "threads"])
@pytest.mark.parametrize(
    "tool", ["sentry before", "sentry after", "ddtrace before", "ddtrace after"]
)
def test_both_see_every_task(  # noqa: PLR0917
    deploy: Callable[..., Deployment],
    producer_for: Callable[[Deployment], Celery],
    calls_with: CallsOf,
    tmp_path: Path,
    tool: str,
    options: tuple[str, ...],
) -> None:
    """Set up before the hooks or after them, the tool sees each run, its error, and one trace."""
    seen = tmp_path / "seen"
    deployed = deploy(TOOL=tool, SEEN=str(seen), **DATADOG)
    producer = producer_for(deployed)
    text = uuid.uuid4().hex
    about = {"trace_id": text, "user_id": "7", "session_id": "s"}
    with deployed.worker(*options, app="traced_tasks"):
        published = producer.send_task("traced_tasks.publish", (text, about | {"tags": ["beta"]}))
        last = producer.AsyncResult(published.get(timeout=PATIENCE))
        carried = last.get(timeout=PATIENCE)
        calls = calls_with(sum(TASKS.values()), text)
        told = []

        def has_told_all() -> bool:
            told[:] = seen.read_text().splitlines() if seen.exists() else []
            return len([line for line in told if line.startswith("task")]) > sum(TASKS.values())

        until(has_told_all, instead=lambda: f"{tool} saw only {told}")

    for call in calls:
        assert {name: call.get(name) for name in about} == about
        assert call["tags"] == ["beta"]
    assert len(set(carried)) == 1
    assert [line for line in told if line.startswith("error")] == ["error KeyError"]
    runs = [line.split() for line in told if line.startswith("task")]
    for name, count in TASKS.items():
        assert len([run for run in runs if run[1] == f"traced_tasks.{name}"]) == count
    assert len({trace_id for _, _, trace_id in runs}) == 1
