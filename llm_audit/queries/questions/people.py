"""Whose calls they are."""

from typing import Unpack

from llm_audit.queries import pipelines
from llm_audit.queries.answers.summaries import UserSummary
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.pipelines.people import Whose
from llm_audit.queries.steps import Steps, question, rows


class PeopleQuestions:
    """Sums up users and companies."""

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
