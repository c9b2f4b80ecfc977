"""`llm-audit retries`: what Celery's retries and redeliveries paid again."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from llm_audit.cli import terminal
from llm_audit.cli.answers import WEEK, Row, ask, print_heading, without_cost
from llm_audit.cli.json_lines import print_json
from llm_audit.cli.options import AsJson, filtered
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.results import AttemptSpend


@filtered(since=WEEK)
def retries(*, filters: CallFilters, as_json: AsJson = False) -> None:
    """Show what Celery's retries and redeliveries paid again, by task, dearest first.

    Calls, tokens and cost are those of later attempts; the share is of all that the task cost.
    Calls outside of tasks are left out. `no cost` says how many calls the sum knows nothing of.
    """
    rows = ask(pipelines.retry_spend(**filters))
    if as_json:
        for row in rows:
            print_json(row)
        return
    console = terminal.console()
    if not print_heading(console, "Retries", filters, rows):
        return
    table = terminal.table(
        *("task", "tasks", "repeated", "calls", "tokens", "cost", "share", "no cost"),
        cut="task",
        right="tasks repeated calls tokens cost share",
    )
    for row in rows:
        _add(table, terminal.words((row["task_name"] or "").rpartition(".")[2]), row)
    total = _total(rows)
    if len(rows) > 1:
        _add(table, Text("all tasks", "bold"), total)
    console.print(table)
    console.print()
    console.print(_verdict(total))


def _add(table: Table, name: Text, row: Row) -> None:
    again = row["later"]
    table.add_row(
        name,
        terminal.number(row["tasks"]),
        terminal.number(row["tasks_repeated"]),
        terminal.number(again["calls"]),
        terminal.number(again["total_tokens"]),
        terminal.money(again["estimated_cost"]),
        terminal.share(_share(row)),
        without_cost(again, again["calls"]),
    )


def _total(rows: Sequence[Row]) -> dict[str, Any]:
    parts = {
        part: {name: sum(row[part][name] for row in rows) for name in AttemptSpend.model_fields}
        for part in ("first", "later")
    }
    counts = {name: sum(row[name] for row in rows) for name in ("tasks", "tasks_repeated")}
    return {**counts, **parts}


def _verdict(total: Row) -> Text:
    attempts, again = total["later"]["attempts"], terminal.money(total["later"]["estimated_cost"])
    share = _share(total)
    return Text.assemble(
        (f"{again} paid again", terminal.FAILURE if share else "green"),
        f" in {attempts:,} later attempts",
        "" if share is None else f": {terminal.share(share)} of what these tasks cost.",
    )


def _share(row: Row) -> float | None:
    """Return which part of what is known of a task's cost was paid again."""
    whole = row["first"]["estimated_cost"] + row["later"]["estimated_cost"]
    return row["later"]["estimated_cost"] / whole if whole else None
