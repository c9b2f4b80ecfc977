"""`llm-audit export`: calls into a file, oldest first, in constant memory."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.progress import Progress

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli.connection import repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.exits import say
from llm_audit.cli.files.resuming import Place, place_to_go_on
from llm_audit.cli.files.writing import lines_into, rows_into
from llm_audit.cli.options import filtered
from llm_audit.display import figures
from llm_audit.errors import UsageError
from llm_audit.exports.columns import ALL_COLUMNS, PLAIN_COLUMNS, checked_columns, fields_for
from llm_audit.exports.line_formats import (
    LineFormat,
    csv_lines,
    extended_json_lines,
    fine_tuning_lines,
    plain_json_lines,
)
from llm_audit.exports.openai_messages import NoExampleError
from llm_audit.queries.filters import LIMIT_MAX, CallFilters, condition
from llm_audit.queries.lookup import with_instructions
from llm_audit.queries.pipelines import Pipeline
from llm_audit.queries.steps import Document

if TYPE_CHECKING:
    from llm_audit.queries.repository import SyncLLMCallRepository

STDOUT = Path("-")

_BATCH = 200  # calls; MongoDB's own measure is 16 MB
_FAILED = "did not succeed"


class Format(StrEnum):
    """What the file is."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    OPENAI = "openai"


@filtered()
def export(
    *,
    filters: CallFilters,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl: whole calls in plain JSON, one a line; csv: their plain fields, "
            "prompt and answer; parquet: all fields, prompt and answer, as columns with types; "
            "openai: successful chats, to fine-tune a model.",
        ),
    ] = Format.JSONL,
    extended_json: Annotated[
        bool,
        typer.Option("--extended-json", help="jsonl with every type of MongoDB, for mongoimport."),
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Only these, with commas: id,created_at,metadata.plan,answer"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=LIMIT_MAX, help="How many calls at the most, the oldest first."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file; - is stdout.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Go on after the last whole line of this file."),
    ] = None,
) -> None:
    """Write calls into a file, or to stdout, oldest first.

    An export that was cut off goes on with --resume, the same filters and the same format. It goes
    on after the last id: calls that came in meanwhile with an older one, out of a journal say, are
    left out, and calls that are in the file as PENDING stay so.

    `import` reads jsonl in both forms. Plain JSON has dates and UUIDs as text, bytes in base64, and
    null for NaN. Content in GridFS stays there, with a reference in the call; for an exact copy,
    media included, there is mongodump, whose files `import` reads too.

    In CSV everything is between quotes, and where = + - or @ begins a text, a line or what follows
    a semicolon, there is a ' first, so that no spreadsheet takes it for a formula.
    """
    from llm_audit.queries.steps import each, rows

    output = None if output == STDOUT else output
    names = None if columns is None else checked_columns(columns)
    lines = _lines(form, names, extended_json=extended_json)
    _check_files(lines, output, resume)
    place = place_to_go_on(resume, lines) if resume and lines else None
    done = _Done()
    with repository() as questions:
        filters = cast("CallFilters", questions.ask(with_instructions(filters)))
        wanted = _wanted(filters, form, place, limit)
        if form is Format.OPENAI and not limit:
            done.left_out[_FAILED] = _failed(questions, filters)
        # most of what fails does so here, before a file is touched
        questions.ask(rows([*wanted[:1], {"$limit": 1}], dict))
        with (
            _opened(lines, names or ALL_COLUMNS, resume or output, place, done) as write,
            _progress(questions, wanted, resume or output) as go_on,
        ):

            def take(call: Document) -> None:
                try:
                    write(call)
                    done.calls += 1
                except NoExampleError as error:
                    done.left_out[str(error)] += 1
                go_on()

            shown = lines.stages if lines else [{"$project": fields_for(names or ALL_COLUMNS)}]
            questions.ask(each([*wanted, *shown], take, batch_size=_BATCH))
    done.report(resume or output)


@dataclass
class _Done:
    """What became of the calls."""

    calls: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # by reason
    misfits: Counter[str] = field(default_factory=Counter)  # values, by column

    def report(self, path: Path | None) -> None:
        """Say how many calls are in the file, and why others are not."""
        if path:
            say(f"{figures.counted(self.calls, 'call')} exported to {path}.")
        if count := self.left_out.total():
            reasons = _counted(+self.left_out, "")
            say(f"{count:,} of {count + self.calls:,} calls are left out: {reasons}.")
        if self.misfits:
            where = _counted(self.misfits, "in ")
            say(f"Values of another type than their column are left empty: {where}.")


def _counted(counts: Counter[str], before: str) -> str:
    return ", ".join(f"{count:,} {before}{what}" for what, count in counts.most_common())


def _lines(
    form: Format, columns: tuple[str, ...] | None, *, extended_json: bool
) -> LineFormat | None:
    """Return what a line is; None if the file has none."""
    if extended_json and (form is not Format.JSONL or columns):
        raise UsageError("--extended-json is for whole calls in jsonl: leave out the rest of it.")
    if form is Format.OPENAI and columns:
        raise UsageError("--format openai has no columns: leave out --columns.")
    match form:
        case Format.PARQUET:
            return None
        case Format.OPENAI:
            return fine_tuning_lines()
        case Format.CSV:
            return csv_lines(columns or PLAIN_COLUMNS)
    return extended_json_lines() if extended_json else plain_json_lines(columns)


def _check_files(lines: LineFormat | None, output: Path | None, resume: Path | None) -> None:
    if output and resume:
        raise UsageError("--resume names the file itself: leave out --output.")
    if lines is None and not output:
        raise UsageError("--format parquet is written as a whole: name a new file with --output.")
    if output and output.exists():
        can_go_on = lines is not None and lines.id_of
        fix = f"--resume {output} goes on with it" if can_go_on else "name a new file"
        raise UsageError(f"{output} is there already: {fix}.")


def _wanted(filters: CallFilters, form: Format, place: Place | None, limit: int | None) -> Pipeline:
    """Return the stages that find the calls, a `$match` first."""
    matched = condition(_of_format(filters, form))
    if place and place.last_id is not None:
        matched = {"$and": [matched, {"_id": {"$gt": place.last_id}}]}
    return [{"$match": matched}, {"$sort": {"_id": 1}}, *([{"$limit": limit}] if limit else [])]


def _of_format(filters: CallFilters, form: Format) -> CallFilters:
    """Return the filters with those that a format implies."""
    if form is not Format.OPENAI:
        return filters
    given = filters.get("status", LLMCallStatusEnum.SUCCESS)
    if any(str(value).upper() != LLMCallStatusEnum.SUCCESS for value in _each(given)):
        raise UsageError("--format openai takes successful calls only: leave out --status.")
    return {**filters, "status": LLMCallStatusEnum.SUCCESS}


def _each(given: object) -> list[object]:
    return given if isinstance(given, list) else [given]


def _failed(questions: "SyncLLMCallRepository", filters: CallFilters) -> int:
    """Return how many of the calls that are meant did not succeed."""
    successes: CallFilters = {**filters, "status": LLMCallStatusEnum.SUCCESS}
    return questions.count_by_filters(**filters) - questions.count_by_filters(**successes)


@contextmanager
def _opened(
    lines: LineFormat | None,
    columns: tuple[str, ...],
    path: Path | None,
    place: Place | None,
    done: _Done,
) -> Iterator[Callable[[Document], object]]:
    """Open what is written into, and give what writes a call."""
    if lines or path is None:
        with lines_into(path, lines or plain_json_lines(columns), place) as write:
            yield write
        return
    with rows_into(path, columns) as rows:
        done.misfits = rows.misfits
        yield rows.add


@contextmanager
def _progress(
    questions: "SyncLLMCallRepository", wanted: Pipeline, path: Path | None
) -> Iterator[Callable[[], object]]:
    """Show how far the export is, where somebody looks at stderr; give what moves it on."""
    from llm_audit.queries.steps import rows

    if not sys.stderr.isatty() or (path is None and sys.stdout.isatty()):
        yield lambda: None
        return
    counted = rows([*wanted, {"$count": "calls"}], lambda row: int(row["calls"]))
    with Progress(console=terminal.console(stderr=True)) as progress:
        task = progress.add_task("Exporting", total=sum(questions.ask(counted)))
        yield lambda: progress.advance(task)
