"""How tools are used."""

from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.summaries import ToolArguments, ToolUsage
from llm_audit.queries.answers.tool_arguments import arguments_in
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

    @question
    def tool_arguments(
        self, name: str, *, limit: int = 20, **filters: Unpack[CallFilters]
    ) -> Steps[list[ToolArguments]]:
        """Return with which arguments models asked for a tool, newest first.

        Args:
            name: The tool's.
            limit: How many calls at the most; each may ask for the tool several times.
            **filters: See `CallFilters`.
        """
        found = yield from rows(pipelines.tool_arguments(name, limit, **filters), dict)
        return [asked for call in found for asked in arguments_in(call, name)]
