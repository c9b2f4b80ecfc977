"""`llm-audit trace`: who called whom, when, and what each branch took."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.call import FAILURE_STATUSES
from llm_audit.cli.connection import not_found, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.drawing.trace_table import CRITICAL, ORPHANS, trace_table
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.display.traces import trace_row
from llm_audit.queries.answers.trace_tree import Branch, TraceTree

FAILURES_SHOWN = 10
PARENTS_NAMED = 3


def trace(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="Of the trace.")],
    *,
    full: Annotated[bool, typer.Option("--full", help="Fold no long runs of calls.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a trace as a tree: when each call ran, and what it took with all that is below it.

    In the bars, what is drawn bold is the call itself, what is thin the calls below it.
    """
    with repository() as questions:
        tree = questions.get_trace_tree(trace_id)
        if not tree.children:
            raise questions.ask(not_found("trace_id", trace_id))
    critical = {call.id for call in tree.critical_path()}
    if as_json:
        print_json_rows(trace_row(branch, critical) for branch in tree.walk())
        return
    console = terminal.console()
    now = datetime.now(UTC)
    _print_totals(console, trace_id, tree, now)
    console.print(trace_table(console.width, tree, now, critical, full=full))
    _print_legend(console, tree)
    _print_failures(console, tree, full=full)


def _print_totals(console: Console, trace_id: str, tree: TraceTree, now: datetime) -> None:
    when = f"{tree.started_at.astimezone():%Y-%m-%d %H:%M:%S}, " if tree.started_at else ""
    length = figures.duration(tree.length_ms(now))
    remark = f"{when}{f'running for {length}' if tree.pending else length}"
    console.print(terminal.heading(f"Trace {figures.cell(trace_id)}", remark))
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


def _print_legend(console: Console, tree: TraceTree) -> None:
    legend = []
    if tree.calls > 1:
        legend.append((CRITICAL, "decided when the trace ended: its critical path"))
    for reason, sign in ORPHANS.items():
        if of_it := [root for root in tree.children if root.orphan == reason]:
            parents = dict.fromkeys(figures.cell(root.call.parent_call_id) for root in of_it)
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
            Text(figures.cell(call.id), "cyan"),
            terminal.status_text(call.status),
            terminal.words(call.error_type or call.ended_by),
            terminal.words(call.model),
        )
    console.print(table)
    if len(shown) < len(failed):
        console.print(f"And {len(failed) - len(shown):,} more: --full", style="dim")
