"""`llm-audit export`: calls into a file, oldest first, one line each, in constant memory."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.progress import track

from llm_audit.cli import export_lines, terminal
from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.options import filtered
from llm_audit.errors import UsageError
from llm_audit.queries.filters import CallFilters, condition

if TYPE_CHECKING:
    from llm_audit.cli.connection import Documents

_BLOCK_BYTES = 64 * 1024
_BATCH = 500  # calls; MongoDB's own measure is 16 MB, which is a hundred thousand rows of a CSV


class Format(StrEnum):
    """What a line of the file is."""

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
            help="jsonl: whole calls in MongoDB's Extended JSON, for `import`; csv: their plain "
            "fields; openai: successful chats, to fine-tune a model.",
        ),
    ] = Format.JSONL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Go on after the last whole line of this file."),
    ] = None,
) -> None:
    """Write calls into a file, or to stdout, oldest first.

    An export that was cut off goes on with --resume, the same filters and the same format. Content
    in GridFS stays there, with a reference in the call; for an exact copy, media included, there is
    mongodump, whose files `import` reads too.
    """
    if output and resume:
        raise UsageError("--resume names the file itself: leave out --output.")
    if resume and form is Format.OPENAI:
        raise UsageError("--resume needs ids, which files to fine-tune with do not have.")
    if output and output.exists():
        raise UsageError(f"{output} is there already: --resume {output} goes on with it.")
    last_id = _cut_to_last_line(resume, form) if resume and resume.exists() else None
    wanted = _wanted(filters, form, last_id)
    left_out = 0
    with collection_of_calls() as collection, _opened(output or resume) as into:
        if form is Format.CSV and (into is sys.stdout or not into.tell()):
            into.write(f"{export_lines.CSV_HEADER}\n")
        for line in _with_progress(_lines(collection, wanted, form), collection, wanted, into):
            if line is None:
                left_out += 1
            else:
                into.write(f"{line}\n")
    if left_out:
        print(
            f"llm-audit: {left_out:,} calls that are no chat as OpenAI's API has it are left out.",
            file=sys.stderr,
        )


def _wanted(filters: CallFilters, form: Format, last_id: str | None) -> dict[str, Any]:
    if form is Format.OPENAI:
        filters = {"status": "SUCCESS", "call_type": "CHAT", **filters}
    wanted = condition(filters)
    return wanted if last_id is None else {"$and": [wanted, {"_id": {"$gt": last_id}}]}


def _lines(collection: "Documents", wanted: dict[str, Any], form: Format) -> Iterator[str | None]:
    """Yield a line for each call; None for those that the format has no words for."""
    projection = export_lines.CSV_FIELDS if form is Format.CSV else None
    line_of = {
        Format.JSONL: export_lines.extended_json,
        Format.CSV: export_lines.csv_line,
        Format.OPENAI: export_lines.fine_tuning_example,
    }[form]
    for call in collection.find(wanted, projection, batch_size=_BATCH).sort("_id", 1):
        yield line_of(call)


def _with_progress(
    lines: Iterator[str | None], collection: "Documents", wanted: dict[str, Any], into: TextIO
) -> Iterator[str | None]:
    if not sys.stderr.isatty() or into.isatty():
        return lines
    total = collection.count_documents(wanted)
    return iter(track(lines, "Exporting", total, console=terminal.console(stderr=True)))


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Open a file to go on at its end, or stdout."""
    if path is None:
        yield sys.stdout
        return
    with path.open("a", encoding="utf-8", newline="\n") as file:
        yield file


def _cut_to_last_line(path: Path, form: Format) -> str | None:
    """Remove the half line at a file's end; return the id of the last whole one."""
    with path.open("r+b") as file:
        end = _line_break_before(file.fileno(), os.fstat(file.fileno()).st_size) + 1
        file.truncate(end)
        if end == 0:
            return None
        begin = _line_break_before(file.fileno(), end - 1) + 1
        line = os.pread(file.fileno(), end - begin, begin).decode()
    try:
        return export_lines.id_in_csv(line) if form is Format.CSV else export_lines.id_in_json(line)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"The last line of {path} is no call in the format {form}.") from None


def _line_break_before(descriptor: int, end: int) -> int:
    """Return where the last line break before a place in a file is; -1 if there is none."""
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found
        end = begin
    return -1
