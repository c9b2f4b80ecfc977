"""Questions about tasks that take more than one step."""

from llm_audit.ids import Id, id_text
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.pipelines.tasks import (
    CALLS_WALKED,
    attempts_around,
    calls_walked,
    task_attempts,
)
from llm_audit.queries.steps import Steps, rows
from llm_audit.queries.tasks import NewestTasks, Task, TaskAttempt, tasks_of

WALKS = 4  # of 2,000 calls each


def asked_tasks(pipeline: Pipeline) -> Steps[list[Task]]:
    """Return the tasks whose attempts a pipeline gives."""
    return tasks_of((yield from rows(pipeline, TaskAttempt.model_validate)))


def around(task: Task) -> Steps[list[Task]]:
    """Return the tasks that a task comes from or has started, oldest first."""
    named = {task.parent_id, task.root_id, task.outer_task_id} - {None, task.task_id}
    others = [task_id for task_id in named if task_id is not None]
    found = yield from asked_tasks(attempts_around(task.task_id, task.root_id, others))
    return [one for one in found if one.task_id != task.task_id]


def newest_tasks(limit: int, after: Id | None, filters: CallFilters) -> Steps[NewestTasks]:
    """Return the tasks that made the newest calls.

    From call to call, back in time. Whoever was on a page before has a call that is newer than
    where this one begins.

    Args:
        limit: How many at the most.
        after: Only tasks without a call as new as this one.
        filters: Which calls count.
    """
    begin = place = None if after is None else id_text("after", after)
    page = NewestTasks()
    seen: set[str] = set()
    for _ in range(WALKS):
        walked = yield from rows(calls_walked(after=place, **filters), dict)
        if not walked:
            return page
        new = [row for row in walked if row["task_id"] and row["task_id"] not in seen]
        taken = new[: limit - len(page.tasks)]
        seen.update(row["task_id"] for row in taken)
        if taken:
            asked = task_attempts([row["task_id"] for row in taken], **filters)
            found = {task.task_id: task for task in (yield from asked_tasks(asked))}
            tasks = [found[row["task_id"]] for row in taken if row["task_id"] in found]
            page.tasks += [task for task in tasks if begin is None or task.last_call_id < begin]
        if len(taken) < len(new):
            place = taken[-1]["newest"]
        elif sum(row["calls"] for row in walked) < CALLS_WALKED:
            page.after = None
            return page
        else:
            place = min(row["oldest"] for row in walked)
        page.after = place
        if len(page.tasks) >= limit:
            return page
    return page
