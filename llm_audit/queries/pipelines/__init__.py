"""The queries as aggregation pipelines: pure functions that return the list of stages.

They need nothing but a collection: `collection.aggregate(pipelines.tool_usage(...))` with PyMongo,
`await` before it with PyMongo Async, Motor as you are used to it. The stages are plain JSON, so
`json.dumps(pipelines.tool_usage())` can be pasted into mongosh. `**filters` are those of
`CallFilters`. MongoDB 6.0 and later.

In every rate, failures are ERROR, TIMEOUT and ABANDONED, and a rate is failures / (successes +
failures): CANCELLED, INCOMPLETE and PENDING calls are on neither side.
"""

from llm_audit.queries.pipelines.facets import facets
from llm_audit.queries.pipelines.failures import (
    error_messages,
    failure_messages,
    failure_summary,
    failures_over_time,
)
from llm_audit.queries.pipelines.finding import search
from llm_audit.queries.pipelines.latencies import latency_heatmap, latency_summary
from llm_audit.queries.pipelines.newest import session_summaries, trace_summaries
from llm_audit.queries.pipelines.people import user_summary
from llm_audit.queries.pipelines.previews import call_previews, largest_calls
from llm_audit.queries.pipelines.prompts import prompt_summary
from llm_audit.queries.pipelines.related import (
    calls_by_task,
    calls_by_trace,
    session,
    trace_tree,
    workflow,
)
from llm_audit.queries.pipelines.scores import score_summary
from llm_audit.queries.pipelines.spending import cost_summary, retry_spend, usage_over_time
from llm_audit.queries.pipelines.stages import Pipeline
from llm_audit.queries.pipelines.tasks import (
    task_attempts,
    task_summary,
    worker_summary,
    workflow_attempts,
)
from llm_audit.queries.pipelines.tools import tool_arguments, tool_usage

__all__ = [
    "Pipeline",
    "call_previews",
    "calls_by_task",
    "calls_by_trace",
    "cost_summary",
    "error_messages",
    "facets",
    "failure_messages",
    "failure_summary",
    "failures_over_time",
    "largest_calls",
    "latency_heatmap",
    "latency_summary",
    "prompt_summary",
    "retry_spend",
    "score_summary",
    "search",
    "session",
    "session_summaries",
    "task_attempts",
    "task_summary",
    "tool_arguments",
    "tool_usage",
    "trace_summaries",
    "trace_tree",
    "usage_over_time",
    "user_summary",
    "worker_summary",
    "workflow",
    "workflow_attempts",
]
