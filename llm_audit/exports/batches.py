"""Calls for an export in batches, newest first, for whoever cannot take all of them at once."""

from typing import NamedTuple

from llm_audit.exports.line_formats import LineFormat
from llm_audit.exports.openai_messages import NoExampleError
from llm_audit.ids import Id
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.steps import Document, Each, Enough, Steps

CALLS_MAX = 200
CHARACTERS_MAX = 2**22  # of lines; the last one may be longer


class Batch(NamedTuple):
    """Some lines of an export.

    Attributes:
        text: The lines; a call that cannot be one is left out.
        last_id: Of the last call that was read; None if there was none.
        is_last: Whether no call comes after.
    """

    text: str
    last_id: str | None
    is_last: bool


def batch_of(form: LineFormat, filters: CallFilters, after: Id | None) -> Steps[Batch]:
    """Return the next lines of an export: of so many calls, or fewer where these are large.

    Args:
        form: What a line is.
        filters: Which calls.
        after: The last call of the batch before.
    """
    pipeline: Pipeline = [
        {"$match": condition(filters, after=after)},
        {"$sort": {"_id": -1}},
        {"$limit": CALLS_MAX},
        *form.stages,
    ]
    lines: list[str] = []
    last_id: str | None = None
    calls = characters = 0

    def take(call: Document) -> None:
        nonlocal last_id, calls, characters
        last_id = str(call["_id"])
        calls += 1
        try:
            lines.append(f"{form.line(call)}\n")
        except NoExampleError:
            return
        characters += len(lines[-1])
        if characters > CHARACTERS_MAX:
            raise Enough

    is_all = yield Each(pipeline, take)
    return Batch("".join(lines), last_id, is_last=bool(is_all) and calls < CALLS_MAX)
