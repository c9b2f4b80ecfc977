"""Where an export that was cut off goes on: after the last whole line of its file."""

import os
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from llm_audit.cli.export_lines import CSV_HEADER, id_in_csv, id_in_json
from llm_audit.errors import UsageError

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
