"""What the summaries share: a pipeline is asked, and its rows are printed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.json_lines import print_json_rows
from llm_audit.cli.options import described
from llm_audit.cli.pictures import Course, Line
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.pipelines import Pipeline

Row = Mapping[str, Any]
Ask = Callable[[Pipeline], list[dict[str, Any]]]

WEEK = "7d"


@contextmanager
def asking() -> Iterator[Ask]:
    """Give a function that returns the rows of a pipeline: one connection for several of them."""
    with collection_of_calls() as collection:
        yield lambda pipeline: list(collection.aggregate(pipeline))


def ask(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the rows of a pipeline."""
    with asking() as ask_once:
        return ask_once(pipeline)


def print_rows(
    title: str,
    table: Table,
    rows: Sequence[Row],
    filters: CallFilters,
    *,
    course: Course | None = None,
    lines: Sequence[Line] = (),
    as_json: bool,
) -> None:
    """Print rows: for machines as they are, else as a table, with a picture of their course."""
    if as_json:
        print_json_rows(rows)
        return
    console = terminal.console()
    if print_heading(console, title, filters, rows):
        console.print(terminal.fitted(table, console))
        if course:
            course.print(console, lines)


def print_heading(
    console: Console, title: str, filters: CallFilters, rows: Sequence[Row], remark: str = ""
) -> bool:
    """Say what was asked; return whether there is an answer."""
    asked = f"{described(filters)}; {remark}" if remark else described(filters)
    console.print(terminal.heading(title, asked))
    if not rows:
        console.print("No such calls.")
    return bool(rows)


def without_cost(row: Row, calls: int) -> str:
    """Say how many of the calls a sum of costs knows nothing of; nothing if it knows all."""
    without = row["calls_without_cost"]
    return "" if not without else f"{without:,} of {calls:,}" if without < calls else "all"
