"""What becomes of writes that MongoDB refuses, or that cannot be sent."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from llm_audit.errors import UnavailableError, let_through, log_fault
from llm_audit.journal.losses import NOTES, RECORD, Losses, internal
from llm_audit.journal.statements.writes import ANOTHERS, PIPELINES, Form, Write
from llm_audit.settings.names import REJECTED
from llm_audit.store.answers.codes import (
    BATCH_REFUSALS,
    REFUSALS,
    STATES,
    UNAUTHORIZED,
    describe,
    is_duplicate_id,
)
from llm_audit.store.answers.probing import takes_pipelines, takes_writes
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import failure, note, refuses_pipelines
from llm_audit.store.connection import Documents
from llm_audit.store.delivery.groups import Group, apart
from llm_audit.store.delivery.isolation import UnforeseenRefusalError, place_of, reason_of
from llm_audit.store.refused.rejected import Refusal, Refusals

TRIES = 5  # until an unknown error counts as a refusal

_HALVES = (Form.UPSERT_START, Form.UPSERT_OWN)


class Sorting:
    """Says what is sent next of what was refused, and keeps what cannot be sent as it is.

    Args:
        refusals: Takes care of the records that MongoDB refuses.
        losses: Is told of what cannot be kept either.
        database: What MongoDB does without is noted of it.
        statements: Returns what is sent of writes.
        works: Raises if nothing can be sent now, whatever it is.
    """

    def __init__(
        self,
        refusals: Refusals,
        losses: Losses,
        database: str,
        statements: Callable[[Group], list[Any]],
        works: Callable[[], None],
    ) -> None:
        self._refusals = refusals
        self._losses = losses
        self._database = database
        self._statements = statements
        self._works = works
        self._takes_pipelines = True
        self._blob_folder = Path()
        self._refused: set[tuple[int, str]] = set()  # by number and call: of several processes
        self._to_keep: defaultdict[Path, list[Refusal]] = defaultdict(list)

    def begin(self, blob_folder: Path) -> None:
        """Begin with other writes, the blobs of which lie in this folder."""
        self._blob_folder = blob_folder
        self._refused.clear()

    def keep_refused(self) -> None:
        """Keep the records that were refused, once what is sent in their place has arrived."""
        while self._to_keep:
            folder, refused = next(iter(self._to_keep.items()))
            self._keep(refused, folder)
            del self._to_keep[folder]

    def give_up(self, write: Write, fault: BaseException) -> Group:
        """Set a record aside that cannot be sent; return what is sent instead."""
        if write.form is Form.ASK_FOR_VERDICT:  # what is asked about has arrived itself
            return []
        if write.outcome is not None:  # apart, they show which half it is
            unread = write.form is Form.UNREAD
            return write.halves(*([Form.UNREAD] * 2 if unread else _HALVES))
        refusal = Refusal(write, reason_of(fault), place_of(fault))
        try:
            return self._without_refused([refusal])
        except BaseException as another:  # noqa: BLE001  (then nothing goes in its place)
            let_through(another)
            if not write.bare:
                self._to_keep[self._blob_folder].append(refusal)
            return []

    def sort_out(self, calls: Documents, details: Mapping[str, Any], group: Group) -> list[Group]:
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
        return apart(again)

    def sort_out_refusal(
        self, calls: Documents, error: OperationFailure, group: Group
    ) -> list[Group]:
        """Say what becomes of a bulk that was refused as a whole, or raise what it waits for."""
        if self._is_about_pipelines(calls, error, group):
            return apart(self._without_pipelines(error, group))
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

    def spare_pipelines(self, group: Group) -> None:
        """Put starts without a pipeline, if the server has refused one."""
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
                again += write.halves(*_HALVES)  # they show which half was refused
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
