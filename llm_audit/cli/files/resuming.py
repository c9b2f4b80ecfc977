"""Where an export that was cut off goes on."""

from pathlib import Path
from typing import BinaryIO, NamedTuple

from llm_audit.errors import UsageError
from llm_audit.exports.line_formats import LineFormat

_BLOCK_BYTES = 64 * 1024


class Place(NamedTuple):
    """Up to where a file is kept, and the call before that."""

    end: int
    last_id: str | None


NOTHING = Place(0, None)


def place_to_go_on(path: Path, form: LineFormat) -> Place:
    """Look where an export goes on; the file is left as it is.

    Args:
        path: What an export began to write.
        form: Its format.

    Raises:
        UsageError: It holds something else, or nothing that says where to go on.
    """
    if form.id_of is None:
        raise UsageError(f"--resume needs ids, which there are none of in {form.name}.")
    if not path.exists():
        return NOTHING
    with path.open("rb") as file:
        begin, end = _last_csv_line(file) if form.has_breaks else _last_line(file)
        head = f"{form.header}\n" if form.header else form.head
        is_export = _begins(file, 0, head) and _begins(file, end, form.head)
        file.seek(begin)
        line = file.read(end - begin)
    last_id = None
    try:
        if end and is_export:
            last_id = form.id_of(line.decode())
    except (ValueError, KeyError, TypeError):
        is_export = False
    if not is_export:
        raise UsageError(f"{path} is no export in the format {form.name}: it is left as it is.")
    return Place(end, last_id)


def _begins(file: BinaryIO, place: int, head: str) -> bool:
    """Tell whether a file goes on so, or was cut off in it."""
    file.seek(place)
    expected = head.encode()
    return expected.startswith(file.read(len(expected)))


def _last_line(file: BinaryIO) -> tuple[int, int]:
    """Return where the last whole line begins and ends."""
    end = _line_break_before(file, file.seek(0, 2)) + 1
    return (_line_break_before(file, end - 1) + 1 if end else 0), end


def _line_break_before(file: BinaryIO, end: int) -> int:
    """Return where the last line break before a place in a file is; -1 if there is none."""
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found
        end = begin
    return -1


def _last_csv_line(file: BinaryIO) -> tuple[int, int]:
    """Return the same where line breaks between quotes end no line: read from the start."""
    begin = end = place = quotes = 0
    while piece := file.readline(_BLOCK_BYTES):
        place += len(piece)
        quotes += piece.count(b'"')
        if piece.endswith(b"\n") and quotes % 2 == 0:
            begin, end = end, place
    return begin, end
