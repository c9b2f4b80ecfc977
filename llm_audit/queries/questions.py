"""Every question about calls, each written once for the async and for the sync repository."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Unpack

from llm_audit.call import Kind, columns
from llm_audit.documents import LLMCall
from llm_audit.ids import Id, id_text
from llm_audit.queries import pipelines
from llm_audit.queries.conversation import Conversation, ConversationBuilder
from llm_audit.queries.filters import CallFilters, checked_limit, condition
from llm_audit.queries.grouping import UTC, Bucket, GroupBy
from llm_audit.queries.media import MEDIA_MAX_BYTES, restored
from llm_audit.queries.newest import in_their_places, newest
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.pipelines.finding import COUNTED_MAX, not_searched
from llm_audit.queries.pipelines.people import Whose
from llm_audit.queries.pipelines.tasks import (
    ATTEMPTS_MAX,
    CALLS_OF_WORKERS_MAX,
    attempts_around,
)
from llm_audit.queries.results import (
    CallPreview,
    CostSummary,
    Facet,
    FailureCount,
    FailureSummary,
    Found,
    LatencyCell,
    LatencySummary,
    RetrySpend,
    ScoreSummary,
    SessionSummary,
    ToolUsage,
    TraceSummary,
    Usage,
    UserSummary,
)
from llm_audit.queries.steps import Document, Each, Steps, question, rows
from llm_audit.queries.tasks import (
    Canvas,
    QueueAndWorker,
    Task,
    TaskAndAround,
    TaskAttempt,
    TaskSummary,
    WorkerSummary,
    tasks_of,
)
from llm_audit.queries.trace_tree import TraceTree, build_trace_tree
from llm_audit.settings import get_settings

SAMPLE_MAX_CHARACTERS = 500
SEARCH_BATCH = 10
_COUNTING_MS = 1_000
_AROUND_MS = 1_000  # for the children of a task, which are looked for in all of its canvas
_LONGEST_MS = 2**31 - 1  # that MongoDB takes

WITHOUT_CONTENT: dict[str, Any] = {
    "$project": dict.fromkeys(columns(Kind.WHO, Kind.FIGURE, Kind.LABEL), 1)
}


class Questions:
    """Finds and sums up recorded calls.

    Filters are those of `CallFilters`; ids may be str, UUID or int. Every question raises
    `UsageError` for a wrong argument, `UnavailableError` if MongoDB cannot be reached or does not
    let us, and `ConfigurationError` for a setting that cannot be.

    A call with a field of a wrong type is in the answer like any other: `call.unreadable` names the
    field, and sums leave it out and count it.
    """

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

    @question
    def list_traces(
        self, *, limit: int = 50, after: Id | None = None, **filters: Unpack[CallFilters]
    ) -> Steps[list[TraceSummary]]:
        """Return the traces with calls that match, a line each, those that began last first.

        What is summed up is the whole trace, whichever of its calls match. To page, pass `first_id`
        of the last trace as `after` until a page comes back shorter than `limit`: no trace is
        skipped or seen twice, however many are recorded meanwhile.

        Args:
            limit: How many traces at the most.
            after: Only traces whose first call that matches is older than the one with this id.
            **filters: See `CallFilters`. With dates, a trace is where its first call between them
                is.
        """
        places = yield from newest("trace_id", limit=limit, after=after, filters=filters)
        if not places:
            return []
        pipeline = pipelines.trace_summaries(list(places))
        found = yield from rows(pipeline, TraceSummary.model_validate)
        return in_their_places(found, places, attrgetter("trace_id"))

    @question
    def list_sessions(
        self, *, limit: int = 50, after: Id | None = None, **filters: Unpack[CallFilters]
    ) -> Steps[list[SessionSummary]]:
        """Return the sessions with calls that match, a line each, in pages like `list_traces`.

        What is summed up is the whole session, whichever of its calls match.

        Args:
            limit: How many sessions at the most.
            after: Only sessions whose first call that matches is older than the one with this id.
            **filters: See `CallFilters`.
        """
        places = yield from newest("session_id", limit=limit, after=after, filters=filters)
        if not places:
            return []
        pipeline = pipelines.session_summaries(list(places))
        found = yield from rows(pipeline, SessionSummary.model_validate)
        return in_their_places(found, places, attrgetter("session_id"))

    @question
    def get_calls_by_trace(
        self, trace_id: Id, *, with_content: bool = True
    ) -> Steps[list[LLMCall]]:
        """Return the calls of a trace, oldest first.

        Args:
            trace_id: As given to `LLMLogger.start` or `audit_context`.
            with_content: False leaves out what was said, which may be megabytes.
        """
        return (yield from calls(pipelines.calls_by_trace(trace_id), with_content=with_content))

    @question
    def get_trace_tree(self, trace_id: Id, *, limit: int | None = None) -> Steps[TraceTree]:
        """Return a trace as a tree, with calls, tokens, cost and time of each branch.

        Args:
            trace_id: As given to `LLMLogger.start` or `audit_context`.
            limit: How many calls at the most, the oldest ones; None for all.

        Returns:
            The tree, without what was said; without roots if there is no such trace.
        """
        return build_trace_tree(
            (yield from rows(pipelines.trace_tree(trace_id, limit=limit), dict))
        )

    @question
    def get_session(self, session_id: Id) -> Steps[Conversation]:
        """Return the conversation of a session, turn by turn, without repeating its history.

        Args:
            session_id: As given to `LLMLogger.start` or `audit_context`.

        Returns:
            Every call of the session, oldest first, with what is new in its request, tool calls
            and results included; without turns if there is no such session.
        """
        builder = ConversationBuilder(id_text("session_id", session_id))
        yield Each(pipelines.session(session_id), builder.add)
        return builder.conversation

    @question
    def get_calls_by_task(self, task_id: Id, *, with_content: bool = True) -> Steps[list[LLMCall]]:
        """Return the calls of a Celery task, all its attempts, oldest first.

        Args:
            task_id: Celery's; `call.task.attempt_id` tells the attempts apart.
            with_content: False leaves out what was said, which may be megabytes.
        """
        return (yield from calls(pipelines.calls_by_task(task_id), with_content=with_content))

    @question
    def get_workflow(self, workflow_id: Id, *, with_content: bool = True) -> Steps[list[LLMCall]]:
        """Return the calls of a Celery canvas, all tasks and their attempts, oldest first.

        Args:
            workflow_id: The id of its first task (its root), of a group in it, or of its trace.
            with_content: False leaves out what was said, which may be megabytes.
        """
        return (yield from calls(pipelines.workflow(workflow_id), with_content=with_content))

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

    @question
    def tool_usage(self, **filters: Unpack[CallFilters]) -> Steps[list[ToolUsage]]:
        """Return how each tool was used, most often asked for first.

        Args:
            **filters: See `CallFilters`; with `tool`, only those tools are in the result.
        """
        return (yield from rows(pipelines.tool_usage(**filters), ToolUsage.model_validate))

    @question
    def failure_summary(self, **filters: Unpack[CallFilters]) -> Steps[FailureSummary]:
        """Return how calls ended, and the failures by kind, cause, model and task.

        Failures are ERROR, TIMEOUT and ABANDONED. CANCELLED, INCOMPLETE and PENDING calls are
        counted apart and are no part of any rate: a rate is failures / (successes + failures).

        Args:
            **filters: See `CallFilters`; `status` would take away what rates are measured against.
        """
        pipeline = pipelines.failure_summary(**filters)
        summaries = yield from rows(pipeline, FailureSummary.model_validate)
        if not summaries:
            return FailureSummary()
        [summary] = summaries
        samples = [group.sample_id for group in summary.groups]
        found = yield from rows(pipelines.error_messages(samples), dict)
        messages = {row["id"]: row["error_message"][:SAMPLE_MAX_CHARACTERS] for row in found}
        for group in summary.groups:
            group.sample_message = messages.get(group.sample_id)
        return summary

    @question
    def failures_over_time(
        self, bucket: Bucket = "day", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> Steps[list[FailureCount]]:
        """Return how often each kind of failure came over time, oldest first.

        Args:
            bucket: `hour`, `day`, `week` (from Monday) or `month`.
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.failures_over_time(bucket, timezone=timezone, **filters)
        return (yield from rows(pipeline, FailureCount.model_validate))

    @question
    def user_summary(
        self, whose: Whose = "user_id", **filters: Unpack[CallFilters]
    ) -> Steps[list[UserSummary]]:
        """Return what each user asked for, what it cost and what failed, most expensive first.

        Args:
            whose: `user_id`, or `company_id` for companies.
            **filters: See `CallFilters`.
        """
        return (
            yield from rows(pipelines.user_summary(whose, **filters), UserSummary.model_validate)
        )

    @question
    def cost_summary(
        self, group_by: GroupBy = "model", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> Steps[list[CostSummary]]:
        """Return what calls used and cost in each group, costliest first.

        Args:
            group_by: A field, `tag`, or `hour`, `day`, `week` or `month` (these oldest first).
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.cost_summary(group_by, timezone=timezone, **filters)
        return (yield from rows(pipeline, CostSummary.model_validate))

    @question
    def usage_over_time(
        self, bucket: Bucket = "day", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> Steps[list[Usage]]:
        """Return calls, how they ended, tokens and cost over time, oldest first.

        Args:
            bucket: `hour`, `day`, `week` (from Monday) or `month`; one without calls has no row.
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.usage_over_time(bucket, timezone=timezone, **filters)
        return (yield from rows(pipeline, Usage.model_validate))

    @question
    def retry_spend(self, **filters: Unpack[CallFilters]) -> Steps[list[RetrySpend]]:
        """Return what Celery's retries and redeliveries paid again, by task name, costliest first.

        Args:
            **filters: See `CallFilters`.
        """
        return (yield from rows(pipelines.retry_spend(**filters), RetrySpend.model_validate))

    @question
    def latency_summary(
        self, group_by: GroupBy = "model", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> Steps[list[LatencySummary]]:
        """Return how long calls took in each group, in milliseconds, slowest first.

        A percentile is at most 0.51 % too high. Every call with a latency counts, however it
        ended; `status="SUCCESS"` leaves out the others.

        Args:
            group_by: A field, `tag`, or `hour`, `day`, `week` or `month` (these oldest first).
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.latency_summary(group_by, timezone=timezone, **filters)
        return (yield from rows(pipeline, LatencySummary.model_validate))

    @question
    def latency_heatmap(
        self, bucket: Bucket = "day", *, timezone: str = UTC, **filters: Unpack[CallFilters]
    ) -> Steps[list[LatencyCell]]:
        """Return how many calls took how long, over time, oldest and fastest first.

        Args:
            bucket: `hour`, `day`, `week` (from Monday) or `month`.
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.latency_heatmap(bucket, timezone=timezone, **filters)
        return (yield from rows(pipeline, LatencyCell.model_validate))

    @question
    def score_summary(
        self,
        name: str,
        group_by: GroupBy = "model",
        *,
        source: str | None = None,
        timezone: str = UTC,
        **filters: Unpack[CallFilters],
    ) -> Steps[list[ScoreSummary]]:
        """Return what the scores of one name say of each group, most scores first.

        Args:
            name: As given to `LLMLogger.score`.
            group_by: A field, `tag`, or `hour`, `day`, `week` or `month` of the call (these oldest
                first).
            source: Only the scores of this one; None for those of all.
            timezone: Whose hours and days: an IANA name, or an offset such as "+05:30".
            **filters: See `CallFilters`.
        """
        pipeline = pipelines.score_summary(
            name, group_by, source=source, timezone=timezone, **filters
        )
        return (yield from rows(pipeline, ScoreSummary.model_validate))


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
    if not (yield Each(pipeline, take, batch_size, query_limit_ms())):
        reasons.append(
            f"The search was stopped after {get_settings().query_timeout_seconds:g} s "
            "(query_timeout_seconds): older calls may say it, too."
        )
    counted: list[int] = []
    in_gridfs = not_searched(pipeline)
    yield Each(in_gridfs, lambda row: counted.append(row["calls"]), patience_ms=_COUNTING_MS)
    if counts := sum(counted):
        many = "more than " if counts > COUNTED_MAX else ""
        calls_are = "call has" if counts == 1 else "calls have"
        reasons.append(
            f"{many}{min(counts, COUNTED_MAX):,} {calls_are} content in GridFS, "
            "which is not searched."
        )
    return tuple(reasons)


def query_limit_ms() -> int | None:
    """Return how long MongoDB may work on a question; None for as long as it takes."""
    seconds = get_settings().query_timeout_seconds
    return None if seconds is None else min(max(1, round(seconds * 1000)), _LONGEST_MS)


def calls(pipeline: Pipeline, *, with_content: bool = True) -> Steps[list[LLMCall]]:
    """Return the calls that a pipeline gives.

    Args:
        pipeline: Its rows are whole calls.
        with_content: False leaves out what was said.
    """
    stages = pipeline if with_content else [*pipeline, WITHOUT_CONTENT]
    return (yield from rows(stages, LLMCall.model_validate))
