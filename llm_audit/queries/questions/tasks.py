"""What the calls of Celery tasks tell of tasks, canvases, queues and workers."""

from operator import attrgetter
from typing import Unpack

from llm_audit.documents import LLMCall
from llm_audit.ids import Id
from llm_audit.queries import pipelines
from llm_audit.queries.answers.tasks import (
    Canvas,
    QueueAndWorker,
    Task,
    TaskAndAround,
    TaskAttempt,
    TaskSummary,
    WorkerSummary,
    tasks_of,
)
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.newest import in_their_places, newest
from llm_audit.queries.pipelines.tasks import ATTEMPTS_MAX, CALLS_OF_WORKERS_MAX, attempts_around
from llm_audit.queries.questions.calls import calls
from llm_audit.queries.steps import Each, Steps, question, rows

_AROUND_MS = 1_000  # for the children of a task, which are looked for in all of its canvas


class TaskQuestions:
    """Finds tasks and their calls, and sums them up."""

    @question
    def list_tasks(
        self, *, limit: int = 50, after: Id | None = None, **filters: Unpack[CallFilters]
    ) -> Steps[list[Task]]:
        """Return the Celery tasks with calls that match, attempt by attempt, the last begun first.

        All of a task is in it, whichever of its calls match. To page, pass `first_id` of the last
        task as `after` until a page comes back shorter than `limit`, as in `list_traces`.

        Args:
            limit: How many tasks at the most.
            after: Only tasks whose first call that matches is older than the one with this id.
            **filters: See `CallFilters`.
        """
        places = yield from newest("task_id", limit=limit, after=after, filters=filters)
        if not places:
            return []
        attempts = pipelines.task_attempts(list(places))
        found = tasks_of((yield from rows(attempts, TaskAttempt.model_validate)))
        return in_their_places(found, places, attrgetter("task_id"))

    @question
    def get_task(self, task_id: Id) -> Steps[TaskAndAround | None]:
        """Return a Celery task attempt by attempt, and its parent, root and children.

        Args:
            task_id: Celery's.

        Returns:
            None if no call was made in such a task. What made no call is not known.
        """
        own = yield from rows(pipelines.task_attempts([task_id]), TaskAttempt.model_validate)
        if not own:
            return None
        [task] = tasks_of(own)
        others = {task.parent_id, task.root_id, task.outer_task_id} - {None, task.task_id}
        found: list[TaskAttempt] = []
        is_whole = yield Each(
            attempts_around(task.task_id, task.root_id, sorted(map(str, others))),
            lambda row: found.append(TaskAttempt.model_validate(row)),
            patience_ms=_AROUND_MS,
        )
        around = [other for other in tasks_of(found) if other.task_id != task.task_id]
        return TaskAndAround(task=task, around=around, is_whole=is_whole)

    @question
    def get_calls_by_task(self, task_id: Id, *, with_content: bool = True) -> Steps[list[LLMCall]]:
        """Return the calls of a Celery task, all its attempts, oldest first.

        Args:
            task_id: Celery's; `call.task.attempt_id` tells the attempts apart.
            with_content: False leaves out what was said, which may be megabytes.
        """
        return (yield from calls(pipelines.calls_by_task(task_id), with_content=with_content))

    @question
    def get_canvas(self, workflow_id: Id) -> Steps[Canvas]:
        """Return the tasks of a Celery canvas, each attempt by attempt, oldest first.

        Args:
            workflow_id: The id of its first task (its root), of a group in it, or of its trace.

        Returns:
            Its tasks, at most 5,000 attempts; none if no call was made in it.
        """
        attempts = yield from rows(
            pipelines.workflow_attempts(workflow_id), TaskAttempt.model_validate
        )
        return Canvas(tasks=tasks_of(attempts), is_whole=len(attempts) < ATTEMPTS_MAX)

    @question
    def get_workflow(self, workflow_id: Id, *, with_content: bool = True) -> Steps[list[LLMCall]]:
        """Return the calls of a Celery canvas, all tasks and their attempts, oldest first.

        Args:
            workflow_id: The id of its first task (its root), of a group in it, or of its trace.
            with_content: False leaves out what was said, which may be megabytes.
        """
        return (yield from calls(pipelines.workflow(workflow_id), with_content=with_content))

    @question
    def task_summary(self, **filters: Unpack[CallFilters]) -> Steps[list[TaskSummary]]:
        """Return what the Celery tasks of each name did, most calls first, at most 1,000 names.

        Args:
            **filters: See `CallFilters`; `status` would take away what rates are measured against.
        """
        return (yield from rows(pipelines.task_summary(**filters), TaskSummary.model_validate))

    @question
    def worker_summary(self, **filters: Unpack[CallFilters]) -> Steps[WorkerSummary]:
        """Return from which queues and in which workers tasks made calls, most calls first.

        The newest 50,000 calls are read; `is_whole` tells whether these were all.

        Args:
            **filters: See `CallFilters`; `status` would take away what rates are measured against.
        """
        found = yield from rows(pipelines.worker_summary(**filters), QueueAndWorker.model_validate)
        read = sum(row.calls for row in found)
        pairs = [row for row in found if row.in_task]
        return WorkerSummary(pairs=pairs, calls_read=read, is_whole=read < CALLS_OF_WORKERS_MAX)
