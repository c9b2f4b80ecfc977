"""How calls were judged."""

from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.summaries import ScoreSummary
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import UTC, GroupBy
from llm_audit.queries.steps import Steps, question, rows


class ScoreQuestions:
    """Sums up scores."""

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
