"""`llm-audit export`: calls into a file, oldest first, one line each, in constant memory."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.progress import Progress

from llm_audit.cli.connection import Call, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_lines import extended_json
from llm_audit.cli.exits import say
from llm_audit.cli.files.export_lines import CSV_FIELDS, CSV_HEADER, Place, csv_line, place_to_go_on
from llm_audit.cli.files.fine_tuning import fine_tuning_example
from llm_audit.cli.options import filtered, flag
from llm_audit.errors import UsageError
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.pipelines import Pipeline

if TYPE_CHECKING:
    from llm_audit.queries.repository import SyncLLMCallRepository

STDOUT = Path("-")
NOTHING = Place(0, None)

_BATCH = 500  # calls; MongoDB's own measure is 16 MB, which is a hundred thousand rows of a CSV
_FINE_TUNING: CallFilters = {"status": "SUCCESS", "call_type": "CHAT"}


class Format(StrEnum):
    """What a line of the file is."""

    JSONL = "jsonl"
    CSV = "csv"
    OPENAI = "openai"


_LINE_OF: dict[Format, Callable[[Call], str | None]] = {
    Format.JSONL: extended_json,
    Format.CSV: csv_line,
    Format.OPENAI: fine_tuning_example,
}


@filtered()
def export(
    *,
    filters: CallFilters,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl: whole calls in MongoDB's Extended JSON, for `import`; csv: their plain "
            "fields; openai: successful chats, to fine-tune a model.",
        ),
    ] = Format.JSONL,
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

    Content in GridFS stays there, with a reference in the call; for an exact copy, media included,
    there is mongodump, whose files `import` reads too. In CSV a text that begins with = + - or @
    gets a ' before it, so that no spreadsheet takes it for a formula.
    """
    from llm_audit.queries.steps import each, rows

    output = None if output == STDOUT else output
    _check_files(form, output, resume)
    place = place_to_go_on(resume, form) if resume and resume.exists() else NOTHING
    wanted = condition(_of_format(filters, form))
    if place.last_id is not None:
        wanted = {"$and": [wanted, {"_id": {"$gt": place.last_id}}]}
    written = 0
    with repository() as questions:
        of_all = questions.count_by_filters(**filters) if form is Format.OPENAI else 0
        # most of what fails does so here, before a file is touched
        questions.ask(rows([{"$match": wanted}, {"$limit": 1}], dict))
        with _opened(output, resume, place) as into, _progress(questions, wanted, into) as advance:
            if form is Format.CSV and not place.end:
                into.write(f"{CSV_HEADER}\n")

            def write(call: Call) -> None:
                nonlocal written
                if (line := _LINE_OF[form](call)) is not None:
                    into.write(f"{line}\n")
                    written += 1
                advance()

            questions.ask(each(_oldest_first(wanted, form), write, batch_size=_BATCH))
    _report(written, of_all, output or resume)


def _check_files(form: Format, output: Path | None, resume: Path | None) -> None:
    if output and resume:
        raise UsageError("--resume names the file itself: leave out --output.")
    if resume and form is Format.OPENAI:
        raise UsageError("--resume needs ids, which files to fine-tune with do not have.")
    if output and output.exists():
        can_go_on = form is not Format.OPENAI
        mend = f"--resume {output} goes on with it" if can_go_on else "name a new file"
        raise UsageError(f"{output} is there already: {mend}.")


def _report(written: int, of_all: int, path: Path | None) -> None:
    if path:
        say(f"{terminal.counted(written, 'call')} exported to {path}.")
    if of_all > written:
        say(
            f"{of_all - written:,} of {of_all:,} calls are left out: they are no successful chats "
            "as OpenAI's API has them, or not all of them is here."
        )


def _of_format(filters: CallFilters, form: Format) -> CallFilters:
    """Return the filters with those that a format implies."""
    if form is not Format.OPENAI:
        return filters
    for name, only in _FINE_TUNING.items():
        given = filters.get(name)
        values = given if isinstance(given, list) else [only if given is None else given]
        if any(str(value).upper() != only for value in values):
            raise UsageError(
                f"--format openai takes successful chats only: leave out --{flag(name)}."
            )
    return {**filters, **_FINE_TUNING}


def _oldest_first(wanted: dict[str, Any], form: Format) -> Pipeline:
    fields = {"$project": dict.fromkeys(CSV_FIELDS, 1)}
    shown = [fields] if form is Format.CSV else []
    return [{"$match": wanted}, {"$sort": {"_id": 1}}, *shown]


@contextmanager
def _progress(
    questions: "SyncLLMCallRepository", wanted: dict[str, Any], into: TextIO
) -> Iterator[Callable[[], object]]:
    """Show how far the export is, where somebody looks at stderr; give what moves it on."""
    from llm_audit.queries.steps import rows

    if not sys.stderr.isatty() or into.isatty():
        yield lambda: None
        return
    counted = rows([{"$match": wanted}, {"$count": "calls"}], lambda row: int(row["calls"]))
    with Progress(console=terminal.console(stderr=True)) as progress:
        task = progress.add_task("Exporting", total=sum(questions.ask(counted)))
        yield lambda: progress.advance(task)


@contextmanager
def _opened(output: Path | None, resume: Path | None, place: Place) -> Iterator[TextIO]:
    """Open a new file, or one to go on with after its last whole line, or stdout."""
    path = output or resume
    if path is None:
        yield sys.stdout
        return
    with path.open("x" if output else "a", encoding="utf-8", newline="\n") as file:
        if resume:
            file.truncate(place.end)
        yield file
