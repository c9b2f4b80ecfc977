"""`llm-audit usage`: calls, failures, tokens and cost over time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from llm_audit.cli.connection import repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.drawing.pictures import FAILED_CELL, Line, bar_with_failures, print_course
from llm_audit.cli.drawing.rows import WEEK, cost_of, print_heading, without_cost
from llm_audit.cli.options import AsJson, Timezone, filtered
from llm_audit.display import figures
from llm_audit.display.courses import Course, group_name
from llm_audit.queries.answers.summaries import Usage
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket
from llm_audit.queries.times import chosen_timezone

WIDE_BAR = 24
LONGEST: dict[Bucket, timedelta] = {  # so that a table is a page or two
    "hour": timedelta(days=2, hours=1),  # `--since 2d` was some moments ago
    "day": timedelta(days=62),
    "week": timedelta(days=400),
}


@filtered(since=WEEK)
def usage(
    *,
    filters: CallFilters,
    bucket: Annotated[
        Bucket | None,
        typer.Option(
            metavar="BUCKET", help="hour, day, week or month; what fits the time if not given."
        ),
    ] = None,
    timezone: Timezone = None,
    as_json: AsJson = False,
) -> None:
    """Show how many calls there were over time, how many failed, and what they used and cost.

    Failures are ERROR, TIMEOUT and ABANDONED; their share is that of successes and failures. A gap
    is a time without calls.
    """
    chosen, zone = bucket or fitting_bucket(filters), chosen_timezone(timezone)
    with repository() as questions:
        rows = questions.usage_over_time(chosen, timezone=zone, **filters)
    if as_json:
        print_json_rows(rows)
        return
    console = terminal.console()
    if print_heading(console, "Usage", filters, rows, f"by {chosen}, {zone}"):
        course = Course(chosen, rows, named="bucket", timezone=zone, filters=filters)
        console.print(terminal.fitted(_table(rows, course), console))
        print_course(console, course, _lines(rows))


def fitting_bucket(filters: CallFilters) -> Bucket:
    """Return what to divide a time into: hours of two days, days of two months, weeks of a year."""
    start, end = filters.get("start_date"), filters.get("end_date") or datetime.now(UTC)
    if start is None:
        return "month"
    fitting = (bucket for bucket, longest in LONGEST.items() if end - start <= longest)
    return next(fitting, "month")


def _table(rows: Sequence[Usage], course: Course) -> Table:
    largest = max(row.calls for row in rows)
    table = terminal.table(
        *(course.bucket, "calls", "", "failed", "tokens", "cost"),
        right="calls failed tokens cost",
    )
    before: str | None = None
    for row in rows:
        name = row.bucket
        if before and name and (gap := course.gap_between(before, name)):
            table.add_row(Text(f"  {gap:,} {course.bucket}{'s' * (gap > 1)} without", "dim"))
        table.add_row(
            terminal.words(group_name(course.bucket, name)),
            figures.number(row.calls),
            bar_with_failures(row.calls, row.failures, largest, WIDE_BAR),
            figures.share(_failure_rate(row)),
            figures.number(row.total_tokens),
            cost_of(row, row.calls),
        )
        before = name or before
    return table


def _lines(rows: Sequence[Usage]) -> list[Line]:
    summed = ("calls", "failures", "total_tokens", "estimated_cost", "calls_without_cost")
    sums = SimpleNamespace(**{name: sum(getattr(row, name) for row in rows) for name in summed})
    unknown = without_cost(sums, sums.calls)
    cost = f"{cost_of(sums, sums.calls)}{f', unknown {unknown}' if unknown else ''}"
    failed = f"{figures.number(sums.failures)} ({FAILED_CELL})"
    return [
        Line("calls", "calls", figures.number(sums.calls)),
        Line("failed", "failures", failed, terminal.FAILURE),
        Line("tokens", "total_tokens", figures.number(sums.total_tokens)),
        Line("cost", "estimated_cost", cost),
    ]


def _failure_rate(row: Usage) -> float | None:
    judged = row.successes + row.failures
    return row.failures / judged if judged else None
