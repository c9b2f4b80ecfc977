"""Calls for an export in batches, newest first, for whoever cannot take all of them at once."""

from collections.abc import Iterable

from llm_audit.exports.line_formats import LineFormat
from llm_audit.exports.openai_messages import NoExampleError
from llm_audit.ids import Id
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.steps import Document, Steps, rows

BATCH = 200  # calls


def batch_of(form: LineFormat, filters: CallFilters, after: Id | None) -> Steps[list[Document]]:
    """Return the next calls of an export, a whole batch unless they are the last ones.

    Args:
        form: What a line is.
        filters: Which calls.
        after: The last call of the batch before.
    """
    pipeline: Pipeline = [
        {"$match": condition(filters, after=after)},
        {"$sort": {"_id": -1}},
        {"$limit": BATCH},
        *form.stages,
    ]
    return (yield from rows(pipeline, dict))


def lines_of(form: LineFormat, calls: Iterable[Document]) -> str:
    """Return the lines of calls; one that cannot be one is left out."""
    lines = []
    for call in calls:
        try:
            lines.append(f"{form.line(call)}\n")
        except NoExampleError:
            continue
    return "".join(lines)
