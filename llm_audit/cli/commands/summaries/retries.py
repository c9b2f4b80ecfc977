"""`llm-audit retries`: what Celery's retries and redeliveries paid again."""

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llm_audit.cli.connection import repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.drawing.rows import WEEK, cost_of, print_heading, without_cost
from llm_audit.cli.options import AsJson, filtered
from llm_audit.display import figures
from llm_audit.queries.answers.summaries import RetrySpend
from llm_audit.queries.filters import CallFilters

_SUMMED = ("tasks", "attempts", "calls", "total_tokens", "estimated_cost", "calls_without_cost")


@filtered(since=WEEK)
def retries(*, filters: CallFilters, as_json: AsJson = False) -> None:
    """Show what Celery's retries and redeliveries paid again, by task, costliest first.

    Calls, tokens and cost are those of later attempts; the share is of all that calls in tasks of
    this name cost. `no cost` says how many calls the sum knows nothing of.
    """
    with repository() as questions:
        rows = questions.retry_spend(**filters)
        costs = [] if as_json or not rows else questions.cost_summary("task_name", **filters)
    if as_json:
        print_json_rows(rows)
        return
    console = terminal.console()
    if not print_heading(console, "Retries", filters, rows):
        return
    # calls outside of tasks are in the group of tasks without a name, so that has no share
    whole: dict[str | None, float] = {
        row.group: row.estimated_cost for row in costs if row.group is not None
    }
    table = terminal.table(
        *("task", "tasks", "attempts", "calls", "tokens", "cost", "share", "no cost"),
        cut="task",
        right="tasks attempts calls tokens cost share",
    )
    for row in rows:
        _add(table, terminal.EndOf(row.task_name), row, whole.get(row.task_name))
    sums: dict[str, Any] = {name: sum(getattr(row, name) for row in rows) for name in _SUMMED}
    total = RetrySpend(task_name=None, **sums)
    named = [row.task_name for row in rows if row.task_name is not None]
    whole_total = sum(map(whole.__getitem__, named)) if len(named) == len(rows) else None
    if len(rows) > 1:
        _add(table, Text("all tasks", "bold"), total, whole_total)
    console.print(terminal.fitted(table, console))
    console.print()
    console.print(_conclusion(total, whole_total))


def _add(table: Table, name: RenderableType, row: RetrySpend, whole: float | None) -> None:
    table.add_row(
        name,
        figures.number(row.tasks),
        figures.number(row.attempts),
        figures.number(row.calls),
        figures.number(row.total_tokens),
        cost_of(row, row.calls),
        figures.share(_share(row, whole)),
        without_cost(row, row.calls),
    )


def _conclusion(total: RetrySpend, whole: float | None) -> Text:
    again, share = cost_of(total, total.calls), _share(total, whole)
    return Text.assemble(
        (
            f"{again} paid again"
            if again != figures.UNKNOWN
            else "Nobody knows what was paid again",
            terminal.FAILURE if share else "green",
        ),
        f" in {figures.counted(total.attempts, 'later attempt')}",
        "" if share is None else f": {figures.share(share)} of what these tasks cost.",
    )


def _share(row: RetrySpend, whole: float | None) -> float | None:
    """Return which part of what is known of a cost was paid again."""
    return row.estimated_cost / whole if whole else None
