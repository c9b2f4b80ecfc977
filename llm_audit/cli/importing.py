"""`llm-audit import`: calls from files, as `export` or mongodump wrote them."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer
from rich.progress import wrap_file

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli import terminal
from llm_audit.cli.connection import reaching
from llm_audit.cli.endings import FAILED
from llm_audit.cli.json_lines import print_json
from llm_audit.cli.options import AsJson
from llm_audit.settings import get_settings

if TYPE_CHECKING:
    from bson.raw_bson import RawBSONDocument

    from llm_audit.cli.connection import Documents

BATCH = 500
BATCH_BYTES = 16 * 2**20
DOCUMENT_MAX_BYTES = 16 * 2**20
SHOWN_REASONS = 5
STDIN = Path("-")

_GZIP = b"\x1f\x8b"
_DUPLICATE_KEY = 11000
_STATUSES = frozenset(LLMCallStatusEnum)


@dataclass
class Imported:
    """What became of the calls in the files."""

    imported: int = 0
    already_there: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """Count a call that is left out; the first reasons are kept."""
        self.refused += 1
        if len(self.reasons) < SHOWN_REASONS:
            self.reasons.append(reason)


def import_calls(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="JSON lines or .bson, also gzipped; - is stdin."),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Bring in calls that `export` or mongodump wrote; what is there already is left as it is.

    So an import that was cut off may simply be run again. The exit code is 1 if something was
    refused.
    """
    from llm_audit.recorder.connection import Connection

    settings = get_settings()
    result = Imported()
    connection = Connection(settings)
    try:
        with reaching(settings):
            collection = connection.calls()
            for path in files:
                with _opened(path) as stream:
                    for batch in _batches(_calls(stream, str(path), result)):
                        _insert(collection, batch, result)
    finally:
        connection.close()
    if as_json:
        print_json(asdict(result))
    else:
        terminal.console().print(
            f"{result.imported:,} calls imported, {result.already_there:,} were there already, "
            f"{result.refused:,} refused."
        )
    for reason in result.reasons:
        print(f"llm-audit: refused: {terminal.cell(reason)}", file=sys.stderr)
    if result.refused:
        raise typer.Exit(FAILED)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file, or stdin, unpacked; a bar on stderr shows how much is read."""
    if path == STDIN:
        yield _unpacked(sys.stdin.buffer)
        return
    with (
        path.open("rb") as file,
        wrap_file(
            file,
            path.stat().st_size,
            description=path.name,
            console=terminal.console(stderr=True),
            disable=not sys.stderr.isatty(),
        ) as watched,
    ):
        yield _unpacked(watched)


def _unpacked(stream: BinaryIO) -> io.BufferedReader:
    head: io.BufferedReader = io.BufferedReader(cast("io.RawIOBase", stream))
    if head.peek(2)[:2] == _GZIP:
        return io.BufferedReader(gzip.GzipFile(fileobj=head))
    return head


def _calls(
    stream: io.BufferedReader, name: str, result: Imported
) -> "Iterator[tuple[str, RawBSONDocument]]":
    """Yield the calls of a file with the places they are at."""
    from bson.errors import BSONError

    place = ""
    try:
        # a BSON document begins with its length, below 2**25; JSON holds no such characters
        is_bson = stream.peek(4)[3:4] in {b"\x00", b"\x01"}
        documents = _from_bson(stream) if is_bson else _from_json(stream, name, result)
        for place, document in documents:
            problem = _problem(document)
            if problem:
                result.refuse(f"{name}, {place}: {problem}")
            else:
                yield place, document
    except (BSONError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        after = f" after {place}" if place else ""
        result.refuse(f"{name} cannot be read{after} ({type(error).__name__})")


def _from_json(
    stream: io.BufferedReader, name: str, result: Imported
) -> "Iterator[tuple[str, RawBSONDocument]]":
    import bson
    from bson.errors import BSONError
    from bson.json_util import RELAXED_JSON_OPTIONS, loads
    from bson.raw_bson import RawBSONDocument

    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            document = loads(line.decode(), json_options=RELAXED_JSON_OPTIONS)
            yield place, RawBSONDocument(bson.encode(document))
        except (ValueError, TypeError, OverflowError, RecursionError, BSONError) as error:
            result.refuse(f"{name}, {place}: no Extended JSON ({type(error).__name__})")


def _from_bson(stream: io.BufferedReader) -> "Iterator[tuple[str, RawBSONDocument]]":
    import bson
    from bson.raw_bson import RawBSONDocument

    options = bson.CodecOptions(document_class=RawBSONDocument)
    for number, document in enumerate(bson.decode_file_iter(stream, options), start=1):
        yield f"document {number}", document


def _problem(document: "RawBSONDocument") -> str | None:
    """Say why a document cannot be a call."""
    if not isinstance(document.get("_id"), str):
        return "it has no _id of a call"
    if document.get("status") not in _STATUSES:
        return "it has no status of a call"
    if len(document.raw) > DOCUMENT_MAX_BYTES:
        return "it is larger than 16 MiB"
    return None


def _batches(
    calls: "Iterator[tuple[str, RawBSONDocument]]",
) -> "Iterator[list[RawBSONDocument]]":
    batch: list[RawBSONDocument] = []
    size = 0
    for _, call in calls:
        batch.append(call)
        size += len(call.raw)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert(collection: "Documents", batch: "list[RawBSONDocument]", result: Imported) -> None:
    from pymongo.errors import BulkWriteError

    try:
        collection.insert_many(batch, ordered=False)
    except BulkWriteError as error:
        result.imported += error.details["nInserted"]
        for failure in error.details["writeErrors"]:
            if failure["code"] == _DUPLICATE_KEY:
                result.already_there += 1
            else:
                call_id = batch[failure["index"]]["_id"]
                result.refuse(f"{call_id}: MongoDB says {failure.get('errmsg', '')!s:.200}")
        if not error.details["writeErrors"]:
            raise
    else:
        result.imported += len(batch)
