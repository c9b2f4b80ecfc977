"""Which calls there are, and how many."""

from typing import Any, Unpack

from llm_audit.call import Kind, columns
from llm_audit.documents import LLMCall
from llm_audit.ids import Id, id_text
from llm_audit.queries import pipelines
from llm_audit.queries.answers.lines import CallPreview, Facet
from llm_audit.queries.filters import CallFilters, checked_limit, condition
from llm_audit.queries.media import MEDIA_MAX_BYTES, restored
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.pipelines.previews import Largest
from llm_audit.queries.steps import Steps, question, rows

WITHOUT_CONTENT: dict[str, Any] = {
    "$project": dict.fromkeys(columns(Kind.WHO, Kind.FIGURE, Kind.LABEL), 1)
}


class CallQuestions:
    """Finds calls."""

    @question
    def get(
        self,
        call_id: Id,
        *,
        with_media: bool = False,
        media_max_bytes: int = MEDIA_MAX_BYTES,
    ) -> Steps[LLMCall | None]:
        """Return one call, or None if there is no such call (yet).

        Args:
            call_id: What `LLMLogger.start` returned.
            with_media: Put back what moved to GridFS, as it was recorded, instead of references.
                What is missing there, or was altered, stays a reference with a `problem` in it,
                and `media_problems` of the call lists them all.
            media_max_bytes: How many bytes to fetch for that at the most; what is more stays a
                reference, too.
        """
        wanted = id_text("call_id", call_id)
        documents = yield from rows([{"$match": {"_id": wanted}}], dict)
        if not documents:
            return None
        document = documents[0]
        if with_media:
            document = yield from restored(document, media_max_bytes)
        return LLMCall.model_validate(document)

    @question
    def list_by_filters(
        self,
        *,
        limit: int | None = 100,
        after: Id | None = None,
        with_content: bool = True,
        **filters: Unpack[CallFilters],
    ) -> Steps[list[LLMCall]]:
        """Return the calls that match, newest first.

        To page, pass the last call's id as `after` until a page comes back shorter than `limit`:
        no call is skipped or seen twice, however many are recorded meanwhile.

        Args:
            limit: How many calls at the most; None for all.
            after: Only calls older than the one with this id.
            with_content: False leaves out what was said, which may be megabytes.
            **filters: See `CallFilters`.
        """
        checked_limit(limit)
        pipeline: Pipeline = [
            {"$match": condition(filters, after=after)},
            {"$sort": {"_id": -1}},
            *([] if limit is None else [{"$limit": limit}]),
        ]
        return (yield from calls(pipeline, with_content=with_content))

    @question
    def preview_calls(
        self, *, limit: int | None = 100, after: Id | None = None, **filters: Unpack[CallFilters]
    ) -> Steps[list[CallPreview]]:
        """Return the calls that match, a line each, in pages like those of `list_by_filters`.

        What was asked and answered is cut in MongoDB, so a page of calls with megabytes is small.

        Args:
            limit: How many calls at the most; None for all.
            after: Only calls older than the one with this id.
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.call_previews(limit=limit, after=after, **filters)
        return (yield from rows(pipeline, CallPreview.model_validate))

    @question
    def largest_calls(
        self,
        largest: Largest = "estimated_cost",
        *,
        limit: int = 100,
        **filters: Unpack[CallFilters],
    ) -> Steps[list[CallPreview]]:
        """Return the calls that cost most, took longest or have the most tokens, a line each.

        Args:
            largest: Of which figure; calls without it are left out.
            limit: How many calls at the most.
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.largest_calls(largest, limit, **filters)
        return (yield from rows(pipeline, CallPreview.model_validate))

    @question
    def facets(self, **filters: Unpack[CallFilters]) -> Steps[list[Facet]]:
        """Return which values calls have in the fields that tell them apart, most frequent first.

        Of the calls that match, the newest 20,000 are looked at.

        Args:
            **filters: See `CallFilters`.
        """
        return (yield from rows(pipelines.facets(**filters), Facet.model_validate))

    @question
    def count_by_filters(self, **filters: Unpack[CallFilters]) -> Steps[int]:
        """Return how many calls match.

        Args:
            **filters: See `CallFilters`.
        """
        pipeline: Pipeline = [{"$match": condition(filters)}, {"$count": "calls"}]
        counted = yield from rows(pipeline, lambda row: int(row["calls"]))
        return sum(counted)


def calls(pipeline: Pipeline, *, with_content: bool = True) -> Steps[list[LLMCall]]:
    """Return the calls that a pipeline gives.

    Args:
        pipeline: Its rows are whole calls.
        with_content: False leaves out what was said.
    """
    stages = pipeline if with_content else [*pipeline, WITHOUT_CONTENT]
    return (yield from rows(stages, LLMCall.model_validate))
