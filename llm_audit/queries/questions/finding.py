"""Which calls said something."""

from collections.abc import Callable
from typing import Unpack

from llm_audit.documents import LLMCall
from llm_audit.ids import Id
from llm_audit.queries import pipelines
from llm_audit.queries.answers.lines import Found
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.pipelines.finding import COUNTED_MAX, not_searched
from llm_audit.queries.questions.calls import WITHOUT_CONTENT
from llm_audit.queries.steps import LONGEST_MS, Document, Each, Steps, query_limit_ms, question
from llm_audit.settings import get_settings

SEARCH_BATCH = 10
_COUNTING_MS = 1_000


class FindingQuestions:
    """Finds calls by what was said."""

    @question
    def search(
        self,
        text: str,
        *,
        limit: int | None = 100,
        after: Id | None = None,
        with_content: bool = True,
        **filters: Unpack[CallFilters],
    ) -> Steps[Found[LLMCall]]:
        """Return the calls that said something, newest first, in pages like `list_by_filters`.

        Every text in system prompt, messages, input and response is looked at, tool arguments and
        results included. The calls of the time range are read one by one, so keep it short; with
        the setting `text_index` they are looked up, and only whole words are found. The list that
        is returned says in `not_searched` what may hold the text as well: content in GridFS, and
        older calls if the time of the setting `query_timeout_seconds` was over.

        Args:
            text: What has to be in one of the texts, in capitals or not; nothing in it is special.
            limit: How many calls at the most; None for all.
            after: Only calls older than the one with this id.
            with_content: False leaves out what was said, which may be megabytes.
            **filters: See `CallFilters`. Without `start_date` it is a week before `end_date`, or
                now; with `text_index`, none.
        """
        indexed = get_settings().text_index
        pipeline = pipelines.search(text, text_index=indexed, limit=limit, after=after, **filters)
        found = Found[LLMCall]()
        shown = [] if with_content else [WITHOUT_CONTENT]
        found.not_searched = yield from searched(
            [*pipeline, *shown], lambda row: found.append(LLMCall.model_validate(row))
        )
        return found


def searched(
    pipeline: Pipeline, take: Callable[[Document], object], *, batch_size: int = SEARCH_BATCH
) -> Steps[tuple[str, ...]]:
    """Hand out what a search finds, and return what was not searched.

    Args:
        pipeline: Begins with `pipelines.search`.
        take: Is called with each call as it comes.
        batch_size: How many MongoDB sends at once; those that it holds back when its time is over
            are lost.

    Returns:
        What may hold the text as well, each in a sentence.
    """
    reasons = []
    if not (yield Each(pipeline, take, batch_size, query_limit_ms() or LONGEST_MS)):
        reasons.append(
            "The search was stopped when its time was over (query_timeout_seconds): older calls "
            "may say it, too."
        )
    return (*reasons, *(yield from in_gridfs(pipeline)))


def in_gridfs(pipeline: Pipeline, since: Id | None = None) -> Steps[tuple[str, ...]]:
    """Return what a search does not see, in a sentence if there is any.

    Args:
        pipeline: Begins with `pipelines.search`.
        since: The oldest call that was looked at; None if all were.
    """
    counted: list[int] = []
    stages = not_searched(pipeline, since)
    yield Each(stages, lambda row: counted.append(row["calls"]), patience_ms=_COUNTING_MS)
    counts = sum(counted)
    if not counts:
        return ()
    many = "more than " if counts > COUNTED_MAX else ""
    calls_are = "call has" if counts == 1 else "calls have"
    count = f"{many}{min(counts, COUNTED_MAX):,}"
    return (f"{count} {calls_are} content in GridFS, which is not searched.",)
