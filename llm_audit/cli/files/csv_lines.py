"""The lines of CSV that `llm-audit export` writes, and the ids in them."""

import csv
import io
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from llm_audit.cli.connection import Call
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_lines import ID, iso_utc, json_line
from llm_audit.cli.files.columns import value_in

# Spreadsheets take a text that begins so for a formula; with ' before it they do not. One that
# has such a ' of its own gets another, so that it can be told what was written.
_FORMULA = re.compile("'*(\t|[\n ]*[=+\\-@\uff1d\uff0b\uff0d\uff20])")
_LINE_BREAK = re.compile("\r\n?")


def csv_line(call: Call, columns: Iterable[str]) -> str:
    """Return a call as a line; line breaks in its texts stay, so it may be several in the file."""
    return csv_of(_cell(value_in(call, name)) for name in columns)


def csv_of(cells: Iterable[object]) -> str:
    """Return cells as a line."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells)  # what ends a line is quoted in it
    return written.getvalue().removesuffix("\n")


def id_in_csv(line: str, columns: tuple[str, ...]) -> str | None:
    """Return the id of the call in a line; None for the header.

    Raises:
        ValueError: It is no such line.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(line)))
    cells = next(csv.reader(io.StringIO(line, newline="")), [])
    if len(cells) != len(columns):
        raise ValueError(line)
    if tuple(cells) == columns:
        return None
    cell = cells[columns.index(ID)]
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def _cell(value: Any) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        text = ";".join(value)
    elif isinstance(value, dict | list):
        text = json_line(value)
    else:
        text = str(value)
    text = terminal.safe(_LINE_BREAK.sub("\n", text))
    return f"'{text}" if _FORMULA.match(text) else text
