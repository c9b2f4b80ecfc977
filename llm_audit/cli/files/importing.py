"""`llm-audit import`: calls from files, as `export` or mongodump wrote them, or of a batch."""

import hashlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.progress import wrap_file

from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json
from llm_audit.cli.exits import FAILED, say
from llm_audit.cli.files.imported_calls import CallInFile, Refuse, calls_in
from llm_audit.cli.files.unpacking import unpacked
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.errors import UnavailableError, UsageError
from llm_audit.queries.times import parse_time
from llm_audit.settings import Settings, get_settings

if TYPE_CHECKING:
    from bson.raw_bson import RawBSONDocument

    from llm_audit.batches import Batch, Requests
    from llm_audit.cli.connection import Documents
    from llm_audit.store.connection import Connection
    from llm_audit.store.imports import Imports

BATCH = 500
BATCH_BYTES = 16 * 2**20
SHOWN_REASONS = 5
SHOWN_KINDS = 20
STDIN = Path("-")


@dataclass
class Imported:
    """What became of the calls in the files."""

    imported: int = 0
    already_there: int = 0
    refused: int = 0
    only_of_lists: bool = False
    reasons: list[str] = field(default_factory=list)
    refused_by_reason: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str) -> None:
        """Count a call that is left out; the first reasons are kept, of the others how many."""
        self.refused += 1
        kind = reason.rpartition(": ")[2]
        counts = self.refused_by_reason
        if kind not in counts and len(counts) >= SHOWN_KINDS:
            kind = "other reasons"
        counts[kind] = counts.get(kind, 0) + 1
        if len(self.reasons) < SHOWN_REASONS:
            self.reasons.append(reason)

    def looked_at(self, calls: Iterator[CallInFile]) -> Iterator[CallInFile]:
        """Look whether all calls may be lines of a list, whose content is elsewhere."""
        for number, call in enumerate(calls):
            self.only_of_lists = call.is_of_a_list and (number == 0 or self.only_of_lists)
            yield call

    def report(self, *, as_json: bool) -> None:
        """Say how many calls are there now, and why others are not."""
        if as_json:
            print_json(asdict(self))
        else:
            imported = figures.counted(self.imported, "call")
            left_out = f"{self.already_there:,} there already, {self.refused:,} refused"
            say(f"{imported} imported, {left_out}.")
            if self.only_of_lists:
                lists = "lists such as `calls --json` leave it out, `export` does not"
                say(f"None of them holds anything that was said: {lists}.")
        for reason in self.reasons:
            say(f"refused: {reason}")
        if self.refused > SHOWN_REASONS and not as_json:
            for kind, count in self.refused_by_reason.items():
                say(f"refused {'once' if count == 1 else f'{count:,} times'}: {kind}")


def import_calls(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="JSON lines or .bson, or results of a batch; also gzipped; - is stdin.",
        ),
    ],
    *,
    requests: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="What was asked, of a batch's results."),
    ] = None,
    batch_id: Annotated[
        str | None,
        typer.Option("--batch", metavar="ID", help="The provider's id of the batch."),
    ] = None,
    submitted: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it was, if nothing else says it."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who was asked: azure, groq or mistral, say."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring in calls that `export` or mongodump wrote, or the results of a batch.

    What is there already is left as it is, so an import that was cut off may simply be run again.
    Each call says when it came and from which file; what it says besides is what the file says. It
    is kept for as long as a call that is recorded now, by retention_days. The exit code is 1 if
    something was refused.

    Results of a batch are OpenAI's, Anthropic's, Gemini's or Bedrock's, as they were downloaded.
    With the id of the batch they are joined to the call that submitted it.
    """
    from llm_audit.batches import Batch
    from llm_audit.cli.files.importing_batches import is_batch
    from llm_audit.store.answers.plain_errors import plain_errors
    from llm_audit.store.connection import Connection

    _check([*files, *(requests or ())])
    at = None if submitted is None else parse_time("--submitted", submitted)
    settings = get_settings()
    result = Imported()
    connection = Connection(settings)
    try:
        with plain_errors(settings):
            connection.calls()  # where nothing can be brought in, no file is read
            asked = _Asked(requests or [], Batch(batch_id, at=at, provider=provider))
            is_given = bool(requests or batch_id or at or provider)
            for path in files:
                with _opened(path) as file:
                    if is_given or is_batch(file.stream):
                        _import_batch(connection, file, asked, result)
                    else:
                        _import(settings, connection, file, result)
    finally:
        connection.close()
    result.report(as_json=as_json)
    if result.refused:
        raise typer.Exit(FAILED)


class _Asked:
    """What the options say of a batch; the requests are read when they are needed, once."""

    def __init__(self, paths: list[Path], batch: "Batch") -> None:
        self.batch = batch
        self._paths = paths
        self._requests: Requests | None = None

    def requests(self, refuse: Refuse) -> "Requests":
        """Return what was asked."""
        from llm_audit.batches import Requests
        from llm_audit.cli.files.importing_batches import read_requests

        if self._requests is None:
            self._requests = Requests()
            for path in self._paths:
                with _opened(path) as file:
                    read_requests(file.stream, file.name, self._requests, refuse)
        return self._requests


class _File(NamedTuple):
    """A file that is open.

    Attributes:
        stream: Unpacked.
        name: As it was given, for what is refused.
        source: Its name and its sha256.
    """

    stream: io.BufferedReader
    name: str
    source: str


def _import(settings: Settings, connection: "Connection", file: _File, result: Imported) -> None:
    from llm_audit.store.imports import Imports

    calls = result.looked_at(calls_in(file.stream, file.name, result.refuse))
    imports = Imports(settings, connection, file.source)
    for batch in _batches(calls, imports, result):
        _insert(connection.calls(), batch, result)


def _import_batch(connection: "Connection", file: _File, asked: _Asked, result: Imported) -> None:
    from llm_audit.cli.files import importing_batches

    collection = connection.calls()
    batch = importing_batches.submitted(collection, asked.batch)._replace(source=file.source)
    requests = asked.requests(result.refuse)
    lines = importing_batches.calls_in(file.stream, file.name, requests, batch, result.refuse)
    for recorded, already_there in importing_batches.record(collection, lines):
        result.imported += recorded
        result.already_there += already_there


def _check(files: list[Path]) -> None:
    """Have a file that cannot be read fail before the first one is imported."""
    for path in files:
        if path != STDIN and not path.is_fifo():  # what comes through a pipe comes only once
            path.open("rb").close()


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    """Open a file, or stdin, unpacked, and name it; a bar on stderr shows how much is read."""
    if path == STDIN:
        if sys.stdin is None:
            raise UsageError("stdin is closed: there is nothing to import.")
        yield _File(unpacked(sys.stdin.buffer), str(path), "stdin")
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
        source = path.name
        if path.is_file():  # what comes through a pipe comes only once
            source += f" sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            file.seek(0)
        yield _File(unpacked(watched), str(path), source)


def _batches(
    calls: Iterator[CallInFile], imports: "Imports", result: Imported
) -> "Iterator[list[RawBSONDocument]]":
    from pymongo.errors import PyMongoError

    batch: list[RawBSONDocument] = []
    size = 0
    for call in calls:
        try:
            batch.append(imports.stored(bytes(call.document.raw)))
        except (PyMongoError, UnavailableError):
            raise  # that is not about the call
        except Exception as error:  # noqa: BLE001  (whatever a call holds costs that call)
            result.refuse(f"{call.place}: it cannot be written ({type(error).__name__})")
            continue
        size += len(call.document.raw)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert(collection: "Documents", batch: "list[RawBSONDocument]", result: Imported) -> None:
    from bson.errors import BSONError
    from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure

    from llm_audit.store.answers.codes import BATCH_REFUSALS, is_duplicate_id

    try:
        collection.insert_many(batch, ordered=False)
    except BulkWriteError as error:
        result.imported += error.details["nInserted"]
        for failure in error.details["writeErrors"]:
            if is_duplicate_id(failure):
                result.already_there += 1
            else:
                call_id = batch[failure["index"]]["_id"]
                result.refuse(f"{call_id}: MongoDB says {failure.get('errmsg', '')!s:.200}")
        if not error.details["writeErrors"]:
            raise
    except (OperationFailure, BSONError, DocumentTooLarge) as error:
        if isinstance(error, OperationFailure) and error.code not in BATCH_REFUSALS:
            raise
        if len(batch) == 1:
            result.refuse(
                f"{batch[0]['_id']}: MongoDB takes no such document ({type(error).__name__})"
            )
        else:  # refused as a whole, for one of them
            middle = len(batch) // 2
            _insert(collection, batch[:middle], result)
            _insert(collection, batch[middle:], result)
    else:
        result.imported += len(batch)
