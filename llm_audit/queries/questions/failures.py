"""How calls end, and what failures have in common."""

from functools import partial
from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.failure_messages import messages_in
from llm_audit.queries.answers.summaries import FailureCount, FailureMessage, FailureSummary
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import UTC, Bucket
from llm_audit.queries.steps import Steps, Work, question, rows

SAMPLE_MAX_CHARACTERS = 500


class FailureQuestions:
    """Sums up how calls ended."""

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
        texts = [(row["id"], row["error_message"]) for row in found]  # a list of some matches, too
        messages = {i: text[:SAMPLE_MAX_CHARACTERS] for i, text in texts if type(text) is str}
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
    def failure_messages(self, **filters: Unpack[CallFilters]) -> Steps[list[FailureMessage]]:
        """Return what the newest 5,000 failures say, what most of them say first.

        Messages that differ in numbers and ids alone are one, with # in their places.

        Args:
            **filters: See `CallFilters`.
        """
        found = yield from rows(pipelines.failure_messages(**filters), dict)
        kept = [row for row in found if row["error_message"] is not None]
        messages: list[FailureMessage] = yield Work(partial(messages_in, kept))
        return messages
