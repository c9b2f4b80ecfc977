"""What was said in a session."""

from operator import attrgetter
from typing import Unpack

from llm_audit.ids import Id, id_text
from llm_audit.queries import pipelines
from llm_audit.queries.answers.conversation import Conversation, ConversationBuilder
from llm_audit.queries.answers.lines import SessionSummary
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.newest import in_their_places, newest
from llm_audit.queries.steps import Each, Steps, question, rows


class SessionQuestions:
    """Finds sessions and their conversations."""

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
