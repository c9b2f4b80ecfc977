"""What is around one call: its neighbours in a list, and the attempts of its task."""

from llm_audit.ids import Id
from llm_audit.queries import pipelines
from llm_audit.queries.answers.tasks import TaskAttempt, tasks_of
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.steps import Steps, rows


def neighbour(call_id: str, filters: CallFilters, *, newer: bool) -> Steps[str | None]:
    """Return the id of the call next to one in a list; None if it is the first or last one.

    Args:
        call_id: Of the call, which need not be in the list.
        filters: Of the list.
        newer: Whether the one that began after it is meant, or the one before.
    """
    beyond = {"_id": {"$gt" if newer else "$lt": call_id}}
    found = yield from rows(
        [
            {"$match": {"$and": [condition(filters), beyond]}},
            {"$sort": {"_id": 1 if newer else -1}},
            {"$limit": 1},
            {"$project": {"_id": 1}},
        ],
        lambda row: str(row["_id"]),
    )
    return found[0] if found else None


def attempts(task_id: Id) -> Steps[list[TaskAttempt]]:
    """Return the attempts of a task that made calls, oldest first.

    Args:
        task_id: Celery's.
    """
    own = yield from rows(pipelines.task_attempts([task_id]), TaskAttempt.model_validate)
    return list(tasks_of(own)[0].attempts) if own else []
