"""Whatever ends a task while a call is in flight, the call ends with the cause, once."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from celery import VERSION
from deployment import (
    BY_AGENT,
    GEVENT,
    PREFORK,
    PREFORK_ALONE,
    PREFORK_BY_AGENT,
    SOLO,
    THREADS,
    Deployment,
)
from flights import ANSWERED, FINISHED, LEFT, Flight, ended
from waiting import PATIENCE, until

# Who looks for the dead only now and then finds them soon.
WATCHFUL = {"LLM_AUDIT_RECOVERY_INTERVAL_SECONDS": "0.5"}


core = pytest.mark.core
# task_retry_on_worker_lost; that the main process says of a hard limit in gevent
SAYS_MORE = VERSION >= (5, 7)
from_celery_5_7 = pytest.mark.skipif(not SAYS_MORE, reason="Celery 5.7 has it first")


def on(*names: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pool", names, indirect=True)


in_block = pytest.mark.parametrize("in_block", [False, True], ids=["open", "in block"])
IN_A_COROUTINE = ("ask_in_loop", "ask_as_coroutine")
BESIDE_ANOTHER = ("ask_in_child", "ask_in_blocked_child")
EARLY_AND_LATE = ("ask", "ask_late")  # acknowledged
PREFORKS = ("prefork", "prefork-alone")
EITHER_WAY = (*PREFORKS, PREFORK_BY_AGENT)
either_way = pytest.mark.parametrize("own_queue", ["", BY_AGENT], indirect=True)
EVERYWHERE = (*PREFORKS, "threads", "gevent", "solo")


@core
@in_block
@on(*EVERYWHERE)
@pytest.mark.usefixtures("pool")
def test_an_exception(flight: Flight, in_block: bool) -> None:
    """An exception fails the call with it."""
    result = flight.tasks.ask_then_end.delay("error", in_block=in_block)
    (call,) = flight.ends_as(result.id, ended("ERROR", "exception"))

    assert (call["error_type"], call["error_message"]) == ("ValueError", "the provider said no")
    assert "ask_then_end" in call["error_traceback"]


@core
@in_block
@on(*EITHER_WAY)
@pytest.mark.usefixtures("pool")
def test_a_soft_time_limit(flight: Flight, in_block: bool) -> None:
    """A soft time limit is a timeout."""
    task_id, _ = flight.begin_limited("soft_time_limit", "ask", in_block=in_block)

    flight.ends_as(task_id, FINISHED, LEFT, ended("TIMEOUT", "soft_time_limit"))


@core
@in_block
@on(*EITHER_WAY, pytest.param("gevent", marks=from_celery_5_7))
@pytest.mark.usefixtures("pool")
def test_a_hard_time_limit(flight: Flight, in_block: bool) -> None:
    """A hard time limit is a timeout, though the child that hits it cannot know; others stay."""
    task_id, request = flight.begin_limited("time_limit", "ask", in_block=in_block)
    calls = flight.ends_as(task_id, FINISHED, LEFT, ended("TIMEOUT", "hard_time_limit"))

    assert {call["pid"] for call in calls} == {request["pid"]}
    assert calls[-1]["error_type"] == "TimeLimitExceeded"


@core
@in_block
@on(*EITHER_WAY)
@pytest.mark.parametrize("how", ["kill", "os._exit"])
@pytest.mark.usefixtures("pool")
def test_a_lost_child(flight: Flight, how: str, in_block: bool) -> None:
    """The call of a child that dies without a word is abandoned, and says how the child died."""
    result = flight.tasks.ask_then_end.delay(how, in_block=in_block)
    flight.ends_as(result.id, ended("ABANDONED", "worker_lost"))

    death = {"kill": "SIGKILL", "os._exit": "exitcode 3"}
    said = {"task_id": result.id, "error_type": "WorkerLostError"}
    said["error_message"] = {"$regex": death[how]}
    until(lambda: flight.deployment.calls.count_documents(said) == 1)  # inference may be first


@core
@either_way
def test_a_lost_child_whose_task_runs_again(own_queue: Deployment, flight: Flight) -> None:
    """Of a task that runs again each attempt has its own outcome, though both have one id."""
    names = ("ask_requeued", "ask_retried")[: 2 if SAYS_MORE else 1]
    with own_queue.with_settings(**WATCHFUL).worker(*PREFORK):
        for name in names:
            flight.provider.hold()
            task_id, request = flight.begin(name)
            os.kill(request["pid"], signal.SIGKILL)
            again = flight.provider.next_request()
            flight.provider.answer()
            lost = ended("ABANDONED", "worker_lost")
            calls = flight.ends_as(task_id, FINISHED, LEFT, lost, FINISHED, LEFT, ANSWERED)

            assert again["task_id"] == task_id, name
            assert again["retries"] == (1 if name == "ask_retried" else 0), name
            pids = [call["pid"] for call in calls]
            assert pids == [request["pid"]] * 3 + [again["pid"]] * 3, name
            assert len({call["task"]["attempt_id"] for call in calls}) == 2, name


@core
@in_block
@on(*EITHER_WAY, "gevent")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
@pytest.mark.usefixtures("pool")
def test_a_revoked_task(flight: Flight, name: str, in_block: bool) -> None:
    """A revoke that terminates the task cancels the call."""
    task_id, request = flight.begin("ask", in_block=in_block)
    flight.revoke(task_id, request, name)

    flight.ends_as(task_id, FINISHED, LEFT, ended("CANCELLED", "revoked"))


@on("threads")
@pytest.mark.usefixtures("pool")
def test_a_revoke_that_has_no_effect(flight: Flight) -> None:
    """A thread cannot be terminated: the task goes on, and the call succeeds."""
    task_id, _ = flight.begin("ask")
    flight.tasks.app.control.revoke(task_id, terminate=True)
    assert flight.tasks.app.control.ping(timeout=PATIENCE, limit=1)  # answered after the revoke was
    flight.provider.answer()

    flight.ends_as(task_id, FINISHED, LEFT, ANSWERED)


@core
@pytest.mark.parametrize(
    ("options", "own_queue"),
    [
        (PREFORK, ""),
        (PREFORK, BY_AGENT),
        (THREADS, ""),
        (GEVENT, BY_AGENT),
        (GEVENT, ""),
        (SOLO, ""),
    ],
    ids=[*("prefork", f"prefork, {BY_AGENT}", "threads", f"gevent, {BY_AGENT}", "gevent", "solo")],
    indirect=["own_queue"],
)
def test_a_warm_shutdown(own_queue: Deployment, flight: Flight, options: tuple[str, ...]) -> None:
    """A worker that is asked to stop lets the task finish."""
    (task_id,) = flight.stop_worker(own_queue, options, "ask", sig=signal.SIGTERM, answer=True)

    flight.ends_as(task_id, FINISHED, LEFT, ANSWERED)


@core
@pytest.mark.parametrize(
    ("options", "names", "in_block"),
    [
        (PREFORK, EARLY_AND_LATE, False),
        (PREFORK, EARLY_AND_LATE, True),
        # Where gevent's hub runs the signal handler, Celery fails at the first task it cancels.
        (GEVENT, EARLY_AND_LATE[:1], True),
        (GEVENT, EARLY_AND_LATE[1:], False),
        (PREFORK_ALONE, EARLY_AND_LATE[:1], False),
        (PREFORK_ALONE, EARLY_AND_LATE[1:], True),
    ],
    ids=[
        *("prefork", "prefork, in block", "gevent, early, in block", "gevent, late"),
        *("alone, early", "alone, late, in block"),
    ],
)
def test_a_cold_shutdown(
    own_queue: Deployment,
    flight: Flight,
    options: tuple[str, ...],
    names: tuple[str, ...],
    in_block: bool,
) -> None:
    """A worker that stops at once cancels the call, acknowledged or not."""
    task_ids = flight.stop_worker(own_queue, options, *names, in_block=in_block)

    for task_id in task_ids:
        flight.ends_as(task_id, FINISHED, LEFT, ended("CANCELLED", "shutdown"))


def test_a_cold_shutdown_of_threads(own_queue: Deployment, flight: Flight) -> None:
    """Threads cannot be stopped: the worker waits for them, and the call succeeds."""
    (task_id,) = flight.stop_worker(own_queue, THREADS, "ask", answer=True)

    flight.ends_as(task_id, FINISHED, LEFT, ANSWERED)


@pytest.mark.parametrize(
    ("in_block", "expected"),
    [(False, ended("CANCELLED", "shutdown")), (True, ended("ERROR", "exception"))],
    ids=["open", "in block"],
)
def test_a_cold_shutdown_of_solo(
    own_queue: Deployment, flight: Flight, in_block: bool, expected: tuple[str, str, str]
) -> None:
    """In the only process Celery raises an exception into the task, which is all a block sees."""
    (task_id,) = flight.stop_worker(own_queue, SOLO, "ask", in_block=in_block)
    calls = flight.ends_as(task_id, FINISHED, LEFT, expected)

    assert not in_block or calls[-1]["error_type"] == "NotImplementedError"


@either_way
def test_a_soft_shutdown_that_is_over(own_queue: Deployment, flight: Flight) -> None:
    """When the time that a soft shutdown gives is over, it is a cold one."""
    softly = own_queue.with_settings(SOFT_SHUTDOWN_SECONDS="1")
    task_ids = flight.stop_worker(softly, PREFORK, *EARLY_AND_LATE)

    for task_id in task_ids:
        flight.ends_as(task_id, FINISHED, LEFT, ended("CANCELLED", "shutdown"))


def test_a_soft_shutdown_in_time(own_queue: Deployment, flight: Flight) -> None:
    """A task that finishes in that time has succeeded, though Celery then says it is retried."""
    softly = own_queue.with_settings(SOFT_SHUTDOWN_SECONDS="5")
    task_ids = flight.stop_worker(softly, PREFORK, *EARLY_AND_LATE, answer=True)

    for task_id in task_ids:
        flight.ends_as(task_id, FINISHED, LEFT, ANSWERED)


@core
def test_a_killed_worker(own_queue: Deployment, flight: Flight) -> None:
    """When the whole worker is killed, the next one on this machine closes its calls."""
    killed = [
        flight.stop_worker(own_queue, options, "ask", sig=signal.SIGKILL)
        for options in (PREFORK, THREADS, GEVENT, SOLO)
    ]
    with own_queue.worker(*SOLO):
        for (task_id,) in killed:
            flight.ends_as(task_id, FINISHED, LEFT, ended("ABANDONED", "worker_lost"))


def test_a_lost_host(own_queue: Deployment, flight: Flight, tmp_path: Path) -> None:
    """When its spool is out of reach too, a worker's calls are closed once its lease is over."""

    def host(name: str) -> Deployment:
        return own_queue.with_settings(
            LLM_AUDIT_SPOOL_DIR=str(tmp_path / name), LLM_AUDIT_LEASE_SECONDS="3"
        )

    with host("lost").worker(*PREFORK) as worker:
        task_id, _ = flight.begin("ask")
        flight.ends_as(task_id, FINISHED, LEFT, ("in flight", "PENDING", None))
        worker.kill()
        worker.wait()
    with host("alive").worker(*PREFORK):
        flight.ends_as(task_id, FINISHED, LEFT, ended("ABANDONED", "lease_expired"))


@pytest.mark.parametrize(
    "expected",
    [ended("TIMEOUT", "hard_time_limit"), ended("CANCELLED", "revoked")],
    ids=["hard time limit", "revoked"],
)
@on("prefork")
@pytest.mark.usefixtures("pool")
def test_a_task_within_another(flight: Flight, expected: tuple[str, str, str]) -> None:
    """What ends a task ends the calls of those that it runs in place, by the same cause."""
    if expected[1] == "TIMEOUT":
        outer_id, request = flight.begin_limited("time_limit", "ask_within")
    else:
        outer_id, request = flight.begin("ask_within")
        flight.revoke(outer_id, request)
    calls = flight.ends_as(request["task_id"], FINISHED, LEFT, expected)

    assert request["task_id"] != outer_id
    assert {call["task"]["outer_task_id"] for call in calls} == {outer_id}


@core
@pytest.mark.parametrize(
    ("limit", "cause", "name"),
    [
        *(("soft_time_limit", "soft_time_limit", name) for name in IN_A_COROUTINE + BESIDE_ANOTHER),
        *(("time_limit", "hard_time_limit", name) for name in IN_A_COROUTINE),
    ],
)
@on("prefork")
@pytest.mark.usefixtures("pool")
def test_time_limits_of_a_coroutine(flight: Flight, limit: str, cause: str, name: str) -> None:
    """What asyncio makes a cancellation of is told by what it is really about."""
    task_id, _ = flight.begin_limited(limit, name)

    flight.ends_as(task_id, ended("TIMEOUT", cause))


@core
@pytest.mark.parametrize("name", IN_A_COROUTINE)
@on("prefork")
@pytest.mark.usefixtures("pool")
def test_a_revoked_coroutine(flight: Flight, name: str) -> None:
    """The main process's word counts, though asyncio has cancelled the call in good order."""
    task_id, request = flight.begin(name)
    flight.revoke(task_id, request)

    flight.ends_as(task_id, ended("CANCELLED", "revoked"))


def test_a_cold_shutdown_of_a_coroutine(own_queue: Deployment, flight: Flight) -> None:
    """A coroutine ends with the worker as any other task."""
    for task_id in flight.stop_worker(own_queue, PREFORK, *IN_A_COROUTINE):
        flight.ends_as(task_id, ended("CANCELLED", "shutdown"))


@core
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("ask_again", ("first attempt", "INCOMPLETE", "task_retry")),
        ("replace_by_ask", ("replaced", "INCOMPLETE", "task_ended")),
    ],
)
@on("prefork")
@pytest.mark.usefixtures("pool")
def test_attempts_that_overlap(flight: Flight, name: str, first: tuple[str, str, str]) -> None:
    """A retry or a replacement may begin before the first attempt has ended: each has its calls."""
    task_id, request = flight.begin(name)
    flight.provider.answer()
    calls = flight.ends_as(task_id, first, FINISHED, LEFT, ANSWERED)

    assert request["task_id"] == task_id
    assert len({call["task"]["attempt_id"] for call in calls}) == 2


@on(*PREFORKS, "threads", "gevent")
@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("exit", "process_exit"),
        ("interrupt", "process_exit"),
        ("greenlet", "interrupted"),
        ("ignore", "task_ended"),
        ("reject", "task_ended"),
    ],
)
@pytest.mark.usefixtures("pool")
def test_an_unusual_end(flight: Flight, how: str, cause: str) -> None:
    """A task that ends itself in an unusual way leaves its call INCOMPLETE, with the cause."""
    result = flight.tasks.ask_then_end.delay(how)
    (call,) = flight.ends_as(result.id, ended("INCOMPLETE", cause))

    error = {"exit": "SystemExit", "interrupt": "KeyboardInterrupt", "greenlet": "GreenletExit"}
    assert call.get("error_type") == error.get(how)


@on(*PREFORKS, "threads", "gevent")
@pytest.mark.usefixtures("pool")
def test_a_thread_that_goes_on(flight: Flight) -> None:
    """A call that a thread has open when the task returns is INCOMPLETE until it ends after all."""
    task_id, _ = flight.begin("leave_thread")
    flight.ends_as(task_id, ended("INCOMPLETE", "task_ended"))
    flight.provider.answer()

    flight.ends_as(task_id, ANSWERED)


@on(*EVERYWHERE)
@pytest.mark.usefixtures("pool")
def test_a_stream_that_nobody_reads(flight: Flight) -> None:
    """A stream that is open when the task returns is INCOMPLETE."""
    result = flight.tasks.leave_stream.delay()

    flight.ends_as(result.id, ended("INCOMPLETE", "task_ended"))
