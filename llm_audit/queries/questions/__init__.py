"""Every question about calls, each written once for the async and for the sync repository."""

import inspect

from llm_audit.queries.questions.calls import CallQuestions
from llm_audit.queries.questions.failures import FailureQuestions
from llm_audit.queries.questions.finding import FindingQuestions
from llm_audit.queries.questions.latencies import LatencyQuestions
from llm_audit.queries.questions.people import PeopleQuestions
from llm_audit.queries.questions.prompts import PromptQuestions
from llm_audit.queries.questions.scores import ScoreQuestions
from llm_audit.queries.questions.sessions import SessionQuestions
from llm_audit.queries.questions.spending import SpendingQuestions
from llm_audit.queries.questions.tasks import TaskQuestions
from llm_audit.queries.questions.tools import ToolQuestions
from llm_audit.queries.questions.traces import TraceQuestions
from llm_audit.queries.steps import Question


class Questions(
    CallQuestions,
    FindingQuestions,
    TraceQuestions,
    SessionQuestions,
    TaskQuestions,
    FailureQuestions,
    SpendingQuestions,
    LatencyQuestions,
    PeopleQuestions,
    ToolQuestions,
    PromptQuestions,
    ScoreQuestions,
):
    """Finds and sums up recorded calls.

    Filters are those of `CallFilters`; ids may be str, UUID or int. Every question raises
    `UsageError` for a wrong argument, `UnavailableError` if MongoDB cannot be reached or does not
    let us, and `ConfigurationError` for a setting that cannot be.

    A call with a field of a wrong type is in the answer like any other: `call.unreadable` names the
    field, and sums leave it out and count it.
    """


QUESTIONS = tuple(
    name for name, asked in inspect.getmembers_static(Questions) if isinstance(asked, Question)
)
