"""`llm-audit failures`, `tools`, `costs` and `latency`: what many calls have in common."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_audit.cli.connection import repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.drawing.pictures import Line
from llm_audit.cli.drawing.rows import (
    WEEK,
    LimitOfRows,
    cost_of,
    print_further,
    print_heading,
    print_rows,
    without_cost,
)
from llm_audit.cli.options import AsJson, Limit, Timezone, filtered
from llm_audit.display import figures
from llm_audit.display.courses import Course, group_name
from llm_audit.errors import UsageError
from llm_audit.queries.answers.summaries import (
    CostSummary,
    FailureGroup,
    FailureSummary,
    LatencySummary,
    ToolUsage,
)
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.grouping import Bucket, GroupBy
from llm_audit.queries.times import chosen_timezone

By = Annotated[
    GroupBy, typer.Option(metavar="FIELD", help=f"One of {', '.join(get_args(GroupBy))}.")
]


@filtered(since=WEEK, leave_out=("status",))
def failures(
    *,
    filters: CallFilters,
    limit: Limit = 10,
    as_json: AsJson = False,
) -> None:
    """Show what fails, why, how often and since when.

    Failures are ERROR, TIMEOUT and ABANDONED; a rate is failures / (successes + failures), of the
    same model and task. CANCELLED, INCOMPLETE and PENDING calls are no part of any rate.
    """
    with repository() as questions:
        summary = questions.failure_summary(**filters)
    summary.groups = summary.groups[:limit]
    found = [summary] if summary.calls else []
    if as_json:
        print_json_rows(found)
        return
    console = terminal.console()
    if not print_heading(console, "Failures", filters, found):
        return
    console.print(_outcomes(summary))
    groups = summary.groups
    if not groups:
        return
    console.print(_kinds(console, groups))
    print_further(console, summary.kinds - len(groups), "kind")
    console.print(Text("\nThe newest of each", "bold"))
    for number, group in enumerate(groups, start=1):
        newest = (figures.cell(group.sample_id), "cyan")
        task = f"  {figures.cell(group.task_name)}" if group.task_name else ""
        console.print(Text.assemble(f"{number:>2} ", newest, (task, "dim"), overflow="fold"))
        if group.sample_message:
            message = figures.cell(group.sample_message)[: 2 * console.width]
            console.print(
                Padding(Text(message, "dim", overflow="fold"), (0, 0, 0, 3), expand=False)
            )


def _kinds(console: Console, groups: Sequence[FailureGroup]) -> Table:
    """Return the table of kinds of failures, numbered; tasks are shown from their end."""
    table = terminal.table(
        *("#", "count", "rate", "status", "error", "ended by", "model", "task", "last"),
        cut=("error", "ended by", "model", "task"),
        right="# count rate",
    )
    for number, group in enumerate(groups, start=1):
        table.add_row(
            str(number),
            figures.number(group.count),
            figures.share(group.rate),
            terminal.status_text(group.status),
            terminal.words(group.error_type),
            terminal.words(group.ended_by),
            terminal.words(group.model),
            terminal.EndOf(group.task_name),
            figures.moment(group.last_seen),
        )
    return terminal.fitted(table, console)


@filtered(since=WEEK)
def tools(*, filters: CallFilters, limit: LimitOfRows = None, as_json: AsJson = False) -> None:
    """Show which tools models ask for, how often, and what the calls that ask for them cost.

    A call that asks for two tools counts, with its whole cost, for both.
    """
    with repository() as questions:
        rows = questions.tool_usage(**filters)
    largest = max((row.calls for row in rows), default=0)
    any_malformed = any(row.malformed_calls for row in rows)
    table = terminal.table(
        *("tool", "calls", "", "traces", "failed", "cost", "no cost"),
        *(["malformed"] if any_malformed else []),
        cut="tool",
        right="calls traces failed cost",
    )

    def cells(row: ToolUsage) -> Iterator[RenderableType]:
        yield terminal.words(row.tool)
        yield figures.number(row.calls)
        yield terminal.bar(row.calls, largest)
        yield figures.number(row.traces)
        yield figures.share(row.failure_rate)
        yield cost_of(row, row.llm_calls)
        yield without_cost(row, row.llm_calls)
        if any_malformed:
            yield _malformed(row)

    print_rows("Tools", table, rows, filters, cells=cells, limit=limit, as_json=as_json)


@filtered(since=WEEK)
def costs(
    *,
    filters: CallFilters,
    by: By = "model",
    timezone: Timezone = None,
    limit: LimitOfRows = None,
    as_json: AsJson = False,
) -> None:
    """Show what calls used and cost, costliest first; by hour, day, week or month oldest first.

    Failed and running calls count too; by tag, a call with two tags counts for both. `no cost` says
    how many calls the sum knows nothing of. Hours, days, weeks and months are all shown.
    """
    _check_limit(by, limit)
    zone = chosen_timezone(timezone)
    with repository() as questions:
        rows = questions.cost_summary(by, timezone=zone, **filters)
    largest = max((row.estimated_cost for row in rows), default=0)
    table = terminal.table(
        *(by, "calls", "tokens", "cached", "cost", "", "no cost"),
        cut=by,
        right="calls tokens cached cost",
    )

    def cells(row: CostSummary) -> Iterator[RenderableType]:
        yield group_cell(by, row.group)
        yield figures.number(row.calls)
        yield figures.number(row.total_tokens)
        yield figures.number(row.cached_tokens)
        yield cost_of(row, row.calls)
        yield terminal.bar(row.estimated_cost, largest)
        yield without_cost(row, row.calls)

    most = max((row.total_tokens for row in rows), default=0)
    lines = [
        Line("tokens", "total_tokens", f"up to {figures.number(most)}"),
        Line("cost", "estimated_cost", f"up to {figures.money(largest)}"),
    ]
    course = _course(by, rows, zone, filters)
    print_rows(
        _title("Costs", course),
        table,
        rows,
        filters,
        cells=cells,
        limit=limit,
        course=course,
        lines=lines,
        as_json=as_json,
    )


@filtered(since=WEEK)
def latency(
    *,
    filters: CallFilters,
    by: By = "model",
    timezone: Timezone = None,
    limit: LimitOfRows = None,
    as_json: AsJson = False,
) -> None:
    """Show how long calls take, slowest first; by hour, day, week or month oldest first.

    Percentiles of every call whose latency is known, however it ended: --status SUCCESS leaves out
    the others. A percentile is at most 0.51 % too high. The bar is p95. Hours, days, weeks and
    months are all shown.
    """
    _check_limit(by, limit)
    zone = chosen_timezone(timezone)
    with repository() as questions:
        rows = questions.latency_summary(by, timezone=zone, **filters)
    largest = max((row.p95 for row in rows), default=0)
    percentiles = [name for name in LatencySummary.model_fields if name.startswith("p")]
    table = terminal.table(
        *(by, "calls", *percentiles, ""), cut=by, right=f"calls {' '.join(percentiles)}"
    )

    def cells(row: LatencySummary) -> Iterator[RenderableType]:
        yield group_cell(by, row.group)
        yield figures.number(row.calls)
        yield from (figures.duration(getattr(row, percentile)) for percentile in percentiles)
        yield terminal.bar(row.p95, largest)

    course = _course(by, rows, zone, filters)
    lines = [
        Line(name, name, f"up to {figures.duration(max(getattr(row, name) for row in rows))}")
        for name in ("p50", "p95")
        if rows
    ]
    print_rows(
        _title("Latency", course),
        table,
        rows,
        filters,
        cells=cells,
        limit=limit,
        course=course,
        lines=lines,
        as_json=as_json,
    )


def _check_limit(by: GroupBy, limit: int | None) -> None:
    if limit and by in get_args(Bucket):
        raise UsageError("Hours, days, weeks and months are all shown: leave out --limit.")


def _course(by: str, rows: Sequence[Any], timezone: str, filters: CallFilters) -> Course | None:
    """Return how rows lie in time, if that is what they are grouped by."""
    if by not in get_args(Bucket):
        return None
    return Course(cast("Bucket", by), rows, named="group", timezone=timezone, filters=filters)


def group_cell(by: str, group: str | None) -> RenderableType:
    """Return the name of a group for a table; a task's is shown from its end."""
    return terminal.EndOf(group) if by == "task_name" else terminal.words(group_name(by, group))


def _title(title: str, course: Course | None) -> str:
    """Return a title that says whose hours, days ... are shown, as their names do not."""
    return f"{title} by {course.bucket}, {course.timezone}" if course else title


def _malformed(row: ToolUsage) -> str:
    malformed = row.malformed_calls
    return f"{malformed:,} of {row.calls:,}" if malformed else ""


def _outcomes(summary: FailureSummary) -> Text:
    judged = summary.successes + summary.failures
    others = ", ".join(
        f"{getattr(summary, name):,} {name}"
        for name in ("cancelled", "incomplete", "pending", "other")
        if getattr(summary, name)
    )
    return Text.assemble(
        (f"{summary.failures:,} of {figures.counted(judged, 'call')} failed", terminal.FAILURE),
        f", {figures.share(summary.failure_rate)}",
        (f"; beside them {others}" if others else "", "dim"),
    )
