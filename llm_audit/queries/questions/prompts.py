"""What calls were told."""

from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.summaries import PromptSummary
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.steps import Steps, question, rows


class PromptQuestions:
    """Compares system prompts."""

    @question
    def prompt_summary(self, **filters: Unpack[CallFilters]) -> Steps[list[PromptSummary]]:
        """Return how the calls of each system prompt went, most calls first, at most 200 prompts.

        Of the calls that match, the newest 20,000 are read. `prompt_of=row.last_id` is the filter
        for exactly the calls that were told the same.

        Args:
            **filters: See `CallFilters`.
        """
        return (yield from rows(pipelines.prompt_summary(**filters), PromptSummary.model_validate))
