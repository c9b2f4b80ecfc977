"""What calls used and cost."""

from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.summaries import CostSummary, RetrySpend, Usage
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import UTC, Bucket, GroupBy
from llm_audit.queries.steps import Steps, question, rows


class SpendingQuestions:
    """Sums up tokens and costs."""

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
