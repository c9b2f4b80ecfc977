"""LLMCallRepository: the queries, run through Beanie, with typed results."""

from typing import TypeVar, Unpack

from beanie.exceptions import CollectionWasNotInitialized
from pydantic import BaseModel

from llm_audit.documents import LLMCall
from llm_audit.errors import NotInitializedError
from llm_audit.ids import Id, id_text
from llm_audit.queries import pipelines
from llm_audit.queries.conversation import Conversation, ConversationBuilder
from llm_audit.queries.filters import CallFilters, checked_limit, condition
from llm_audit.queries.grouping import UTC, Bucket, GroupBy
from llm_audit.queries.media import restore_media
from llm_audit.queries.results import (
    CostSummary,
    FailureSummary,
    LatencySummary,
    RetrySpend,
    ToolUsage,
    Usage,
)
from llm_audit.queries.trace_tree import TraceTree, build_trace_tree
from llm_audit.settings import get_settings

SAMPLE_MAX_CHARACTERS = 500

Row = TypeVar("Row", bound=BaseModel)


class LLMCallRepository:
    """Finds and sums up recorded calls.

    Every method needs `await llm_audit.init()` before it, in the same event loop, and raises
    `NotInitializedError` without, `UsageError` for a wrong argument. Filters are those of
    `CallFilters`; ids may be str, UUID or int.
    """

    @staticmethod
    async def get(call_id: Id, *, with_media: bool = False) -> LLMCall | None:
        """Return one call, or None if there is no such call (yet).

        Args:
            call_id: What `LLMLogger.start` returned.
            with_media: Put back what moved to GridFS, as it was recorded, instead of references.

        Raises:
            MediaMissingError: With `with_media`, if some of it is not in GridFS, or not whole.
        """
        by_id = {"_id": id_text("call_id", call_id)}
        if not with_media:
            return await _calls().find_one(by_id)
        calls = _calls().get_pymongo_collection()
        call = await calls.find_one(by_id)
        if call is None:
            return None
        return LLMCall.model_validate(await restore_media(call, calls.database))

    @staticmethod
    async def list_by_filters(
        *, limit: int | None = 100, after: Id | None = None, **filters: Unpack[CallFilters]
    ) -> list[LLMCall]:
        """Return the calls that match, newest first.

        To page, pass the last call's id as `after` until a page comes back shorter than `limit`:
        no call is skipped or seen twice, however many are recorded meanwhile.

        Args:
            limit: How many calls at the most; None for all.
            after: Only calls older than the one with this id.
            **filters: See `CallFilters`.
        """
        checked_limit(limit)
        query = _calls().find(condition(filters, after=after)).sort("-_id")
        return await query.limit(limit).to_list()

    @staticmethod
    async def count_by_filters(**filters: Unpack[CallFilters]) -> int:
        """Return how many calls match.

        Args:
            **filters: See `CallFilters`.
        """
        return await _calls().find(condition(filters)).count()

    @staticmethod
    async def search(
        text: str,
        *,
        limit: int | None = 100,
        after: Id | None = None,
        **filters: Unpack[CallFilters],
    ) -> list[LLMCall]:
        """Return the calls that said something, newest first, in pages like `list_by_filters`.

        Every text in system prompt, messages, input and response is looked at, tool arguments and
        results included. The calls of the time range are read one by one, so keep it short; with
        the setting `text_index` they are looked up, and only whole words are found.

        Args:
            text: What has to be in one of the texts, in capitals or not; nothing in it is special.
            limit: How many calls at the most; None for all.
            after: Only calls older than the one with this id.
            **filters: See `CallFilters`. Without `start_date` it is a week before `end_date`, or
                now; with `text_index`, none.
        """
        indexed = get_settings().text_index
        pipeline = pipelines.search(text, text_index=indexed, limit=limit, after=after, **filters)
        return await _run(pipeline, LLMCall)

    @staticmethod
    async def get_calls_by_trace(trace_id: Id) -> list[LLMCall]:
        """Return the calls of a trace, oldest first.

        Args:
            trace_id: As given to `LLMLogger.start` or `audit_context`.
        """
        return await _run(pipelines.calls_by_trace(trace_id), LLMCall)

    @staticmethod
    async def get_trace_tree(trace_id: Id) -> TraceTree:
        """Return a trace as a tree, with calls, tokens, cost and time of each branch.

        Args:
            trace_id: As given to `LLMLogger.start` or `audit_context`.

        Returns:
            The tree, without what was said; without roots if there is no such trace.
        """
        rows = await _calls().aggregate(pipelines.trace_tree(trace_id)).to_list()
        return build_trace_tree(rows)

    @staticmethod
    async def get_session(session_id: Id) -> Conversation:
        """Return the conversation of a session, turn by turn, without repeating its history.

        Args:
            session_id: As given to `LLMLogger.start` or `audit_context`.

        Returns:
            Every call of the session, oldest first, with what is new in its request, tool calls
            and results included; without turns if there is no such session.
        """
        builder = ConversationBuilder(id_text("session_id", session_id))
        async for row in _calls().aggregate(pipelines.session(session_id)):
            builder.add(row)
        return builder.conversation

    @staticmethod
    async def get_calls_by_task(task_id: Id) -> list[LLMCall]:
        """Return the calls of a Celery task, all its attempts, oldest first.

        Args:
            task_id: Celery's; `call.task.attempt_id` tells the attempts apart.
        """
        return await _run(pipelines.calls_by_task(task_id), LLMCall)

    @staticmethod
    async def get_workflow(workflow_id: Id) -> list[LLMCall]:
        """Return the calls of a Celery canvas, all tasks and their attempts, oldest first.

        Args:
            workflow_id: The id of its first task (its root), of a group in it, or of its trace.
        """
        return await _run(pipelines.workflow(workflow_id), LLMCall)

    @staticmethod
    async def tool_usage(**filters: Unpack[CallFilters]) -> list[ToolUsage]:
        """Return how each tool was used, most often asked for first.

        Args:
            **filters: See `CallFilters`; with `tool`, only those tools are in the result.
        """
        return await _run(pipelines.tool_usage(**filters), ToolUsage)

    @staticmethod
    async def failure_summary(**filters: Unpack[CallFilters]) -> FailureSummary:
        """Return how calls ended, and the failures by kind, cause, model and task.

        Failures are ERROR, TIMEOUT and ABANDONED. CANCELLED, INCOMPLETE and PENDING calls are
        counted apart and are no part of any rate: a rate is failures / (successes + failures).

        Args:
            **filters: See `CallFilters`; `status` would take away what rates are measured against.
        """
        rows = await _run(pipelines.failure_summary(**filters), FailureSummary)
        if not rows:
            return FailureSummary()
        [summary] = rows
        by_sample = {group.sample_id: group for group in summary.groups}
        messages = pipelines.error_messages(list(by_sample))
        for row in await _calls().aggregate(messages).to_list():
            by_sample[row["id"]].sample_message = row["error_message"][:SAMPLE_MAX_CHARACTERS]
        return summary

    @staticmethod
    async def cost_summary(
        group_by: GroupBy = "model", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> list[CostSummary]:
        """Return what calls used and cost in each group, dearest first.

        Args:
            group_by: A field, `tag`, or `hour`, `day`, `week` or `month` (these oldest first).
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.cost_summary(group_by, timezone=timezone, **filters)
        return await _run(pipeline, CostSummary)

    @staticmethod
    async def usage_over_time(
        bucket: Bucket = "day", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> list[Usage]:
        """Return calls, how they ended, tokens and cost over time, oldest first.

        Args:
            bucket: `hour`, `day`, `week` (from Monday) or `month`; one without calls has no row.
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.usage_over_time(bucket, timezone=timezone, **filters)
        return await _run(pipeline, Usage)

    @staticmethod
    async def retry_spend(**filters: Unpack[CallFilters]) -> list[RetrySpend]:
        """Return what Celery's retries and redeliveries paid again, by task name, dearest first.

        Args:
            **filters: See `CallFilters`.
        """
        return await _run(pipelines.retry_spend(**filters), RetrySpend)

    @staticmethod
    async def latency_summary(
        group_by: GroupBy = "model", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> list[LatencySummary]:
        """Return how long calls took in each group, in milliseconds, slowest first.

        A percentile is at most 0.51 % too high. Every call with a latency counts, however it
        ended; `status="SUCCESS"` leaves out the others.

        Args:
            group_by: A field, `tag`, or `hour`, `day`, `week` or `month` (these oldest first).
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.latency_summary(group_by, timezone=timezone, **filters)
        return await _run(pipeline, LatencySummary)


def _calls() -> type[LLMCall]:
    """Return LLMCall if it is bound to a database."""
    try:
        LLMCall.get_settings()
    except CollectionWasNotInitialized:
        raise NotInitializedError(
            "LLMCall is not bound to a database yet: `await llm_audit.init()` first, "
            "e.g. in the lifespan of your app."
        ) from None
    return LLMCall


async def _run(pipeline: pipelines.Pipeline, row: type[Row]) -> list[Row]:
    documents = await _calls().aggregate(pipeline).to_list()
    return [row.model_validate(document) for document in documents]
