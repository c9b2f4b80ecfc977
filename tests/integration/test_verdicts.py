"""What is known from outside of how a task was ended: more than inference, less than its owner."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from children import child
from waiting import PATIENCE, Call, Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMCallStatusEnum, LLMLogger, embedded
from llm_audit.context import current_context, enter, leave
from llm_audit.journal.losses import Losses
from llm_audit.journal.precedence import Rank, outcome_key
from llm_audit.journal.records import OTHER, START, VERDICT, Record
from llm_audit.journal.spool.folder import ProcessFolder
from llm_audit.journal.statements.writes import writes_for
from llm_audit.lifecycle import end_calls_of_attempt
from llm_audit.recorder.closing import Closing
from llm_audit.settings import Settings
from llm_audit.settings.names import VERDICTS
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.delivery import Delivery
from llm_audit.store.refused.rejected import Rejected

# Makes one call that ends, one that is left by its block, and one that is open when it is killed.
RECORD_AND_WAIT = """
from llm_audit import LLMLogger
from llm_audit.context import CallContext, enter, leave
frame = enter(CallContext(task_id="task", task={"attempt_id": "attempt"}))
LLMLogger.complete(LLMLogger.start(messages=["finished"], model="m"))
with LLMLogger.log_call(messages=["left"], model="m"):
    pass
LLMLogger.start(messages=["in flight"], model="m")
leave(frame)
enter(CallContext(task_id="task", task={"attempt_id": "another attempt"}))
LLMLogger.start(messages=["of another attempt"], model="m")
print("in flight")
input()
"""
# Says how the task was ended, and dies before MongoDB can hear of it.
SAY_AND_DIE = """
import logging, os, signal
from llm_audit.lifecycle import end_calls_of_attempt
class TimeLimitExceeded(Exception): ...
logging.disable()  # that MongoDB is away
end_calls_of_attempt("attempt", TimeLimitExceeded(5), task_id="task")
os.kill(os.getpid(), signal.SIGKILL)
"""


class TimeLimitExceeded(Exception):  # noqa: N818  (billiard's name, by which it is known)
    """What a worker's main process says of a hard time limit."""


class Exit(BaseException):
    """What ends a process that does not know why."""


@pytest.fixture
def settings(recording: Recording) -> Settings:
    """Look for the dead only when a verdict asks for it."""
    return recording(recovery_interval_seconds=1000)


@pytest.fixture
def in_task() -> Iterator[None]:
    """Be in an attempt of a task."""
    task = {"attempt_id": "attempt"}
    frame = enter(replace(current_context(), task_id="task", task=task))
    yield
    leave(frame)


def ends(calls: Calls) -> dict[str, tuple[str, str | None]]:
    return {
        call["messages"][0]: (call["status"], call.get("ended_by"))
        for call in calls.find().sort("_id")
    }


def end_attempt(error: BaseException, attempt_id: str = "attempt", **given: Any) -> None:
    """Say how an attempt of the task was ended."""
    end_calls_of_attempt(attempt_id, error, task_id="task", **given)


def kill_in_mid_call(settings: Settings) -> None:
    """Have a process killed in the middle of a task."""
    with child(RECORD_AND_WAIT, settings) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
        process.wait()


def test_only_what_a_killed_process_left_open_is_concerned(
    settings: Settings, calls: Calls
) -> None:
    """The verdict waits for the dead one's journal, and leaves calls that had ended, and others."""
    LLMLogger.complete(LLMLogger.start(model="m", messages=["ours"]))
    kill_in_mid_call(settings)
    end_attempt(TimeLimitExceeded(5))
    expected = ("TIMEOUT", "hard_time_limit")
    until(lambda: ends(calls).get("in flight") == expected)
    until(lambda: ends(calls)["of another attempt"][0] == "ABANDONED")

    assert ends(calls) == {
        "ours": ("SUCCESS", None),
        "finished": ("SUCCESS", None),
        "left": ("INCOMPLETE", "block_ended"),
        "in flight": expected,
        "of another attempt": ("ABANDONED", "worker_lost"),
    }
    assert calls.count_documents({}) == 5


@pytest.mark.usefixtures("settings", "in_task")
def test_the_owner_knows_better(calls: Calls) -> None:
    """An outcome from the process that made the call replaces the verdict, however late."""
    call_id = LLMLogger.start(model="m", messages=["late"])
    end_attempt(TimeLimitExceeded(5))
    until(lambda: ends(calls).get("late") == ("TIMEOUT", "hard_time_limit"))
    LLMLogger.complete(call_id)
    assert llm_audit.flush(PATIENCE)

    assert ends(calls) == {"late": ("SUCCESS", None)}
    (call,) = calls.find()
    assert "error_type" not in call


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (
            {"status": LLMCallStatusEnum.CANCELLED, "ended_by": "revoked"},
            ("CANCELLED", "revoked"),
        ),
        (
            {"status": LLMCallStatusEnum.ABANDONED, "ended_by": "worker_lost"},
            ("INCOMPLETE", "interrupted"),
        ),
    ],
    ids=["revoked", "lost"],
)
@pytest.mark.usefixtures("settings", "in_task")
def test_what_is_said_while_unwinding(
    calls: Calls, verdict: dict[str, Any], expected: tuple[str, str]
) -> None:
    """A cause replaces what the process said while it was ended; that it is lost tells less."""
    LLMLogger.start(model="m", messages=["unwinding"])
    LLMLogger.end_open_calls("attempt", error=Exit())
    end_attempt(Exit("from outside"), **verdict)
    assert llm_audit.shutdown(PATIENCE)

    assert ends(calls) == {"unwinding": expected}


@pytest.fixture
def server() -> Iterator[embedded.Mongod]:
    """Give a server of the test's own, to be killed."""
    with embedded.Mongod() as mongod:
        yield mongod
        llm_audit.shutdown(PATIENCE)


def test_a_verdict_outlives_who_passed_it(
    recording: Recording, calls: Calls, server: embedded.Mongod
) -> None:
    """It is on disk: two processes killed while MongoDB is away, and what one knew of the other."""
    settings = recording(mongo_url=server.url, recovery_interval_seconds=1)
    server.kill()
    kill_in_mid_call(settings)
    with child(SAY_AND_DIE, settings) as process:
        process.wait()
    llm_audit.recover()
    server.restart()

    with pymongo.MongoClient[Call](server.url) as client:
        found = client[calls.database.name][calls.name]
        until(lambda: ends(found).get("in flight") == ("TIMEOUT", "hard_time_limit"))
        until(lambda: ends(found).get("of another attempt") == ("ABANDONED", "worker_lost"))


@pytest.mark.parametrize("said", ["process_exit", "block_ended", None])
@pytest.mark.parametrize(
    "from_outside",
    [("CANCELLED", "revoked"), ("ABANDONED", "worker_lost")],
    ids=lambda pair: pair[1],
)
def test_the_order_of_arrival_does_not_matter(
    recording: Recording,
    calls: Calls,
    tmp_path: Path,
    said: str | None,
    from_outside: tuple[str, str],
) -> None:
    """A call, what its process said as it ended, and the verdict: whichever comes last, all agree.

    What had ended before stays. Where the process said nothing, whoever closes its calls by
    inference comes in between, too. That a process is lost is less than what it has said itself.
    """
    rank = Rank.LEFT if said == "block_ended" else Rank.UNWINDING
    own_word = said == "block_ended" or (said and from_outside[1] == "worker_lost")
    expected = ("INCOMPLETE", said, None) if own_word else (*from_outside, "WorkerLostError")
    settings = recording()
    connection = Connection(settings)
    refusals = Rejected(settings, connection, ProcessFolder(tmp_path / "nonce"), Losses())
    delivery = Delivery(settings, connection, refusals, Losses())
    closing = Closing(settings, connection, delivery, tmp_path)

    def record(op: str, record_id: str, key: int = 0, **fields: Any) -> Record:
        doc = bson.encode({**fields, **({"outcome_key": key} if key else {})})
        return Record(op, record_id, 1, key, doc, (), ())

    orders = list(permutations(["start", "end", "verdict"]))
    for number, order in enumerate(orders):
        call_id, attempt_id, nonce = f"call {number}", f"attempt {number}", f"nonce {number}"
        task = {"attempt_id": attempt_id}
        own, outside = outcome_key(rank, 1.0), outcome_key(Rank.MAIN_PROCESS, 2.0)
        start = {"task_id": "task", "task": task, "process_nonce": nonce}
        end = {"status": "INCOMPLETE", "ended_by": said}
        verdict = {"task_id": "task", "error_type": "WorkerLostError"}
        verdict |= dict(zip(("status", "ended_by"), from_outside, strict=True))
        sent = {
            "start": record(START, call_id, **start),
            "end": record(OTHER, call_id, own, **end),
            "verdict": record(VERDICT, attempt_id, outside, **verdict),
        }
        for name in (*order, *order[:1]):  # the first comes twice
            if name == "end" and not said:
                closing.abandon(nonce, ended_by="worker_lost")
            else:
                delivery.send(writes_for(sent[name]), tmp_path)
        if not said:
            closing.abandon(nonce, ended_by="worker_lost")
    connection.close()

    found = {
        call["_id"]: (call["status"], call["ended_by"], call.get("error_type"))
        for call in calls.find()
    }
    assert found == {f"call {number}": expected for number in range(len(orders))}


@pytest.mark.usefixtures("settings")
def test_tasks_that_ran_in_place_end_with_the_outer_attempt(calls: Calls) -> None:
    """Their calls have ids of their own, and those of the task in whose body they ran."""
    for task_id, outer in (("inner", "attempt"), ("stranger", "another attempt")):
        task = {"attempt_id": task_id, "outer_task_id": "task", "outer_attempt_id": outer}
        frame = enter(replace(current_context(), task_id=task_id, task=task))
        LLMLogger.start(model="m", messages=[task_id])
        leave(frame)
    end_attempt(TimeLimitExceeded(5))
    assert llm_audit.shutdown(PATIENCE)

    assert ends(calls) == {
        "inner": ("TIMEOUT", "hard_time_limit"),
        "stranger": ("INCOMPLETE", "shutdown"),
    }


@pytest.mark.usefixtures("settings", "in_task")
@pytest.mark.parametrize("first", ["call", "verdict"])
def test_a_call_that_names_another_task_ends_with_its_attempt(calls: Calls, first: str) -> None:
    """A `task_id` of the caller's own does not hide in which attempt the call was made."""
    if first == "verdict":
        end_attempt(TimeLimitExceeded(5))
        assert llm_audit.flush(PATIENCE)
    LLMLogger.start(model="m", messages=["usual"])
    LLMLogger.start(model="m", messages=["own"], task_id="mine")
    if first == "call":
        end_attempt(TimeLimitExceeded(5))
    LLMLogger.end_open_calls("attempt", error=Exit())
    assert llm_audit.shutdown(PATIENCE)

    expected = ("TIMEOUT", "hard_time_limit")
    assert ends(calls) == {"usual": expected, "own": expected}


@pytest.mark.usefixtures("settings", "in_task")
def test_a_verdict_of_another_make_is_in_nobodys_way(calls: Calls) -> None:
    """What a hand or a later release has left among the verdicts is passed over."""
    odd = [{"outcome_key": "x"}, {"task_id": {"$odd": 1}, "status": "ERROR", "outcome_key": 5}]
    for number, verdict in enumerate([{}, *odd]):
        calls.database[VERDICTS].insert_one({"_id": f"odd {number}", **verdict})
        frame = enter(replace(current_context(), task={"attempt_id": f"odd {number}"}))
        LLMLogger.start(model="m", messages=[f"odd {number}"])
        leave(frame)
        LLMLogger.end_open_calls(f"odd {number}", error=Exit())
        end_attempt(TimeLimitExceeded(5), f"odd {number}")
    call_id = LLMLogger.start(model="m", messages=["after"])
    LLMLogger.complete(call_id)
    assert llm_audit.shutdown(PATIENCE)

    found = ends(calls)
    assert found.pop("after") == ("SUCCESS", None)
    assert found == {
        "odd 0": ("INCOMPLETE", "interrupted"),
        "odd 1": ("INCOMPLETE", "interrupted"),
        "odd 2": ("INCOMPLETE", "interrupted"),
    }


@pytest.mark.usefixtures("settings", "in_task")
def test_a_verdict_that_mongodb_refuses_holds_nothing_up(calls: Calls) -> None:
    """Where verdicts may not be kept, the calls that are there are closed all the same."""
    calls.database.create_collection(VERDICTS, validator={"_id": {"$type": "int"}})
    call_id = LLMLogger.start(model="m", messages=["open"])
    end_attempt(ValueError("a bad \udc80 path"))
    until(lambda: ends(calls).get("open") == ("ERROR", "exception"))

    assert "bad" in arrived(calls, call_id)["error_message"]
    assert calls.database[VERDICTS].count_documents({}) == 0
    assert llm_audit.shutdown(PATIENCE)
