"""What belongs to a trace."""

from functools import partial
from operator import attrgetter
from typing import Unpack

from llm_audit.documents import LLMCall
from llm_audit.ids import Id
from llm_audit.queries import pipelines
from llm_audit.queries.answers.lines import TraceSummary
from llm_audit.queries.answers.trace_tree import TraceTree, build_trace_tree
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.newest import in_their_places, newest
from llm_audit.queries.questions.calls import calls
from llm_audit.queries.steps import Steps, Work, question, rows


class TraceQuestions:
    """Finds traces and their calls."""

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
        found = yield from rows(pipelines.trace_tree(trace_id, limit=limit), dict)
        tree: TraceTree = yield Work(partial(build_trace_tree, found))
        return tree
