"""`llm-audit scores`: what people and evaluators say of calls."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import RenderableType

from llm_audit.cli.commands.summaries.groups import By, group_cell
from llm_audit.cli.connection import repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.rows import WEEK, LimitOfRows, print_rows
from llm_audit.cli.options import AsJson, Timezone, filtered
from llm_audit.display import figures
from llm_audit.queries.answers.summaries import ScoreSummary
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.times import chosen_timezone


@filtered(since=WEEK)
def scores(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As given to LLMLogger.score.")],
    *,
    filters: CallFilters,
    by: By = "model",
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what this one says.")
    ] = None,
    timezone: Timezone = None,
    limit: LimitOfRows = None,
    as_json: AsJson = False,
) -> None:
    """Show what the scores of one name say, most scores first; by hour, day ... oldest first.

    A score is True or False (`yes` is the share of True), a number (`mean`, `least`, `most`) or a
    label. By tag, a call with two tags counts for both.
    """
    zone = chosen_timezone(timezone)
    with repository() as questions:
        rows = questions.score_summary(name, by, source=source, timezone=zone, **filters)
    table = terminal.table(
        *(by, "scores", "yes", "mean", "least", "most", "labels"),
        cut=(by, "labels"),
        right="scores yes mean least most",
    )

    def cells(row: ScoreSummary) -> Iterator[RenderableType]:
        yield group_cell(by, row.group)
        yield figures.number(row.scores)
        yield figures.share(row.yes / (row.yes + row.no) if row.yes + row.no else None)
        for number in (row.mean, row.least, row.most):
            yield figures.UNKNOWN if number is None else f"{number:.4g}"
        yield terminal.words(", ".join(f"{each.label} {each.count:,}" for each in row.labels))

    print_rows(
        f"Scores: {figures.cell(name)}",
        table,
        rows,
        filters,
        cells=cells,
        limit=limit,
        as_json=as_json,
    )
