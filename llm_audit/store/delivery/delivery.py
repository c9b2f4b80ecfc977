"""Bring a batch of writes into MongoDB: once, whatever the server answers.

Three kinds of answer: a duplicate `_id` moves a write on to its next form; a document that the
server will not take is set aside and replaced by a bare one; anything else says that the server is
not available now, and what is left is sent again later. What is raised otherwise has to do with a
record, which `isolation` finds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from llm_audit.errors import UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.blob_files import sha256_of
from llm_audit.journal.losses import CONTENT, Losses
from llm_audit.journal.records import Record
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.statements.writes import ABOUT_ATTEMPTS, Form, Write
from llm_audit.settings import Settings
from llm_audit.store import gridfs
from llm_audit.store.answers.codes import code_of_content
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import is_unsupported, note, refuses_retries
from llm_audit.store.connection import Connection, Documents, reaching
from llm_audit.store.delivery.groups import Group, apart, opened
from llm_audit.store.delivery.isolation import Isolation, RefusedMediaError
from llm_audit.store.delivery.sorting import Sorting
from llm_audit.store.delivery.verdicts import Verdicts
from llm_audit.store.refused.rejected import Refusals


class Delivery:
    """Sends the writes of one process's journal, and tallies what became of them.

    Args:
        settings: How long calls are kept.
        connection: To MongoDB.
        refusals: Takes care of the records that MongoDB refuses.
        losses: Is told of media that are lost.
        nonce: The process whose journal it is; None if they are several.
        adopted: Whether another process recorded it.
        between: Called between the parts of a long delivery.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        refusals: Refusals,
        losses: Losses,
        *,
        nonce: str | None = None,
        adopted: bool = False,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.superseded = 0
        self.of_no_call = 0
        self._lost_blobs: set[Path] = set()
        self._blob_folder = Path()
        self._losses = losses
        self._nonce = nonce
        self._adopted = adopted
        self._between = between
        self._retention = Retention(settings.retention_days, connection.clock.now)
        self._connection = connection
        self._verdicts = Verdicts(connection)
        self._database = settings.database
        self._sorting = Sorting(refusals, losses, settings.database, self._statements, self._works)
        self._isolation = Isolation(self._deliver, self._sorting.give_up, self._works)

    def send(self, writes: list[Write], blob_folder: Path) -> None:
        """Bring every write into the database, or set aside what the server refuses.

        Args:
            writes: Emptied as they arrive; after an error it holds what is left to send.
            blob_folder: Where the blobs lie that the writes name.

        Raises:
            UnavailableError: Not now; call again with the same list.
        """
        self._blob_folder = blob_folder
        self._sorting.begin(blob_folder)
        with reaching():
            self._connection.calls()  # what that raises is no record's fault
            self._isolation.send(writes)
            # last of all: once it is kept it may be sent again, and nothing may undo that
            self._sorting.keep_refused()

    def _deliver(self, writes: Group) -> None:
        """Send writes; what is left of them, whatever is raised, stays in the list."""
        groups = apart(opened(writes))
        try:
            with reaching():
                calls = self._connection.calls()
                self._upload_blobs(calls, chain.from_iterable(groups))
                while groups:
                    self._do_between()
                    groups[-1:] = self._send_group(calls, groups[-1])
        finally:
            writes[:] = chain.from_iterable(groups)

    def _works(self) -> None:
        """See that MongoDB answers, before a record has to do with what was raised."""
        with reaching():
            self._connection.calls().database.command("ping")

    def _do_between(self) -> None:
        try:
            self._between()
        except UnavailableError:
            raise
        except BaseException as fault:  # noqa: BLE001  (it has to do with no record)
            let_through(fault)
            log_fault(fault)

    def _upload_blobs(self, calls: Documents, writes: Iterable[Write]) -> None:
        """Have media in GridFS, each content once, before the documents that refer to it."""
        contents: defaultdict[str, dict[Path, Record]] = defaultdict(dict)
        for record in chain.from_iterable((write.record, write.outcome) for write in writes):
            if record is not None:
                for name in record.blobs:
                    contents[sha256_of(name)][self._blob_folder / name] = record
        database = calls.database.with_options(write_concern=calls.write_concern)
        for sha256, records in contents.items():
            self._do_between()
            expires = max(
                self._retention.expires_at(record.id) or gridfs.NEVER for record in records.values()
            )
            try:
                if not gridfs.refer(database, calls.name, sha256, expires, records):
                    self._count_lost(records, "media lost from the spool")
            except DuplicateKeyError:  # in an index of the user's own
                self._count_lost(records, "media refused by MongoDB")
            except OperationFailure as error:
                if (code := code_of_content(error)) is not None:
                    raise RefusedMediaError(f"code {code}") from None
                if refuses_retries(error) or not is_unsupported(error):
                    raise
                follows = "media of calls are lost, and counted."
                note(self._database, "what GridFS takes", told(error), follows)
                self._count_lost(records, "media refused by MongoDB")

    def _count_lost(self, media: Mapping[Path, Record], reason: str) -> None:
        for path, record in media.items():
            if path not in self._lost_blobs:  # the batch may be sent again
                self._lost_blobs.add(path)
                self._losses.add(CONTENT, reason, seq=record.seq, call_ids=[record.id])

    def _send_group(self, calls: Documents, group: Group) -> list[Group]:
        """Send one bulk; return what has to be sent next, in groups."""
        if group[0].form in ABOUT_ATTEMPTS:
            return apart(self._verdicts.outcomes(group))
        self._sorting.spare_pipelines(group)
        try:
            result = calls.bulk_write(self._statements(group), ordered=False)
        except BulkWriteError as error:
            return self._sorting.sort_out(calls, error.details, group)
        except OperationFailure as error:
            return self._sorting.sort_out_refusal(calls, error, group)
        if group[0].form is Form.UPDATE_OTHER:
            self.superseded += len(group) - result.matched_count
        elif group[0].form is Form.ADD_LATER:
            self._count_of_no_call(len(group) - result.matched_count - result.upserted_count)
        return []

    def _statements(self, group: Group) -> list[Any]:
        return [
            write.statement(self._retention, self._nonce, adopted=self._adopted) for write in group
        ]

    def _count_of_no_call(self, count: int) -> None:
        if count:
            self.of_no_call += count
            log_once(
                "A score or an annotation is of a call that is not in MongoDB, and too old to come "
                "yet: it is dropped, and counted in llm_audit.stats() under of_no_call."
            )
