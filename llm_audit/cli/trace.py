"""`llm-audit trace`: who called whom, when, and what each branch took."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit.call import FAILURE_STATUSES
from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls, not_found
from llm_audit.cli.json_lines import print_json
from llm_audit.cli.options import AsJson
from llm_audit.cli.waterfall import Line, Timeline, lines_of
from llm_audit.queries import pipelines
from llm_audit.queries.trace_tree import Branch, TraceBranch, TraceTree, build_trace_tree

FAILURES_SHOWN = 10
PARENTS_NAMED = 3
SHORTEST_ID = 13  # of a UUIDv7: its millisecond
WITH_SHORT_IDS = 100  # columns of a terminal that has room for ids as other lists have them
WITH_SHARES = 130  # columns of one that has room for bars of tokens and cost
NARROWEST, WIDEST = 12, 48  # bars of time

SHORTEST_LABEL = 8

CRITICAL = "*"
RUNNING = "running"
_ORPHANS = {"parent not in this trace": "?", "parents in a circle": "↻"}
_SUMS = (
    *("calls", "failures", "pending", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("estimated_cost", "calls_without_cost", "started_at", "ended_at", "duration_ms"),
)


def trace(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="Of the trace.")],
    *,
    full: Annotated[bool, typer.Option("--full", help="Fold no long runs of calls.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a trace as a tree: when each call ran, and what it took with all that is below it.

    In the bars, what is drawn bold is the call itself, what is thin the calls below it.
    """
    with collection_of_calls() as collection:
        tree = build_trace_tree(collection.aggregate(pipelines.trace_tree(trace_id)))
        if not tree.children:
            raise not_found(collection, "trace", "trace_id", trace_id)
    critical = {call.id for call in tree.critical_path()}
    if as_json:
        for branch in tree.walk():
            print_json(_row(branch, critical))
        return
    console = terminal.console()
    _print_heading(console, trace_id, tree)
    console.print(_table(console, tree, critical, full=full))
    _print_legend(console, tree)
    _print_failures(console, tree, full=full)


def _row(branch: TraceBranch, critical: Iterable[str]) -> dict[str, Any]:
    """Return a call as a document, with the sums of its branch."""
    return {
        **branch.call.model_dump(),
        "depth": branch.depth,
        "orphan": branch.orphan,
        "critical": branch.call.id in critical,
        "branch": {name: getattr(branch, name) for name in _SUMS},
    }


def _print_heading(console: Console, trace_id: str, tree: TraceTree) -> None:
    when = f"{tree.started_at.astimezone():%Y-%m-%d %H:%M:%S}, " if tree.started_at else ""
    remark = f"{when}{terminal.duration(tree.duration_ms)}"
    console.print(terminal.heading(f"Trace {terminal.cell(trace_id)}", remark))
    console.print(
        terminal.totals(
            calls=tree.calls,
            failures=tree.failures,
            pending=tree.pending,
            tokens=tree.total_tokens,
            cost=tree.estimated_cost,
            without_cost=tree.calls_without_cost,
        )
    )
    console.print()


def _table(console: Console, tree: TraceTree, critical: set[str], *, full: bool) -> Table:
    lines = list(lines_of(tree, full=full))
    labels = [_label(line) for line in lines]
    numbers = [_numbers(line) for line in lines]
    with_shares = console.width >= WITH_SHARES
    id_width = terminal.SHORT_ID if console.width >= WITH_SHORT_IDS else _id_width(lines)
    taken = [1, id_width, *_widths([("took", "tokens", "cost"), *numbers])]
    taken += [terminal.BAR_WIDTH] * 2 if with_shares else []
    room = console.width - sum(taken) - len(taken) - 1  # for the label and the timeline
    longest = max(label.cell_len for label in labels)
    timeline = Timeline(tree, min(max(room - longest - 1, NARROWEST), WIDEST))
    table = terminal.table("", "call", "id", "time", "took", cut="call", right="took")
    table.columns[3].header = Text(timeline.scale(), no_wrap=True)
    table.columns[1].width = min(longest, max(room - timeline.width - 1, SHORTEST_LABEL))
    for name in ("tokens", "cost"):
        table.add_column(terminal.words(name), justify="right", no_wrap=True)
        if with_shares:
            table.add_column()
    for line, label, (took, tokens, cost) in zip(lines, labels, numbers, strict=True):
        is_critical = any(branch.call.id in critical for branch in line.branches)
        shares = [
            [terminal.bar(_sum(line, name), getattr(tree, name))] if with_shares else []
            for name in ("total_tokens", "estimated_cost")
        ]
        table.add_row(
            Text(CRITICAL if is_critical else "", "bold cyan"),
            label,
            Text(terminal.cell(line.call_id)[:id_width] if line.call_id else "--full", "dim"),
            timeline.bar(line, critical=is_critical),
            Text(took, "yellow" if took == RUNNING else ""),
            tokens,
            *shares[0],
            cost,
            *shares[1],
        )
    return table


def _widths(rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _id_width(lines: Iterable[Line]) -> int:
    """Return how much of an id it takes to tell the calls apart."""
    ids = sorted(line.call_id for line in lines if line.call_id)
    width = SHORTEST_ID
    for one, other in pairwise(ids):
        while width < terminal.SHORT_ID and one[:width] == other[:width]:
            width += 1
    return width


def _label(line: Line) -> Text:
    label = Text(line.guide, "dim", no_wrap=True, overflow="ellipsis")
    if line.branch is None:
        calls = sum(branch.calls for branch in line.branches)
        failures = sum(branch.failures for branch in line.branches)
        label.append(f"… {calls:,} more", "italic")
        return label.append(f", {failures:,} failed" if failures else "", terminal.FAILURE)
    call = line.branch.call
    if line.branch.orphan:
        label.append(f"{_ORPHANS[line.branch.orphan]} ", "bold yellow")
    if call.status != "SUCCESS":
        label.append_text(terminal.status_text(call.status)).append(" ")
    label.append(terminal.cell(call.call_type), "not dim")
    if call.model:
        label.append(f" {terminal.cell(call.model)}", "not dim")
    if call.tools_called:
        label.append(f" → {terminal.cell(', '.join(call.tools_called))}", "dim")
    return label


def _numbers(line: Line) -> tuple[str, str, str]:
    """Return what a line's branches took: time, tokens, cost."""
    known = any(branch.calls > branch.calls_without_cost for branch in line.branches)
    return (
        _took(line),
        terminal.number(_sum(line, "total_tokens") or None),
        terminal.money(_sum(line, "estimated_cost") if known else None),
    )


def _sum(line: Line, name: str) -> float:
    return float(sum(getattr(branch, name) for branch in line.branches))


def _took(line: Line) -> str:
    if any(branch.pending for branch in line.branches):
        return RUNNING
    if line.branch is None:
        return ""
    of_call = line.branch.call.latency_ms if not line.branch.children else None
    return terminal.duration(line.branch.duration_ms if of_call is None else of_call)


def _print_legend(console: Console, tree: TraceTree) -> None:
    legend = []
    if tree.calls > 1:
        legend.append((CRITICAL, "decided when the trace ended: its critical path"))
    for reason, sign in _ORPHANS.items():
        if of_it := [root for root in tree.children if root.orphan == reason]:
            parents = dict.fromkeys(terminal.cell(root.call.parent_call_id) for root in of_it)
            more = " ..." if len(parents) > PARENTS_NAMED else ""
            named = ", ".join(list(parents)[:PARENTS_NAMED]) + more
            count = f" ({len(of_it):,} calls)" if len(of_it) > 1 else ""
            legend.append((sign, f"{reason}{count}: {named}"))
    console.print()
    for sign, meaning in legend:
        console.print(Text.assemble((f"{sign} ", "bold"), (meaning, "dim")))


def _print_failures(console: Console, tree: Branch, *, full: bool) -> None:
    failed = [branch.call for branch in tree.walk() if branch.call.status in FAILURE_STATUSES]
    shown = failed if full else failed[:FAILURES_SHOWN]
    if not shown:
        return
    console.print(Text("\nFailed", "bold"))
    table = terminal.table("id", "status", "cause", "model", cut="cause model", show_header=False)
    for call in shown:
        table.add_row(
            Text(terminal.cell(call.id), "cyan"),
            terminal.status_text(call.status),
            terminal.words(call.error_type or call.ended_by),
            terminal.words(call.model),
        )
    console.print(table)
    if len(shown) < len(failed):
        console.print(f"And {len(failed) - len(shown):,} more: --full", style="dim")
