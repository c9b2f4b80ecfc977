"""What is known from outside of how a task was ended: more than inference, less than its owner."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pymongo
import pytest
from children import child
from waiting import PATIENCE, Call, Calls, Recording, arrived, until

import llm_audit
from llm_audit import LLMCallStatusEnum, LLMLogger, embedded
from llm_audit.context import current_context, enter, leave
from llm_audit.lifecycle import end_calls_of_task
from llm_audit.recorder import verdicts
from llm_audit.recorder.process import recorder as running_recorder
from llm_audit.settings import Settings

# Makes one call that ends, one that is left by its block, and one that is open when it is killed.
RECORD_AND_WAIT = """
from llm_audit import LLMLogger
about = {"model": "m", "task_id": "task"}
LLMLogger.complete(LLMLogger.start(messages=["finished"], **about))
with LLMLogger.log_call(messages=["left"], **about):
    pass
LLMLogger.start(messages=["in flight"], **about)
LLMLogger.start(messages=["of another task"], model="m", task_id="other")
print("in flight")
input()
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


def end_own(error: BaseException, *, began: float = 0.0, **given: Any) -> None:
    """Say how the task of this process was ended."""
    end_calls_of_task("task", error, pid=os.getpid(), since=time.time() + began, **given)


def kill_at_its_time_limit(settings: Settings) -> None:
    """Have a process killed in the middle of a task, and say why."""
    began = time.time()
    with child(RECORD_AND_WAIT, settings) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
        process.wait()
    end_calls_of_task("task", TimeLimitExceeded(5), pid=process.pid, since=began)


def test_only_what_a_killed_process_left_open_is_concerned(
    settings: Settings, calls: Calls
) -> None:
    """The verdict waits for the dead one's journal, and leaves calls that had ended, and others."""
    LLMLogger.complete(LLMLogger.start(model="m", messages=["ours"]))
    kill_at_its_time_limit(settings)
    expected = ("TIMEOUT", "hard_time_limit")
    until(lambda: ends(calls).get("in flight") == expected)

    assert ends(calls) == {
        "ours": ("SUCCESS", None),
        "finished": ("SUCCESS", None),
        "left": ("INCOMPLETE", "block_ended"),
        "in flight": expected,
        "of another task": ("ABANDONED", "worker_lost"),
    }
    assert calls.count_documents({}) == 5


@pytest.mark.usefixtures("settings", "in_task")
def test_an_earlier_attempt_is_not_concerned(calls: Calls) -> None:
    """Calls from before the attempt began are another attempt's, under the same id."""
    LLMLogger.start(model="m", messages=["earlier"])
    end_own(TimeLimitExceeded(5), began=1)
    assert llm_audit.shutdown(PATIENCE)

    assert ends(calls) == {"earlier": ("INCOMPLETE", "shutdown")}


@pytest.mark.usefixtures("settings", "in_task")
def test_the_owner_knows_better(calls: Calls) -> None:
    """An outcome from the process that made the call replaces the verdict, however late."""
    call_id = LLMLogger.start(model="m", messages=["late"])
    end_own(TimeLimitExceeded(5), began=-60)
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
    end_own(Exit("from outside"), began=-60, **verdict)
    assert llm_audit.shutdown(PATIENCE)

    assert ends(calls) == {"unwinding": expected}


def killed_in_an_outage(settings: Settings, server: embedded.Mongod) -> None:
    """Have a process killed while MongoDB is away, and its task's time limit known here."""
    llm_audit.recover()
    server.kill()
    kill_at_its_time_limit(settings)


@pytest.fixture
def server() -> Iterator[embedded.Mongod]:
    """Give a server of the test's own, to be killed."""
    with embedded.Mongod() as mongod:
        yield mongod
        llm_audit.shutdown(PATIENCE)


def end_as_they_should(server: embedded.Mongod, calls: Calls) -> None:
    with pymongo.MongoClient[Call](server.url) as client:
        found = client[calls.database.name][calls.name]
        until(lambda: ends(found).get("of another task") == ("ABANDONED", "worker_lost"))
        until(lambda: ends(found).get("in flight") == ("TIMEOUT", "hard_time_limit"))


def test_a_verdict_waits_for_the_journal_through_an_outage(
    recording: Recording, calls: Calls, server: embedded.Mongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process recorded while MongoDB was away is closed with its cause, later."""
    monkeypatch.setattr(verdicts, "PATIENCE_SECONDS", 0.1)
    settings = recording(mongo_url=server.url, recovery_interval_seconds=1)
    killed_in_an_outage(settings, server)
    recovery = running_recorder().shipper.recovery
    until(lambda: recovery._paused_until > time.monotonic())
    server.restart()

    end_as_they_should(server, calls)


def test_a_verdict_outlives_who_passed_it(
    recording: Recording, calls: Calls, server: embedded.Mongod
) -> None:
    """A process that has to end while MongoDB is away leaves the cause to who ships the rest."""
    settings = recording(mongo_url=server.url)
    killed_in_an_outage(settings, server)
    llm_audit.shutdown(0.2)
    server.restart()
    llm_audit.recover()

    end_as_they_should(server, calls)


@pytest.mark.usefixtures("settings", "in_task")
def test_a_verdict_that_cannot_be_said_holds_nothing_up(calls: Calls) -> None:
    """A broken verdict is logged and forgotten; text that is no UTF-8 is said as far as it goes."""
    call_id = LLMLogger.start(model="m", messages=["open"])
    end_calls_of_task("task", ValueError("?"), pid=os.getpid(), since=float("nan"))
    end_calls_of_task("task", ValueError("a bad \udc80 path"), pid=os.getpid(), since=0.0)
    until(lambda: ends(calls).get("open") == ("ERROR", "exception"))

    assert "bad" in arrived(calls, call_id)["error_message"]
    assert llm_audit.shutdown(PATIENCE)
