"""Close the calls that another process left open: they are known to MongoDB only.

A process that died or fell silent has its calls closed by inference, unless its worker's main
process has said why. What their owner says with `complete` or `fail` counts more than either.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import bson

from llm_audit import causes
from llm_audit.call import LLMCallStatusEnum
from llm_audit.errors import let_through, log_fault
from llm_audit.ids import not_before
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import OTHER, Record
from llm_audit.journal.statements.writes import Form, Write
from llm_audit.settings import Settings
from llm_audit.store.connection import Connection, reaching
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.delivery.verdicts import Verdicts

_CAUSES = {
    causes.WORKER_LOST: (
        "WorkerLost",
        "The process that made this call died before the call ended.",
    ),
    causes.LEASE_EXPIRED: (
        "LeaseExpired",
        "The process that made this call has shown no sign of life for the length of its lease.",
    ),
    causes.PROCESS_EXIT: ("ProcessExit", "Recording ended in the moment in which this call began."),
    causes.RECORD_LOST: (
        "RecordLost",
        "The call has ended, but the record of how it ended was lost.",
    ),
}


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
        self._verdicts = Verdicts(connection)

    def abandon(
        self,
        nonce: str,
        *,
        ended_by: str,
        but_not: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> int:
        """Close what a process left open: by the verdicts on its attempts, else by inference.

        Args:
            nonce: The process.
            ended_by: One of `_CAUSES`.
            but_not: Calls to leave open.
            only: Leave all open but these; None for any.

        Returns:
            How many it has closed.

        Raises:
            UnavailableError: MongoDB cannot be reached now; call again.
        """
        with reaching():
            now = self._connection.clock.now()
        key = outcome_key(Rank.INFERENCE, now.timestamp())
        error_type, error_message = _CAUSES[ended_by]
        outcome = {
            "status": LLMCallStatusEnum.ABANDONED,
            "ended_by": ended_by,
            "error_type": error_type,
            "error_message": error_message,
            "outcome_key": key,
        }
        open_calls: dict[str, Any] = {
            "_id": {"$type": "string"},  # others are none of ours
            "process_nonce": nonce,
            "status": LLMCallStatusEnum.PENDING,
        }
        if only is not None:
            open_calls["_id"] = {"$in": [*only]}
        with reaching():
            told = self._verdicts.on(open_calls)
        self._send(told)
        with reaching():
            found = self._connection.primary_calls().find(open_calls, {"_id": 1})
            call_ids = [call["_id"] for call in found if call["_id"] not in but_not]
        writes = []
        for call_id in call_ids:
            try:
                raw = bson.encode({**outcome, "completed_at": not_before(call_id, now)})
                record = Record(OTHER, call_id, 0, key, raw, (), ())
            except BaseException as fault:  # noqa: BLE001  (the others are closed)
                let_through(fault)
                log_fault(fault)
            else:
                writes.append(Write(Form.UPDATE_OTHER, record))
        self._send(writes)
        return len(told) + len(writes)

    def _send(self, writes: list[Write]) -> None:
        for first in range(0, len(writes), self._batch_size):
            some = writes[first : first + self._batch_size]
            count = len(some)
            self._delivery.send(some, self._target_folder)
            self.closed += count
