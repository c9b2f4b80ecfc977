"""Send again what MongoDB refused, once its rules have been fixed."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from bson.regex import Regex
from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from llm_audit.errors import UnavailableError, let_through, log_once
from llm_audit.journal.losses import Losses
from llm_audit.journal.reader import BATCH_MAX_BYTES
from llm_audit.journal.records import Record, unpack
from llm_audit.journal.statements.bare import NOT_SENT, REFUSED, bare
from llm_audit.journal.statements.writes import Form, Write
from llm_audit.settings import Settings
from llm_audit.settings.fields import ShippedBy
from llm_audit.store.answers.plain_errors import plain_errors
from llm_audit.store.connection import Connection, readable_only
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.processes import documents, note_retried
from llm_audit.store.refused.rejected import Refusal
from llm_audit.store.refused.waiting import bring_in


@dataclass(frozen=True, slots=True)
class RetryResult:
    """What became of the records that MongoDB had refused."""

    arrived: int
    refused_again: int


class _Kept(NamedTuple):
    """A refused record, and the document that keeps it."""

    document: dict[str, Any]
    record: Record

    @property
    def notes(self) -> Regex[str] | None:
        """What the call says of it, for whatever reasons it was refused; None if that cannot be."""
        try:
            names = bare(self.record, "").notes[-1].removesuffix(f"{REFUSED}: ")
        except BaseException as fault:  # noqa: BLE001  (then it has none)
            let_through(fault)
            return None
        return Regex(f"^{re.escape(names)}({REFUSED}|{NOT_SENT}): ")


class _StillRefused:
    """Leaves what is refused again where it is kept, and in the call what was sent of it."""

    def __init__(self) -> None:
        self.counted = Losses()
        self.records: list[Record] = []

    def instead(self, refusal: Refusal) -> list[Write]:  # noqa: ARG002
        """Send nothing in its place."""
        return []

    def keep(self, refused: Sequence[Refusal], blob_folder: Path) -> None:  # noqa: ARG002
        """Leave them where they are, and take note of them."""
        self.records += [refusal.write.record for refusal in refused]


def retry_rejected(settings: Settings) -> RetryResult:
    """Send every refused record again; what is refused again stays where it is.

    Several machines may do so at once: each record is sent any number of times, and counted once.

    Args:
        settings: Which collection's.

    Raises:
        UnavailableError: MongoDB cannot be reached; what was not sent stays where it is.
        ConfigurationError: A setting that says where it is is wrong.
    """
    connection = Connection(settings)
    try:
        with plain_errors(settings):
            try:
                return _retry(connection, settings)
            except (PyMongoError, UnavailableError) as error:
                if not connection.does_without_retries(error):
                    raise
            return _retry(connection, settings)
    finally:
        connection.close()


def _retry(connection: Connection, settings: Settings) -> RetryResult:
    # an agent has left it in one folder, a thread in another
    folders = [settings.spool_dir / settings.target(shipper) for shipper in get_args(ShippedBy)]
    left = sum(bring_in(connection, target_folder) for target_folder in folders)
    arrived = 0
    for some in _batches(connection, settings):
        deleted, refused = _send(connection, settings, some, folders[0])
        arrived += deleted
        left += refused
    return RetryResult(arrived, left)


def _batches(connection: Connection, settings: Settings) -> Iterator[list[_Kept]]:
    """Yield what is kept, some at a time: as much as one batch of a journal."""
    some: list[_Kept] = []
    size_bytes = 0
    kept = readable_only(connection.rejected()).find({"collection": settings.collection})
    for document in kept.sort("_id"):
        try:
            some.append(_Kept(document, unpack(document["record"])))
        except Exception as error:  # noqa: BLE001  (whatever somebody has put there)
            let_through(error)
            log_once(f"A refused record cannot be read ({type(error).__name__}): left as it is.")
            continue
        size_bytes += len(document["record"])
        if len(some) == settings.batch_size or size_bytes > BATCH_MAX_BYTES:
            yield some
            some, size_bytes = [], 0
    if some:
        yield some


def _send(
    connection: Connection, settings: Settings, some: list[_Kept], blob_folder: Path
) -> tuple[int, int]:
    """Send records; return how many have arrived and been forgotten, and how many were refused."""
    refusals = _StillRefused()
    writes = [
        Write(Form.UNREAD, kept.record, nonce=kept.document.get("process_nonce")) for kept in some
    ]
    Delivery(settings, connection, refusals, Losses()).send(writes, blob_folder)
    still_refused = set(map(id, refusals.records))
    arrived = [kept for kept in some if id(kept.record) not in still_refused]
    statements = [
        UpdateOne({"_id": kept.record.id}, {"$pull": {"encoding_notes": notes}})
        for kept in arrived
        if (notes := kept.notes) is not None
    ]
    if statements:
        connection.calls().bulk_write(statements, ordered=False)
    deleted = 0
    for nonce, names in _by_process(arrived).items():
        count = connection.rejected().delete_many({"_id": {"$in": names}}).deleted_count
        with documents(connection) as processes:
            note_retried(processes, nonce, count)
        deleted += count
    return deleted, len(some) - len(arrived)


def _by_process(arrived: list[_Kept]) -> dict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for kept in arrived:
        names[str(kept.document.get("process_nonce"))].append(kept.document["_id"])
    return names
