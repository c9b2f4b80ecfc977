"""How tools are used."""

from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.results import ToolUsage
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.steps import Steps, question, rows


class ToolQuestions:
    """Sums up tools."""

    @question
    def tool_usage(self, **filters: Unpack[CallFilters]) -> Steps[list[ToolUsage]]:
        """Return how each tool was used, most often asked for first.

        Args:
            **filters: See `CallFilters`; with `tool`, only those tools are in the result.
        """
        return (yield from rows(pipelines.tool_usage(**filters), ToolUsage.model_validate))
