"""What the summaries share: how their rows are printed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Protocol, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.drawing.pictures import Line, print_course
from llm_audit.cli.options import described
from llm_audit.display import figures
from llm_audit.display.courses import Course
from llm_audit.queries.filters import LIMIT_MAX, CallFilters
from llm_audit.tolerant import TolerantModel

Row = TypeVar("Row", bound=TolerantModel)


class Spent(Protocol):
    """A row with a sum of costs."""

    estimated_cost: float
    calls_without_cost: int


WEEK = "7d"
FIRST_ROWS = 20  # what is most expensive, slowest ... comes first

LimitOfRows = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        max=LIMIT_MAX,
        help=f"How many at the most; if not given, {FIRST_ROWS}, or all of them with --json.",
    ),
]


def print_rows(
    title: str,
    table: Table,
    rows: Sequence[Row],
    filters: CallFilters,
    *,
    cells: Callable[[Row], Iterable[RenderableType]],
    limit: int | None,
    course: Course | None = None,
    lines: Sequence[Line] = (),
    as_json: bool,
) -> None:
    """Print rows: for machines as they are, else as a table, with a picture of their course.

    Args:
        title: What they are.
        table: With its columns.
        rows: All there are.
        filters: What was asked for.
        cells: Returns those of a row, for the table.
        limit: How many rows at the most; None for what is usual.
        course: How they lie in time, if they do: of that nothing is left out.
        lines: Of the picture of it.
        as_json: For machines.
    """
    shown = rows[: limit or (None if course or as_json else FIRST_ROWS)]
    if as_json:
        print_json_rows(shown)
        return
    console = terminal.console()
    if not print_heading(console, title, filters, rows):
        return
    for row in shown:
        table.add_row(*cells(row))
    console.print(terminal.fitted(table, console))
    print_further(console, len(rows) - len(shown), "row")
    if course:
        print_course(console, course, lines)
    if unreadable := sum(getattr(row, "unreadable_calls", 0) for row in rows):
        calls = figures.counted(unreadable, "call")
        console.print(f"No sum knows of {calls} with a figure that is no number.", style="yellow")


def print_further(console: Console, count: int, what: str) -> None:
    """Say how many of something are left out, if any are."""
    if count:
        console.print(f"And {figures.counted(count, f'further {what}')}: --limit", style="dim")


def print_heading(
    console: Console, title: str, filters: CallFilters, rows: Sequence[Row], remark: str = ""
) -> bool:
    """Say what was asked; return whether there is an answer."""
    asked = f"{described(filters)}; {remark}" if remark else described(filters)
    console.print(terminal.heading(title, asked))
    if not rows:
        console.print("No such calls.")
    return bool(rows)


def cost_of(row: Spent, calls: int) -> str:
    """Return what calls cost; `-` where that is known of none of them."""
    return figures.cost(row.estimated_cost, without=row.calls_without_cost, calls=calls)


def without_cost(row: Spent, calls: int) -> str:
    """Say how many of the calls a sum of costs knows nothing of; nothing if it knows all."""
    without = row.calls_without_cost
    return "" if not without else f"{without:,} of {calls:,}" if without < calls else "all"
