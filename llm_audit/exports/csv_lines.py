"""The lines of CSV that `llm-audit export` writes, and the ids in them."""

import csv
import io
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from llm_audit.display import figures
from llm_audit.display.json_lines import ID, iso_utc, json_line
from llm_audit.exports.columns import value_in
from llm_audit.queries.steps import Document

# Spreadsheets take a text that begins so for a formula; some in another width, as NFKC has them.
_SIGNS = frozenset(
    "=\u207c\u208c\u2a75\u2a76\ufe66\uff1d+\u207a\u208a\ufb29\ufe62\uff0b"
    "-\u207b\u208b\u2212\ufe63\uff0d@\ufe6b\uff20"
)
# What they overlook before it, and what may begin a cell: where `;` is between cells, as in much of
# Europe, quotes around a text with a comma before them are none.
_BEFORE_A_SIGN = re.compile("[\\s\"';|]+")
_BEGINS_A_CELL = re.compile("([;|\t\n])")
_BEGAN_A_CELL = re.compile("([;|\t\n])'")
_SHOWN = re.compile("<U\\+([0-9A-F]{4,6})>")  # as `figures.safe` shows what nobody sees
_LINE_BREAK = re.compile("\r\n?")


def csv_line(call: Document, columns: Iterable[str]) -> str:
    """Return a call as a line; line breaks in its texts stay, so it may be several in the file."""
    return csv_of(_cell(value_in(call, name)) for name in columns)


def csv_of(cells: Iterable[object]) -> str:
    """Return cells as a line."""
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
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
    shown = as_recorded(cells[columns.index(ID)])
    return _SHOWN.sub(lambda found: chr(int(found[1], 16)), shown)


def no_formula(text: str) -> str:
    """Return a text with a `'` wherever some spreadsheet would begin a formula."""
    begins = "'" if _begins_as_formula(text) else ""
    return begins + _BEFORE_A_SIGN.sub(lambda run: _in_run(run, _BEGINS_A_CELL, r"\1'"), text)


def as_recorded(cell: str) -> str:
    """Return the text of which `no_formula` has made a cell."""
    begins = 1 if cell[:1] == "'" and _begins_as_formula(cell) else 0
    return _BEFORE_A_SIGN.sub(lambda run: _in_run(run, _BEGAN_A_CELL, r"\1"), cell[begins:])


def _begins_as_formula(text: str) -> bool:
    run = _BEFORE_A_SIGN.match(text)
    end = run.end() if run else 0
    return text.lstrip("'")[:1] == "\t" or text[end : end + 1] in _SIGNS


def _in_run(run: re.Match[str], place: re.Pattern[str], instead: str) -> str:
    is_before_sign = run.string[run.end() : run.end() + 1] in _SIGNS
    return place.sub(instead, run[0]) if is_before_sign else run[0]


def _cell(value: Any) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return iso_utc(value)
    text = json_line(value) if isinstance(value, dict | list) else str(value)
    return no_formula(figures.safe(_LINE_BREAK.sub("\n", text)))
