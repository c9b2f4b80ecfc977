"""Close calls that another process left open: they are known to MongoDB only.

A process that died or fell silent has its calls closed by inference; of a task that was ended from
outside, its worker's main process knows why. What their owner says with `complete` or `fail` counts
more than either.
"""

import socket
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pymongo import ReadPreference

from llm_audit.call import LLMCallStatusEnum
from llm_audit.encoding.encode import encode
from llm_audit.ids import first_id_at
from llm_audit.journal import beside
from llm_audit.journal.operations import OUTCOME_MAX_BYTES, Form, Write
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import OTHER, Record
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection, reaching
from llm_audit.store.delivery import Delivery
from llm_audit.store.indexes import OUTER_TASK

_CAUSES = {
    "worker_lost": ("WorkerLost", "The process that made this call died before the call ended."),
    "lease_expired": (
        "LeaseExpired",
        "The process that made this call has shown no sign of life for the length of its lease.",
    ),
    "record_lost": (
        "RecordLost",
        "The call has ended, but the record of how it ended was lost.",
    ),
}
_VERDICTS = "verdicts"
_STILL_ENDING_SECONDS = 5.0  # a task that is being ended may begin a last call
# Said by a process that was being ended and could not know why; all else that it says, it knows.
_UNWINDING = ("process_exit", "interrupted", "shutdown")


class Verdict(NamedTuple):
    """How a task was ended, as somebody outside knows it."""

    task_id: str
    pid: int  # of the process that ran it, on this host
    since: float  # when that began, in seconds of the epoch
    outcome: Mapping[str, Any]


def leave_verdicts(folder: Path, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts beside the journal of the process that ran the tasks, for who ships it.

    Raises:
        OSError: The spool cannot be written.
    """
    beside.write(folder, _VERDICTS, {"verdicts": [verdict._asdict() for verdict in verdicts]})


def find_verdicts(folder: Path) -> list[Verdict]:
    """Return the verdicts that were left beside a journal."""
    return [Verdict(**fields) for fields in beside.read(folder, _VERDICTS).get("verdicts", ())]


class Closing:
    """Ends calls that this process did not make.

    Args:
        settings: How many to end at once.
        connection: To MongoDB.
        delivery: This process's own.
        target_folder: The spool's folder for this target.
    """

    def __init__(
        self, settings: Settings, connection: Connection, delivery: Delivery, target_folder: Path
    ) -> None:
        self.closed = 0
        self._batch_size = settings.batch_size
        self._connection = connection
        self._delivery = delivery
        self._target_folder = target_folder

    def abandon(self, nonce: str, *, ended_by: str, but_not: Collection[str] = ()) -> None:
        """Close what a process left open, by inference.

        Args:
            nonce: The process.
            ended_by: "worker_lost", "lease_expired" or "record_lost".
            but_not: Calls to leave open.

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again.
        """
        error_type, error_message = _CAUSES[ended_by]
        outcome = {
            "status": LLMCallStatusEnum.ABANDONED,
            "ended_by": ended_by,
            "error_type": error_type,
            "error_message": error_message,
            "completed_at": datetime.now(UTC),
        }
        open_calls = {"process_nonce": nonce, "status": LLMCallStatusEnum.PENDING}
        self._close(open_calls, Rank.INFERENCE, outcome, but_not)

    def carry_out(self, verdict: Verdict) -> None:
        """Close what a task left open when it was ended from outside.

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again.
        """
        abandoned = LLMCallStatusEnum.ABANDONED
        concerned: list[Any] = [{"status": {"$in": [LLMCallStatusEnum.PENDING, abandoned]}}]
        if verdict.outcome["status"] != abandoned:  # else what the process itself said tells more
            concerned.append({"ended_by": {"$in": _UNWINDING}})
        ended_at = verdict.outcome["completed_at"].timestamp() + _STILL_ENDING_SECONDS
        of_the_attempt = {
            "_id": {"$gte": first_id_at(verdict.since), "$lt": first_id_at(ended_at)},
            "pid": verdict.pid,
            "host": socket.gethostname(),
            "$and": [
                {"$or": [{"task_id": verdict.task_id}, {OUTER_TASK: verdict.task_id}]},
                {"$or": concerned},
            ],
        }
        self._close(of_the_attempt, Rank.MAIN_PROCESS, verdict.outcome)

    def _close(
        self,
        query: Mapping[str, Any],
        rank: Rank,
        outcome: Mapping[str, Any],
        but_not: Collection[str] = (),
    ) -> None:
        with reaching():
            # the URL may prefer secondaries, which may not have seen the call yet
            calls = self._connection.calls().with_options(read_preference=ReadPreference.PRIMARY)
            call_ids = [call["_id"] for call in calls.find(query, {"_id": 1})]
        key = outcome_key(rank, outcome["completed_at"].timestamp())
        raw = encode({**outcome, "outcome_key": key}, OUTCOME_MAX_BYTES, OUTCOME_MAX_BYTES).raw
        writes = [
            Write(Form.UPDATE_OTHER, Record(OTHER, call_id, 0, key, raw, (), ()))
            for call_id in call_ids
            if call_id not in but_not
        ]
        for first in range(0, len(writes), self._batch_size):
            some = writes[first : first + self._batch_size]
            count = len(some)
            self._delivery.send(some, self._target_folder)
            self.closed += count
