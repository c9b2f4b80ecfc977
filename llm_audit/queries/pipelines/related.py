"""Which calls belong together: those of a trace, of a task."""

from llm_audit.queries.filters import Id, id_text
from llm_audit.queries.pipelines.stages import Pipeline


def calls_by_trace(trace_id: Id) -> Pipeline:
    """Which calls made up this trace, oldest first?

    Args:
        trace_id: str, UUID or int.

    Returns:
        Stages whose rows are whole calls. Index: trace_id_newest, read backwards.
    """
    return [{"$match": {"trace_id": id_text("trace_id", trace_id)}}, {"$sort": {"_id": 1}}]


def calls_by_task(task_id: Id) -> Pipeline:
    """Which calls did this Celery task make, in all its attempts, oldest first?

    Args:
        task_id: str, UUID or int.

    Returns:
        Stages whose rows are whole calls. Index: task_id_newest, read backwards.
    """
    return [{"$match": {"task_id": id_text("task_id", task_id)}}, {"$sort": {"_id": 1}}]
