"""`llm-audit export`: calls into a file, oldest first, in constant memory."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer
from rich.progress import Progress

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli.connection import Call, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.exits import say
from llm_audit.cli.files.columns import PLAIN_COLUMNS, checked_columns
from llm_audit.cli.files.line_formats import (
    LineFormat,
    csv_lines,
    extended_json_lines,
    fine_tuning_lines,
    plain_json_lines,
)
from llm_audit.cli.files.openai_messages import NoExampleError
from llm_audit.cli.files.resuming import NOTHING, Place, place_to_go_on
from llm_audit.cli.options import LIMIT_MAX, filtered
from llm_audit.errors import UsageError
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.pipelines import Pipeline

if TYPE_CHECKING:
    from llm_audit.queries.repository import SyncLLMCallRepository

STDOUT = Path("-")

_BATCH = 200  # calls; MongoDB's own measure is 16 MB
_FAILED = "did not succeed"


class Format(StrEnum):
    """What the file is."""

    JSONL = "jsonl"
    CSV = "csv"
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
            "prompt and answer; openai: successful chats, to fine-tune a model.",
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

    In CSV a text that begins with = + - or @ gets a ' before it, so that no spreadsheet takes it
    for a formula.
    """
    from llm_audit.queries.steps import each, rows

    output = None if output == STDOUT else output
    lines = _lines(form, columns, extended_json=extended_json)
    _check_files(lines, output, resume)
    place = place_to_go_on(resume, lines) if resume else NOTHING
    wanted = _wanted(filters, form, place, limit)
    done = _Done()
    with repository() as questions:
        if form is Format.OPENAI and not limit:
            done.left_out[_FAILED] = _failed(questions, filters)
        # most of what fails does so here, before a file is touched
        questions.ask(rows([*wanted[:1], {"$limit": 1}], dict))
        with (
            _opened(output, resume, place, lines) as into,
            _progress(questions, wanted, into) as on,
        ):

            def write(call: Call) -> None:
                try:
                    into.write(f"{lines.line(call)}\n")
                    done.calls += 1
                except NoExampleError as error:
                    done.left_out[str(error)] += 1
                on()

            questions.ask(each([*wanted, *lines.stages], write, batch_size=_BATCH))
    done.report(output or resume)


@dataclass
class _Done:
    """What became of the calls."""

    calls: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # by reason

    def report(self, path: Path | None) -> None:
        """Say how many calls are in the file, and why others are not."""
        if path:
            say(f"{terminal.counted(self.calls, 'call')} exported to {path}.")
        if count := self.left_out.total():
            reasons = (f"{number:,} {reason}" for reason, number in self.left_out.most_common())
            known = f"{count:,} of {count + self.calls:,} calls are left out"
            say(f"{known}: {', '.join(reason for reason in reasons if reason[:2] != '0 ')}.")


def _lines(form: Format, given: str | None, *, extended_json: bool) -> LineFormat:
    if extended_json and (form is not Format.JSONL or given is not None):
        raise UsageError("--extended-json is for whole calls in jsonl: leave out the rest of it.")
    if form is Format.OPENAI:
        if given is not None:
            raise UsageError("--format openai has no columns: leave out --columns.")
        return fine_tuning_lines()
    columns = None if given is None else checked_columns(given)
    if form is Format.CSV:
        return csv_lines(columns or PLAIN_COLUMNS)
    return extended_json_lines() if extended_json else plain_json_lines(columns)


def _check_files(lines: LineFormat, output: Path | None, resume: Path | None) -> None:
    if output and resume:
        raise UsageError("--resume names the file itself: leave out --output.")
    if output and output.exists():
        fix = f"--resume {output} goes on with it" if lines.id_of else "name a new file"
        raise UsageError(f"{output} is there already: {fix}.")


def _wanted(filters: CallFilters, form: Format, place: Place, limit: int | None) -> Pipeline:
    """Return the stages that find the calls, a `$match` first."""
    matched = condition(_of_format(filters, form))
    if place.last_id is not None:
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
def _progress(
    questions: "SyncLLMCallRepository", wanted: Pipeline, into: TextIO
) -> Iterator[Callable[[], object]]:
    """Show how far the export is, where somebody looks at stderr; give what moves it on."""
    from llm_audit.queries.steps import rows

    if not sys.stderr.isatty() or into.isatty():
        yield lambda: None
        return
    counted = rows([*wanted, {"$count": "calls"}], lambda row: int(row["calls"]))
    with Progress(console=terminal.console(stderr=True)) as progress:
        task = progress.add_task("Exporting", total=sum(questions.ask(counted)))
        yield lambda: progress.advance(task)


@contextmanager
def _opened(
    output: Path | None, resume: Path | None, place: Place, lines: LineFormat
) -> Iterator[TextIO]:
    """Open a new file, or one to go on with after its last whole line, or stdout."""
    with ExitStack() as stack:
        if resume:
            into: TextIO = stack.enter_context(_text_file(resume, "a"))
            into.truncate(place.end)
        elif output is None:
            into = sys.stdout
        elif lines.id_of:  # what is there when it is cut off can go on
            into = stack.enter_context(_text_file(output, "x"))
        else:
            into = stack.enter_context(_text_file(stack.enter_context(whole(output)), "x"))
        if lines.header and not place.end:
            into.write(f"{lines.header}\n")
        yield into


def _text_file(path: Path, mode: str) -> TextIO:
    return cast("TextIO", path.open(mode, encoding="utf-8", newline="\n"))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Have a file under its name only when it is whole; give the name to write it under."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
