"""Bring a batch of writes into MongoDB: once, whatever the server answers.

Three kinds of answer: a duplicate `_id` moves a write on to its next form; a document that the
server will not take is set aside and replaced by a bare one; anything else says that the server is
not available now, and what is left is sent again later. What is raised otherwise has to do with a
record, which `isolation` finds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from llm_audit.errors import UnavailableError, let_through, log_fault, log_once
from llm_audit.journal.blob_files import sha256_of
from llm_audit.journal.losses import CONTENT, NOTES, RECORD, Losses, internal
from llm_audit.journal.records import Record
from llm_audit.journal.statements.retention import Retention
from llm_audit.journal.statements.writes import ABOUT_ATTEMPTS, ANOTHERS, PIPELINES, Form, Write
from llm_audit.settings import Settings
from llm_audit.settings.names import REJECTED
from llm_audit.store import gridfs
from llm_audit.store.codes import (
    BATCH_REFUSALS,
    REFUSALS,
    STATES,
    UNAUTHORIZED,
    code_of_content,
    describe,
    is_duplicate_id,
)
from llm_audit.store.connection import Connection, Documents, reaching
from llm_audit.store.isolation import (
    Group,
    Isolation,
    RefusedMediaError,
    UnforeseenRefusalError,
    place_of,
    reason_of,
)
from llm_audit.store.probing import takes_pipelines, takes_writes
from llm_audit.store.rejected import Refusal, Refusals
from llm_audit.store.server_words import told
from llm_audit.store.shortfalls import (
    failure,
    is_unsupported,
    note,
    refuses_pipelines,
    refuses_retries,
)
from llm_audit.store.verdicts import Verdicts

TRIES = 5  # until an unknown error counts as a refusal

_APART = (Form.UPSERT_START, Form.UPSERT_OWN)


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
        self._refusals = refusals
        self._lost_blobs: set[Path] = set()
        self._blob_folder = Path()
        self._refused: set[tuple[int, str]] = set()  # by number and call: of several processes
        self._to_keep: defaultdict[Path, list[Refusal]] = defaultdict(list)
        self._losses = losses
        self._nonce = nonce
        self._adopted = adopted
        self._between = between
        self._retention = Retention(settings.retention_days, connection.clock.now)
        self._connection = connection
        self._verdicts = Verdicts(connection)
        self._database = settings.database
        self._takes_pipelines = True
        self._isolation = Isolation(self._deliver, self._give_up, self._works)

    def send(self, writes: list[Write], blob_folder: Path) -> None:
        """Bring every write into the database, or set aside what the server refuses.

        Args:
            writes: Emptied as they arrive; after an error it holds what is left to send.
            blob_folder: Where the blobs lie that the writes name.

        Raises:
            UnavailableError: Not now; call again with the same list.
        """
        self._blob_folder = blob_folder
        self._refused.clear()
        with reaching():
            self._connection.calls()  # what that raises is no record's fault
            self._isolation.send(writes)
            # last of all: once it is kept it may be sent again, and nothing may undo that
            while self._to_keep:
                folder, refused = next(iter(self._to_keep.items()))
                self._keep(refused, folder)
                del self._to_keep[folder]

    def _deliver(self, writes: Group) -> None:
        """Send writes; what is left of them, whatever is raised, stays in the list."""
        groups = _apart(_opened(writes))
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

    def _give_up(self, write: Write, fault: BaseException) -> Group:
        """Set a record aside that cannot be sent; return what is sent instead."""
        if write.form is Form.ASK_FOR_VERDICT:  # what is asked about has arrived itself
            return []
        if write.outcome is not None:  # apart, they show which half it is
            unread = write.form is Form.UNREAD
            return write.halves(*([Form.UNREAD] * 2 if unread else _APART))
        refusal = Refusal(write, reason_of(fault), place_of(fault))
        try:
            return self._without_refused([refusal])
        except BaseException as another:  # noqa: BLE001  (then nothing goes in its place)
            let_through(another)
            if not write.bare:
                self._to_keep[self._blob_folder].append(refusal)
            return []

    def _keep(self, refused: list[Refusal], folder: Path) -> None:
        """Keep refused records; one of which that raises is lost, and counted."""
        try:
            self._refusals.keep(refused, folder)
        except BaseException as fault:
            if isinstance(fault, PyMongoError | UnavailableError):
                raise
            let_through(fault)
            self._works()
            if len(refused) > 1:
                while refused:
                    self._keep(refused[:1], folder)
                    del refused[0]
                return
            record = refused[0].write.record
            self._losses.add(RECORD, internal(fault), seq=record.seq, call_ids=[record.id])
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
            return _apart(self._verdicts.outcomes(group))
        self._spare_pipelines(group)
        try:
            result = calls.bulk_write(self._statements(group), ordered=False)
        except BulkWriteError as error:
            return self._sort_out(calls, error.details, group)
        except OperationFailure as error:
            return self._sort_out_refusal(calls, error, group)
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

    def _sort_out(self, calls: Documents, details: Mapping[str, Any], group: Group) -> list[Group]:
        """Say what the failed writes of a bulk become; all the others have arrived."""
        if details["writeConcernErrors"]:
            code = details["writeConcernErrors"][0].get("code")
            raise UnavailableError(f"write concern not met, code {code}")
        errors = details["writeErrors"]
        nothing_arrived = len(errors) == len(group)
        again: Group = []
        refused: list[Refusal] = []
        unknown: Group = []
        for error in errors:
            write = group[error["index"]]
            code = error["code"]
            write.errors += 1
            # only where something arrives is it sure that MongoDB works: else one write at a time
            given_up = (
                code not in {*STATES, UNAUTHORIZED}
                and write.errors >= TRIES
                and not write.bare
                and not (nothing_arrived and (again or refused))
            )
            if is_duplicate_id(error):
                next_ = write.after_duplicate()
                if write.is_of_anothers:
                    refused.append(Refusal(write, ANOTHERS, error["errmsg"]))
                else:
                    again += next_
            elif self._is_about_pipelines(calls, failure(error), [write]):
                again += self._without_pipelines(failure(error), [write])
            elif code in REFUSALS or write.form is Form.INSERT_MERGED or given_up:
                refused.append(Refusal(write, f"code {code}", error["errmsg"]))
            else:
                unknown.append(write)
        again += self._without_refused(refused)
        if unknown:
            group[:] = again + unknown
            raise UnavailableError(f"{len(unknown)} writes failed, the last with code {code}")
        return _apart(again)

    def _sort_out_refusal(
        self, calls: Documents, error: OperationFailure, group: Group
    ) -> list[Group]:
        """Say what becomes of a bulk that was refused as a whole, or raise what it waits for."""
        if self._is_about_pipelines(calls, error, group):
            return _apart(self._without_pipelines(error, group))
        if error.code in BATCH_REFUSALS or self._takes_without_content(calls, error, group):
            return self._halve(group, describe(error))
        if takes_writes(calls, error):
            raise UnforeseenRefusalError(error)
        raise error

    def _takes_without_content(
        self, calls: Documents, error: OperationFailure, group: Group
    ) -> bool:
        """Tell whether a write that is alone is taken without its content."""
        if len(group) > 1 or group[0].bare or not takes_writes(calls, error):
            return False
        instead = self._refusals.instead(Refusal(group[0], describe(error), ""))
        try:
            calls.bulk_write(self._statements(instead))
        except PyMongoError:
            return False
        return True

    def _spare_pipelines(self, group: Group) -> None:
        if not self._takes_pipelines:
            for write in group:
                if write.form is Form.UPSERT_START:
                    write.form = Form.SET_START

    def _is_about_pipelines(self, calls: Documents, error: OperationFailure, group: Group) -> bool:
        """Tell whether the server refuses updates that are pipelines, and one is in the group.

        Its words may be about one record, so it is asked for an update that is about none.
        """
        has_one = any(write.form in PIPELINES for write in group)
        return has_one and refuses_pipelines(error) and not takes_pipelines(calls)

    def _without_pipelines(self, error: OperationFailure, group: Group) -> Group:
        """Return what is sent in their place: a start needs none, what is said later is kept."""
        self._takes_pipelines = False
        note(
            self._database,
            "updates that are pipelines",
            told(error),
            f"calls arrive, scores and annotations are kept in {REJECTED}.",
        )
        text = str((error.details or {}).get("errmsg", ""))
        refused = [write for write in group if write.form is Form.ADD_LATER]
        again = [write for write in group if write.form is not Form.ADD_LATER]
        return again + self._without_refused(
            Refusal(write, f"code {error.code}", text) for write in refused
        )

    def _halve(self, group: Group, reason: str) -> list[Group]:
        """Split a bulk that was refused as a whole until the culprit is alone."""
        if len(group) == 1:
            smaller = self._without_refused([Refusal(group[0], reason, "")])
            return [smaller] if smaller else []
        middle = len(group) // 2
        return [group[middle:], group[:middle]]

    def _without_refused(self, refused: Iterable[Refusal]) -> Group:
        """Return what can be sent in place of writes that the server refuses."""
        again: Group = []
        for refusal in refused:
            write, reason, _ = refusal
            record = write.record
            if reason == ANOTHERS:  # nothing may go in its place: the call there is another one
                if write.form is not Form.ADD_NOTES and not write.bare:
                    self._to_keep[self._blob_folder].append(refusal)
            elif write.outcome is not None:
                again += write.halves(*_APART)  # they show which half was refused
            elif write.bare:
                continue  # the whole of it is kept
            elif write.form is Form.ADD_NOTES:
                # the notes of a record that was refused itself come with the bare one
                if (record.seq, record.id) not in self._refused:
                    self._refusals.counted.add(NOTES, reason, seq=record.seq, call_ids=[record.id])
                if record.blobs and record.notes:  # which media it refers to has to be known
                    again.append(Write(write.form, record._replace(notes=()), bare=write.bare))
            else:
                self._refused.add((record.seq, record.id))
                self._to_keep[self._blob_folder].append(refusal)
                again += self._refusals.instead(refusal)
        return again


def _opened(writes: Group) -> Iterator[Write]:
    for write in writes:
        if write.form is Form.UNREAD:
            yield from write.opened()
        else:
            yield write


def _apart(writes: Iterable[Write]) -> list[Group]:
    """Let go by themselves what is a command by itself, so that each that arrives is done with.

    So do updates whose count tells something: what was superseded, say. The last group goes first:
    inserts before updates, and what is about attempts asks what became of the calls.
    """
    by_itself: tuple[Group, ...] = ([], [], [], [], [])
    about_attempts, later, others, updates, inserts = by_itself
    for write in writes:
        if write.form in ABOUT_ATTEMPTS:
            about_attempts.append(write)
        elif write.form is Form.ADD_LATER:
            later.append(write)
        elif write.form is Form.UPDATE_OTHER:
            others.append(write)
        elif write.form is Form.INSERT_MERGED or write.form is Form.INSERT_START:
            inserts.append(write)
        else:
            updates.append(write)
    return [group for group in by_itself if group]
