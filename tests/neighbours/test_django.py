"""django-celery-beat and django-celery-results."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from celery import Celery
from deployment import PREFORK, CallsOf, Deployment
from waiting import PATIENCE, until

from llm_audit import audit_context

FOLDER = Path(__file__).parent
RESULTS = """
import sys, django_tasks
from django_celery_results.models import TaskResult
for result in TaskResult.objects.filter(task_id__in=sys.argv[1:]):
    print(result.status, result.result)
"""


def test_what_django_schedules_and_keeps(
    deploy: Callable[..., Deployment],
    producer_for: Callable[[Deployment], Celery],
    calls_with: CallsOf,
    tmp_path: Path,
) -> None:
    """Each scheduled message begins a trace; a result is that of the task, by its id."""
    deployed = deploy(DJANGO_DATABASE=str(tmp_path / "db"))
    scheduled, sent = uuid.uuid4().hex, uuid.uuid4().hex

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        said = subprocess.check_output(command, env=deployed.environment, timeout=PATIENCE)
        return said.decode()

    run(str(FOLDER / "scheduled.py"), scheduled)
    made = {"messages.content": scheduled, "status": "SUCCESS", "task.retries": 1}
    with deployed.worker(*PREFORK, "--beat", app="django_tasks"):
        until(lambda: deployed.calls.count_documents(made) >= 2)
        with audit_context(user_id="7", trace_id=sent):
            task_id = producer_for(deployed).send_task("django_tasks.ask", (sent,)).id
        first, second = calls_with(2, sent)
        until(lambda: "SUCCESS" in run("-c", RESULTS, task_id))

    calls = list(deployed.calls.find(made))
    assert len({call["trace_id"] for call in calls}) == len(calls)
    assert all(call["trace_id"] == call["task_id"] for call in calls)
    assert not any({"user_id", "session_id", "tags"} & set(call) for call in calls)
    assert run("-c", RESULTS, task_id).split() == ["SUCCESS", f'"{second["_id"]}"']
    for number, call in enumerate((first, second)):
        assert (call["task_id"], call["trace_id"], call["user_id"]) == (task_id, sent, "7")
        assert call["task"]["retries"] == number
