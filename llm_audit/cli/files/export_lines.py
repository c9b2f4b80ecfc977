"""The lines of CSV that `llm-audit export` writes, and where one that was cut off goes on."""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from llm_audit.call import Kind, columns
from llm_audit.cli.connection import Call
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_lines import iso_utc
from llm_audit.errors import UsageError

_PLAIN = columns(Kind.WHO, Kind.FIGURE, Kind.LABEL)
CSV_FIELDS = tuple(dict.fromkeys(("_id", "created_at", *_PLAIN, "error_message")))

# Spreadsheets take a text that begins so for a formula; with ' before it they do not. One that
# has such a ' of its own gets another, so that it can be told what was written.
_FORMULA = re.compile(r"'*[=+\-@\t]")


def csv_line(call: Call) -> str:
    """Return the plain fields of a call; line breaks in them become spaces, so a call is a line."""
    return _csv(_csv_value(call, name) for name in CSV_FIELDS)


def id_in_json(line: str) -> str:
    """Return the id of the call in a line of Extended JSON.

    Raises:
        ValueError, KeyError, TypeError: It is no such line.
    """
    call_id = json.loads(line)["_id"]
    if not isinstance(call_id, str):
        raise TypeError
    return call_id


def id_in_csv(line: str) -> str | None:
    """Return the id of the call in a line of CSV; None for the header.

    Raises:
        ValueError: It is no such line.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(line)))
    cells = next(csv.reader([line]), [])
    if len(cells) != len(CSV_FIELDS):
        raise ValueError(line)
    if line.rstrip() == CSV_HEADER:
        return None
    return cells[0][1:] if cells[0][:1] == "'" and _FORMULA.match(cells[0]) else cells[0]


def _csv_value(call: Call, name: str) -> object:
    value: Any = call
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return iso_utc(value)
    text = ";".join(map(str, value)) if isinstance(value, list) else str(value)
    text = terminal.safe(" ".join(text.splitlines()))
    return f"'{text}" if _FORMULA.match(text) else text


def _csv(cells: Iterable[object]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(cells)
    return written.getvalue()


CSV_HEADER = _csv(CSV_FIELDS)

_BLOCK_BYTES = 64 * 1024
_HEADS = {"csv": f"{CSV_HEADER}\n".encode(), "jsonl": b'{"_id": "'}  # of the file; of each line


class Place(NamedTuple):
    """Up to where a file is kept, and the call before that."""

    end: int
    last_id: str | None


def place_to_go_on(path: Path, form: StrEnum) -> Place:
    """Look where an export goes on; the file is left as it is.

    Args:
        path: What an export began to write.
        form: jsonl or csv.

    Raises:
        UsageError: It holds something else.
    """
    with path.open("rb") as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        end = _line_break_before(descriptor, size) + 1
        begin = _line_break_before(descriptor, end - 1) + 1 if end else 0
        head = _HEADS[form.value]
        heads = [os.pread(descriptor, len(head), 0)]
        if form == "jsonl":
            heads.append(os.pread(descriptor, len(head), end))
        line = os.pread(descriptor, end - begin, begin)
    last_id, is_export = None, all(map(head.startswith, heads))
    try:
        if end:
            last_id = _id_of(line.decode(), form)
    except (ValueError, KeyError, TypeError):
        is_export = False
    if not is_export:
        raise UsageError(f"{path} is no export in the format {form}: it is left as it is.")
    return Place(end, last_id)


def _id_of(line: str, form: StrEnum) -> str | None:
    return id_in_csv(line) if form == "csv" else id_in_json(line)


def _line_break_before(descriptor: int, end: int) -> int:
    """Return where the last line break before a place in a file is; -1 if there is none."""
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found
        end = begin
    return -1
