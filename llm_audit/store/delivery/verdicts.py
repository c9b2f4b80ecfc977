"""Verdicts: how attempts of tasks ended, as their workers' main processes know it.

A verdict and the calls that it is about come out of two journals, in either order. So MongoDB keeps
the verdict, and whoever comes second finds the other: who ships a verdict closes the calls that are
there; who ships a call that its own process ended without knowing why, or closes one by inference,
asks for the verdict on its attempt.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import bson
from bson.int64 import Int64
from pymongo import ReturnDocument
from pymongo.errors import PyMongoError

from llm_audit.call import OUTCOME_FIELD_NAMES, LLMCallStatusEnum
from llm_audit.errors import UnavailableError, let_through, log_once
from llm_audit.ids import not_before
from llm_audit.journal.precedence import UNWINDING_CAUSES, Rank, lowest_key
from llm_audit.journal.records import OTHER, Record
from llm_audit.journal.statements.writes import Form, Write
from llm_audit.store.answers.shortfalls import going_on
from llm_audit.store.connection import Connection
from llm_audit.store.indexes import OUTER_TASK
from llm_audit.store.processes import KEPT

_ATTEMPT, _OUTER_ATTEMPT = "task.attempt_id", "task.outer_attempt_id"
_UTC: "bson.CodecOptions[dict[str, Any]]" = bson.CodecOptions(tz_aware=True)


class Verdicts:
    """Finds the calls that verdicts are about, and the verdicts on calls.

    Args:
        connection: To MongoDB.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def outcomes(self, writes: Iterable[Write]) -> list[Write]:
        """Return how calls end by verdicts that have arrived, or were there before the calls.

        Args:
            writes: Of the forms KEEP_VERDICT and ASK_FOR_VERDICT.

        Raises:
            PyMongoError: MongoDB cannot be reached now; call again.
        """
        outcomes: list[Write] = []
        asking = []
        for write in writes:
            if write.form is Form.ASK_FOR_VERDICT:
                asking.append(write.record.id)
                continue
            with _going_on():
                verdict = self._kept(write.record)
                outcomes += self._outcomes_of(verdict, _left_open_in(verdict))
        if asking:
            outcomes += self.on({"_id": {"$in": asking}, "ended_by": {"$in": UNWINDING_CAUSES}})
        return outcomes

    def on(self, query: Mapping[str, Any]) -> list[Write]:
        """Return how calls end by the verdicts on their attempts.

        Args:
            query: Finds the calls.

        Raises:
            PyMongoError: MongoDB cannot be reached now; call again.
        """
        outcomes: list[Write] = []
        calls_of: defaultdict[str, list[str]] = defaultdict(list)  # by attempt
        with _going_on():
            for call in self._connection.primary_calls().find(
                query, {_ATTEMPT: 1, _OUTER_ATTEMPT: 1}
            ):
                task = call.get("task")
                for name in task.values() if isinstance(task, dict) else ():
                    if isinstance(name, str):
                        calls_of[name].append(call["_id"])
            if calls_of:
                for verdict in self._connection.verdicts().find({"_id": {"$in": list(calls_of)}}):
                    with _going_on():
                        these = {"_id": {"$in": calls_of[verdict["_id"]]}}
                        outcomes += self._outcomes_of(verdict, these)
        return outcomes

    def _kept(self, record: Record) -> dict[str, Any]:
        """Keep a verdict in MongoDB; the first on an attempt stands."""
        verdict = {"_id": record.id, **bson.decode(record.doc, _UTC)}
        on_insert = {**verdict, "expires_at": self._connection.clock.now() + KEPT}
        with _going_on():
            kept = self._connection.verdicts().find_one_and_update(
                {"_id": record.id},
                {"$setOnInsert": on_insert},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            return kept or verdict
        return verdict

    def _outcomes_of(self, verdict: Mapping[str, Any], calls: Mapping[str, Any]) -> list[Write]:
        """Return the ends of those calls that a verdict says more of than is known."""
        abandoned = LLMCallStatusEnum.ABANDONED
        concerned: list[Any] = [{"status": {"$in": [LLMCallStatusEnum.PENDING, abandoned]}}]
        key = Int64(verdict["outcome_key"])
        if verdict["status"] != abandoned:
            concerned.append({"ended_by": {"$in": UNWINDING_CAUSES}})
        else:  # what the process itself has said tells more, also where that comes later
            key = Int64(lowest_key(Rank.UNWINDING))
        query = {"$and": [calls, {"$or": concerned}]}
        outcome = {name: verdict[name] for name in OUTCOME_FIELD_NAMES if name in verdict}
        outcome["outcome_key"] = key
        writes = []
        for call in self._connection.primary_calls().find(query, {"_id": 1}):
            if "completed_at" in verdict:
                outcome["completed_at"] = not_before(str(call["_id"]), verdict["completed_at"])
            record = Record(OTHER, call["_id"], 0, key, bson.encode(outcome), (), ())
            writes.append(Write(Form.UPDATE_OTHER, record))
        return writes


def _left_open_in(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return what finds the calls of an attempt, also in tasks that ran in place in it.

    An index finds those of the task, which are few, and those that are open: a call may name
    another task than the one it was made in.
    """
    task_id, attempt_id = verdict["task_id"], verdict["_id"]
    if type(task_id) is not str:
        raise TypeError("a task_id is no text")
    return {
        "$or": [
            {"task_id": task_id, _ATTEMPT: attempt_id},
            {OUTER_TASK: task_id, _OUTER_ATTEMPT: attempt_id},
            {"status": LLMCallStatusEnum.PENDING, _ATTEMPT: attempt_id},
        ]
    }


@contextmanager
def _going_on() -> Iterator[None]:
    """Go on shipping where only this is refused, or makes no sense: calls then end by inference."""
    try:
        with going_on("How tasks ended could not be said in MongoDB"):
            yield
    except (PyMongoError, UnavailableError):
        raise
    except BaseException as error:  # noqa: BLE001  (whatever others have left among the verdicts)
        let_through(error)
        log_once(f"A verdict on an attempt of a task makes no sense ({type(error).__name__}).")
