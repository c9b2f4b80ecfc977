"""Send again what MongoDB refused, once its rules have been mended."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from uuid import uuid4

from bson.errors import BSONError

from llm_audit.errors import log_once
from llm_audit.journal.losses import Losses
from llm_audit.journal.operations import REFUSED, writes_for
from llm_audit.journal.records import Record
from llm_audit.settings import Settings
from llm_audit.store import rejected
from llm_audit.store.connection import Connection, Documents, reaching
from llm_audit.store.delivery import Delivery
from llm_audit.store.plain_errors import asking
from llm_audit.store.processes import note_retried


@dataclass(frozen=True, slots=True)
class RetryResult:
    """What became of the records that MongoDB had refused."""

    arrived: int
    refused_again: int


def retry_rejected(settings: Settings) -> RetryResult:
    """Send every record in the rejected journal again; what is refused again stays in it.

    Args:
        settings: Whose spool, and where to.

    Raises:
        UnavailableError: MongoDB cannot be reached; what was not sent stays where it is.
        ConfigurationError: A setting that says where it is is wrong.
    """
    connection = Connection(settings)
    arrived = refused_again = 0
    try:
        with asking(settings):
            for path in rejected.files(settings.spool_dir / settings.target()):
                try:
                    sent, refused = _retry(path, settings, connection)
                except FileNotFoundError:
                    continue  # another process has just sent it
                except (OSError, BSONError) as error:
                    log_once(f"{path} cannot be read ({type(error).__name__}): left as it is.")
                    continue
                arrived += sent - refused
                refused_again += refused
    finally:
        connection.close()
    return RetryResult(arrived, refused_again)


def _retry(path: Path, settings: Settings, connection: Connection) -> tuple[int, int]:
    """Send the records of one file; return how many, and how many were refused again."""
    nonce = rejected.nonce_of(path)
    target_folder = path.parent.parent
    delivery = Delivery(settings, connection, target_folder, f"{nonce}.{uuid4()}", Losses())
    sent = 0
    with rejected.taking(path) as records:
        for some in _batches(records, settings.batch_size):
            with reaching():
                _forget_notes(connection.calls(), some)
            writes = list(chain.from_iterable(map(writes_for, some)))
            delivery.send(writes, rejected.media_folder(path))
            sent += len(some)
        refused = delivery.rejected.total
        with reaching():
            note_retried(connection.processes(), nonce, sent - refused)
    return sent, refused


def _batches(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    """Yield the records in batches; what comes before damage is still yielded before the error."""
    some: list[Record] = []
    try:
        for record in records:
            some.append(record)
            if len(some) == size:
                yield some
                some = []
    except BSONError:
        yield some
        raise
    if some:
        yield some


def _forget_notes(calls: Documents, records: list[Record]) -> None:
    """Remove the notes that say what is missing; what is refused again is noted again."""
    call_ids = list({record.id for record in records})
    calls.update_many(
        {"_id": {"$in": call_ids}, "encoding_notes": {"$exists": True}},
        {"$pull": {"encoding_notes": {"$regex": f": {REFUSED}: "}}},
    )
