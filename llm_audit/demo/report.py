"""What the demo prints: tables of what was read back from MongoDB, 80 columns wide."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit import LLMCall, LLMCallStatusEnum
from llm_audit.demo.scenes import Scene
from llm_audit.queries.results import CostSummary, FailureSummary, LatencySummary, ToolUsage

UNKNOWN = "-"
STYLES = {
    LLMCallStatusEnum.SUCCESS: "green",
    LLMCallStatusEnum.PENDING: "yellow",
}
FAILED_STYLE = "bold red"


def print_traces(console: Console, traces: Iterable[tuple[Scene, Sequence[LLMCall]]]) -> None:
    """Print each scene's calls, children under the calls that caused them.

    Args:
        console: Where to.
        traces: Each scene with the calls of its trace, oldest first.
    """
    _print_heading(console, "Traces", "LLMCallRepository.get_calls_by_trace(trace_id)")
    for number, (scene, calls) in enumerate(traces):
        table = _table(show_header=number == 0)
        table.add_column("call", width=29)
        table.add_column("status", width=9)
        table.add_column("model", width=13)
        table.add_column("tokens", width=6, justify="right")
        table.add_column("cost", width=9, justify="right")
        table.add_column("latency", width=8, justify="right")
        for guide, call in _branches(calls, None, ""):
            table.add_row(
                f"  {guide}{call.call_type}",
                _status(call.status),
                call.model,
                _or_unknown(call.total_tokens),
                _usd(call.estimated_cost),
                _milliseconds(call.latency_ms),
            )
        if number == 0:
            console.print(table)
            continue
        console.print(table)


def print_task_calls(console: Console, calls: Iterable[LLMCall]) -> None:
    """Print the calls that tasks made, with the tasks' ids in full.

    Args:
        console: Where to.
        calls: Task by task, oldest first.
    """
    _print_heading(console, "Calls of the tasks", "LLMCallRepository.get_calls_by_task(task_id)")
    table = _table()
    table.add_column("task_id", width=36)
    table.add_column("attempt", justify="right")
    table.add_column("child", justify="right")
    table.add_column("status", width=9)
    table.add_column("answer or cause", overflow="ellipsis", no_wrap=True)
    name = None
    for call in calls:
        task = call.task
        if task is None:
            continue
        if task.name != name:
            name = task.name
            table.add_row(Text((name or "").rpartition(".")[2], "italic"))
        answer = (call.response_message or {}).get("content") or call.ended_by
        table.add_row(
            call.task_id,
            str((task.retries or 0) + 1),
            str(task.pid),
            _status(call.status),
            answer,
        )
    console.print(table)
