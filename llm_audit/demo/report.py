"""What the demo prints: tables of what was read back from MongoDB, 80 columns wide."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit import LLMCall
from llm_audit.demo.scenes import Scene
from llm_audit.queries.results import CostSummary, FailureSummary, LatencySummary, ToolUsage

UNKNOWN = "-"
FAILED = "bold red"
TITLE_WIDTH = 44  # and 36 for an id
STYLES = {"SUCCESS": "green", "PENDING": "yellow"}
YOUR_APP = """\
    import celery_hooks
    import llm_audit
    from llm_audit import LLMLogger

    llm_audit.configure(mongo_url="mongodb://...")  # or LLM_AUDIT_MONGO_URL
    celery_hooks.install(app)                       # your Celery app

    call_id = LLMLogger.start(provider="openai", model="gpt-4", messages=[...])
    LLMLogger.complete(call_id, response=response)  # or .fail(call_id, error)
"""


def print_traces(console: Console, traces: Iterable[tuple[Scene, Sequence[LLMCall]]]) -> None:
    """Print each scene's calls, children under the calls that caused them.

    Args:
        console: Where to.
        traces: Each scene with the calls of its trace, oldest first.
    """
    _print_heading(console, "Calls by trace", "LLMCallRepository.get_calls_by_trace(trace_id)")
    console.print(_trace_table(show_header=True))
    for scene, calls in traces:
        console.print(Text(f"{scene.title:<{TITLE_WIDTH}}"), Text(scene.trace_id, "dim"), sep="")
        table = _trace_table(show_header=False)
        for guide, call in _branches(calls, None, ""):
            table.add_row(
                f"  {guide}{call.call_type or UNKNOWN}",
                _status(call.status),
                call.model,
                UNKNOWN if call.total_tokens is None else str(call.total_tokens),
                UNKNOWN if call.estimated_cost is None else _usd(call.estimated_cost),
                UNKNOWN if call.latency_ms is None else _milliseconds(call.latency_ms),
            )
        console.print(table)


def print_task_calls(console: Console, calls: Iterable[LLMCall]) -> None:
    """Print the calls that tasks made, with the tasks' ids in full.

    Args:
        console: Where to.
        calls: Task by task, oldest first.
    """
    _print_heading(console, "Calls by task", "LLMCallRepository.get_calls_by_task(task_id)")
    table = _table()
    table.add_column("task_id", width=36)
    table.add_column("attempt", justify="right")
    table.add_column("child", justify="right")
    table.add_column("status")
    table.add_column("answer, cause", no_wrap=True)
    name: str | None = None
    for call in calls:
        if call.task is None:
            continue
        if call.task.name != name:
            name = call.task.name
            table.add_row(Text((name or UNKNOWN).rpartition(".")[2], "italic"))
        table.add_row(
            call.task_id,
            str((call.task.retries or 0) + 1),
            str(call.task.pid),
            _status(call.status),
            (call.response_message or {}).get("content") or call.ended_by,
        )
    console.print(table)


def print_failures(console: Console, summary: FailureSummary) -> None:
    """Print what failed, and why.

    Args:
        console: Where to.
        summary: Of the demo's calls.
    """
    _print_heading(console, "Failures and their causes", "LLMCallRepository.failure_summary()")
    console.print(f"{summary.failures} of {summary.calls} calls failed.")
    table = _table()
    for name in ("calls", "status", "cause"):
        table.add_column(name, justify="right" if name == "calls" else "left")
    table.add_column("error")
    for failure in summary.groups:
        table.add_row(
            str(failure.count),
            _status(failure.status),
            failure.ended_by,
            Text.assemble((f"{failure.error_type}: ", "bold"), failure.sample_message or ""),
        )
    console.print(table)


def print_tools(console: Console, tools: Iterable[ToolUsage]) -> None:
    """Print how tools were used.

    Args:
        console: Where to.
        tools: Of the demo's calls.
    """
    _print_heading(console, "Tool usage", "LLMCallRepository.tool_usage()")
    table = _table()
    table.add_column("tool", width=29)
    for name in ("calls", "traces", "failures", "cost"):
        table.add_column(name, justify="right")
    for tool in tools:
        counts = (tool.calls, tool.traces, tool.failures)
        table.add_row(tool.tool, *map(str, counts), _usd(tool.estimated_cost))
    console.print(table)


def print_models(
    console: Console, costs: Iterable[CostSummary], latencies: Iterable[LatencySummary]
) -> None:
    """Print what each model cost, and how long it took.

    Args:
        console: Where to.
        costs: By model.
        latencies: By model.
    """
    _print_heading(
        console,
        "Cost and latency per model",
        "LLMCallRepository.cost_summary(), .latency_summary()",
    )
    latency_of: Mapping[str | None, LatencySummary] = {row.group: row for row in latencies}
    table = _table()
    table.add_column("model", width=29)
    for name in ("calls", "tokens", "cost", "p50", "p95"):
        table.add_column(name, justify="right")
    for cost in costs:
        latency = latency_of.get(cost.group)
        table.add_row(
            cost.group,
            str(cost.calls),
            str(cost.total_tokens),
            _usd(cost.estimated_cost),
            _milliseconds(latency.p50) if latency else UNKNOWN,
            _milliseconds(latency.p95) if latency else UNKNOWN,
        )
    console.print(table)


def print_your_app(console: Console) -> None:
    """Print the lines that do this in the reader's own app.

    Args:
        console: Where to.
    """
    _print_heading(console, "In your own app")
    console.print(YOUR_APP)


def _print_heading(console: Console, title: str, source: str = "") -> None:
    console.print()
    console.print(Text.assemble((title, "bold"), (f"  {source}" if source else "", "dim")))


def _branches(
    calls: Sequence[LLMCall], parent: LLMCall | None, indent: str
) -> Iterator[tuple[str, LLMCall]]:
    """Yield the calls below one, each with the lines that lead to it.

    Those whose parent is not among the calls stand at the top.
    """
    ids = {call.id for call in calls}
    if parent is None:
        children = [call for call in calls if call.parent_call_id not in ids]
    else:
        children = [call for call in calls if call.parent_call_id == parent.id]
    for number, child in enumerate(children, start=1):
        last = number == len(children)
        yield (indent + ("└─ " if last else "├─ ") if parent else ""), child
        below = indent + ("   " if last else "│  ") if parent else indent
        yield from _branches(calls, child, below)


def _trace_table(*, show_header: bool) -> Table:
    table = _table(show_header=show_header)
    table.add_column("call", width=29)
    table.add_column("status", width=9)
    table.add_column("model", width=13)
    table.add_column("tokens", width=6, justify="right")
    table.add_column("cost", width=9, justify="right")
    table.add_column("latency", width=7, justify="right")
    return table


def _table(*, show_header: bool = True) -> Table:
    return Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=show_header, header_style="dim"
    )


def _status(status: str) -> Text:
    return Text(status, STYLES.get(status, FAILED))


def _usd(amount: float) -> str:
    return f"${amount:.6f}"


def _milliseconds(duration: float) -> str:
    return f"{duration:.0f} ms"
