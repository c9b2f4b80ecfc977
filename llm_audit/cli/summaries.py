"""`llm-audit failures`, `tools`, `costs` and `latency`: what many calls have in common."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.json_lines import print_json
from llm_audit.cli.options import AsJson, described, filtered
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import GroupBy
from llm_audit.queries.results import LatencySummary

Row = Mapping[str, Any]

WEEK = "7d"


def _groups(incomplete: str) -> list[str]:
    return [name for name in get_args(GroupBy) if name.startswith(incomplete)]


By = Annotated[
    str,
    typer.Option(
        metavar="FIELD", help=f"One of {', '.join(get_args(GroupBy))}.", autocompletion=_groups
    ),
]


@filtered(since=WEEK, leave_out=("status",))
def failures(
    *,
    filters: CallFilters,
    limit: Annotated[int, typer.Option(min=1, help="How many kinds at the most.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show what fails, why, how often and since when.

    Failures are ERROR, TIMEOUT and ABANDONED; a rate is failures / (successes + failures), of the
    same model and task. CANCELLED, INCOMPLETE and PENDING calls are no part of any rate.
    """
    rows = _ask(pipelines.failure_summary(**filters))
    for row in rows:
        _add_messages(row["groups"])
    if as_json:
        for row in rows:
            print_json(row)
        return
    console = terminal.console()
    if not _print_heading(console, "Failures", filters, rows):
        return
    [summary] = rows
    console.print(_outcomes(summary))
    groups = summary["groups"][:limit]
    if not groups:
        return
    table = terminal.table(
        *("count", "rate", "status", "cause", "model", "task", "last"),
        cut="cause model task",
        right="count rate",
    )
    for group in groups:
        table.add_row(
            terminal.number(group["count"]),
            terminal.share(group["rate"]),
            terminal.status_text(group["status"]),
            terminal.words(group["error_type"] or group["ended_by"]),
            terminal.words(group["model"]),
            terminal.words((group["task_name"] or "").rpartition(".")[2]),
            terminal.moment(group["last_seen"]),
        )
    console.print(table)
    if len(groups) < len(summary["groups"]):
        further = len(summary["groups"]) - len(groups)
        console.print(f"And {further:,} further kinds: --limit", style="dim")
    console.print(Text("\nThe newest of each", "bold"))
    for group in groups:
        console.print(Text(group["sample_id"], "cyan"))
        if group["sample_message"]:
            message = terminal.cell(group["sample_message"])[: 2 * console.width]
            console.print(
                Padding(Text(message, "dim", overflow="fold"), (0, 0, 0, 2), expand=False)
            )


@filtered(since=WEEK)
def tools(*, filters: CallFilters, as_json: AsJson = False) -> None:
    """Show which tools models ask for, how often, and what the calls that ask for them cost.

    A call that asks for two tools counts, with its whole cost, for both.
    """
    rows = _ask(pipelines.tool_usage(**filters))
    largest = max((row["calls"] for row in rows), default=0)
    table = terminal.table(
        *("tool", "calls", "", "traces", "failed", "cost", "no cost"),
        cut="tool",
        right="calls traces failed cost",
    )
    for row in rows:
        table.add_row(
            terminal.words(row["tool"]),
            terminal.number(row["calls"]),
            terminal.bar(row["calls"], largest),
            terminal.number(row["traces"]),
            terminal.share(row["failure_rate"]),
            terminal.money(row["estimated_cost"]),
            _without_cost(row, row["llm_calls"]),
        )
    _print_rows("Tools", table, rows, filters, as_json=as_json)


@filtered(since=WEEK)
def costs(*, filters: CallFilters, by: By = "model", as_json: AsJson = False) -> None:
    """Show what calls used and cost, dearest first; by day or hour (UTC) oldest first.

    Failed and running calls count too. `no cost` says how many calls the sum knows nothing of.
    """
    rows = _ask(pipelines.cost_summary(by, **filters))  # type: ignore[arg-type]
    largest = max((row["estimated_cost"] for row in rows), default=0)
    table = terminal.table(
        *(by, "calls", "tokens", "cached", "cost", "", "no cost"),
        cut=by,
        right="calls tokens cached cost",
    )
    for row in rows:
        table.add_row(
            terminal.words(row["group"]),
            terminal.number(row["calls"]),
            terminal.number(row["total_tokens"]),
            terminal.number(row["cached_tokens"]),
            terminal.money(row["estimated_cost"]),
            terminal.bar(row["estimated_cost"], largest),
            _without_cost(row, row["calls"]),
        )
    _print_rows("Costs", table, rows, filters, as_json=as_json)


@filtered(since=WEEK)
def latency(*, filters: CallFilters, by: By = "model", as_json: AsJson = False) -> None:
    """Show how long calls take, slowest first; by day or hour (UTC) oldest first.

    Percentiles of every call whose latency is known, however it ended: --status SUCCESS leaves out
    the others. A percentile is at most 0.51 % too high. The bar is p95.
    """
    rows = _ask(pipelines.latency_summary(by, **filters))  # type: ignore[arg-type]
    largest = max((row["p95"] for row in rows), default=0)
    percentiles = [name for name in LatencySummary.model_fields if name.startswith("p")]
    table = terminal.table(
        *(by, "calls", *percentiles, ""), cut=by, right=f"calls {' '.join(percentiles)}"
    )
    for row in rows:
        table.add_row(
            terminal.words(row["group"]),
            terminal.number(row["calls"]),
            *(terminal.duration(row[percentile]) for percentile in percentiles),
            terminal.bar(row["p95"], largest),
        )
    _print_rows("Latency", table, rows, filters, as_json=as_json)


def _ask(pipeline: pipelines.Pipeline) -> list[dict[str, Any]]:
    with collection_of_calls() as collection:
        return list(collection.aggregate(pipeline))


def _add_messages(groups: list[dict[str, Any]]) -> None:
    messages = _ask(pipelines.error_messages([group["sample_id"] for group in groups]))
    by_id = {row["id"]: row["error_message"] for row in messages}
    for group in groups:
        group["sample_message"] = by_id.get(group["sample_id"])


def _print_rows(
    title: str, table: Any, rows: list[dict[str, Any]], filters: CallFilters, *, as_json: bool
) -> None:
    if as_json:
        for row in rows:
            print_json(row)
        return
    console = terminal.console()
    if _print_heading(console, title, filters, rows):
        console.print(terminal.without_bars_if_narrow(table, console))


def _print_heading(
    console: Console, title: str, filters: CallFilters, rows: list[dict[str, Any]]
) -> bool:
    """Say what was asked; return whether there is an answer."""
    console.print(terminal.heading(title, described(filters)))
    if not rows:
        console.print("No such calls.")
    return bool(rows)


def _outcomes(summary: Row) -> Text:
    judged = summary["successes"] + summary["failures"]
    others = ", ".join(
        f"{summary[name]:,} {name}"
        for name in ("cancelled", "incomplete", "pending")
        if summary[name]
    )
    return Text.assemble(
        (f"{summary['failures']:,} of {judged:,} calls failed", terminal.FAILURE),
        f", {terminal.share(summary['failure_rate'])}",
        (f"; beside them {others}" if others else "", "dim"),
    )


def _without_cost(row: Row, calls: int) -> str:
    without = row["calls_without_cost"]
    return "" if not without else f"{without:,} of {calls:,}" if without < calls else "all"
