"""How long calls took."""

from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.summaries import LatencyCell, LatencySummary
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import UTC, Bucket, GroupBy
from llm_audit.queries.steps import Steps, question, rows


class LatencyQuestions:
    """Sums up latencies."""

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
