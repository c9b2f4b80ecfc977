"""The files that `llm-audit export` writes into."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from llm_audit.cli.files.resuming import Place
from llm_audit.errors import UsageError
from llm_audit.exports.line_formats import LineFormat
from llm_audit.queries.steps import Document

if TYPE_CHECKING:
    from llm_audit.exports.parquet import ParquetRows


@contextmanager
def lines_into(
    path: Path | None, form: LineFormat, place: Place | None
) -> Iterator[Callable[[Document], object]]:
    """Open a file and give what writes a call as a line.

    Args:
        path: None for stdout.
        form: What a line is.
        place: Where a file that is there goes on; None for a new one.

    Raises:
        UsageError: It belongs to somebody else.
    """
    with ExitStack() as stack:
        if path is None:
            into: TextIO = sys.stdout
        elif place:
            into = stack.enter_context(_text_file(path, "a"))
            _keep_to_ourselves(into, path)
            into.truncate(place.end)
        else:
            # what is there of lines with ids when it is cut off can go on
            new = path if form.id_of else stack.enter_context(whole(path))
            into = stack.enter_context(_text_file(new, "x"))
        if form.header and not (place and place.end):
            into.write(f"{form.header}\n")
        yield lambda call: into.write(f"{form.line(call)}\n")


@contextmanager
def rows_into(path: Path, columns: tuple[str, ...]) -> "Iterator[ParquetRows]":
    """Open a new Parquet file, which is there when it is whole.

    Args:
        path: Its name.
        columns: In their order.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        from llm_audit.exports.parquet import parquet_file
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise UsageError(
            "--format parquet needs an extra: pip install 'llm-audit[cli,parquet]'."
        ) from None
    with whole(path) as part, parquet_file(part, columns, only_ours) as rows:
        yield rows


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Have a file under its name only when it is whole; give the name to write it under."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def only_ours(path: str, flags: int) -> int:
    """Open a file that nobody else can read, if it is a new one; for `open(opener=...)`."""
    return os.open(path, flags, 0o600)


def _keep_to_ourselves(file: TextIO, path: Path) -> None:
    """See that nobody else can read a file that was there already."""
    if os.fstat(file.fileno()).st_uid != os.geteuid():
        raise UsageError(f"{path} belongs to another user, who could read it: name a new file.")
    os.fchmod(file.fileno(), 0o600)


def _text_file(path: Path, mode: str) -> TextIO:
    opened = open(path, mode, encoding="utf-8", newline="\n", opener=only_ours)  # noqa: SIM115
    return cast("TextIO", opened)
