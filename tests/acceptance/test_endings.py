"""Whatever ends a task while a call is in flight, the call ends with the cause, once."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from deployment import (
    GEVENT,
    PREFORK,
    PREFORK_ALONE,
    SOLO,
    THREADS,
    Deployment,
    EndsAs,
    InFlight,
)
from slow_provider import SlowProvider
from waiting import until

FINISHED = ("finished", "SUCCESS", None)
LEFT = ("left", "INCOMPLETE", "block_ended")
ANSWERED = ("in flight", "SUCCESS", None)

# Who looks for the dead only now and then finds them soon.
WATCHFUL = {"LLM_AUDIT_RECOVERY_INTERVAL_SECONDS": "0.5"}


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pool", names, indirect=True)


def with_pools(**pools: tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("options", pools.values(), ids=pools.keys())


in_block = pytest.mark.parametrize("in_block", [False, True], ids=["open", "in block"])
PREFORKS = ("prefork", "prefork-alone")
EVERYWHERE = (*PREFORKS, "threads", "gevent", "solo")


@pytest.fixture
def asking(tasks: Any) -> Any:
    """Import the tasks that are ended."""
    assert tasks.app
    import ending_tasks

    return ending_tasks


@in_block
@on(*EVERYWHERE)
@pytest.mark.usefixtures("pool")
def test_an_exception(asking: Any, ends_as: EndsAs, in_block: bool) -> None:
    """An exception fails the call with it."""
    result = asking.ask_then_end.delay("error", in_block=in_block)
    (call,) = ends_as(result.id, ("in flight", "ERROR", "exception"))

    assert (call["error_type"], call["error_message"]) == ("ValueError", "the provider said no")
    assert "ask_then_end" in call["error_traceback"]


@in_block
@on(*PREFORKS)
@pytest.mark.usefixtures("pool")
def test_a_soft_time_limit(
    asking: Any, in_flight: InFlight, ends_as: EndsAs, in_block: bool
) -> None:
    """A soft time limit is a timeout."""
    task_id, _ = in_flight(asking.ask, kwargs={"in_block": in_block}, soft_time_limit=1)

    ends_as(task_id, FINISHED, LEFT, ("in flight", "TIMEOUT", "soft_time_limit"))


@in_block
@on(*PREFORKS, "gevent")
@pytest.mark.usefixtures("pool")
def test_a_hard_time_limit(
    asking: Any, in_flight: InFlight, ends_as: EndsAs, in_block: bool
) -> None:
    """A hard time limit is a timeout, though the child that hits it cannot know; others stay."""
    task_id, request = in_flight(asking.ask, kwargs={"in_block": in_block}, time_limit=1)
    calls = ends_as(task_id, FINISHED, LEFT, ("in flight", "TIMEOUT", "hard_time_limit"))

    assert {call["pid"] for call in calls} == {request["pid"]}
    assert calls[-1]["error_type"] == "TimeLimitExceeded"


@in_block
@on(*PREFORKS)
@pytest.mark.parametrize("how", ["kill", "os._exit"])
@pytest.mark.usefixtures("pool")
def test_a_lost_child(asking: Any, ends_as: EndsAs, how: str, in_block: bool) -> None:
    """The call of a child that dies without a word is abandoned, and says how the child died."""
    result = asking.ask_then_end.delay(how, in_block=in_block)
    (call,) = ends_as(result.id, ("in flight", "ABANDONED", "worker_lost"))

    assert call["error_type"] == "WorkerLostError"
    assert ("SIGKILL" if how == "kill" else "exitcode 3") in call["error_message"]


@pytest.mark.parametrize("name", ["ask_requeued", "ask_retried"])
def test_a_lost_child_whose_task_runs_again(
    asking: Any,
    own_queue: Deployment,
    provider: SlowProvider,
    in_flight: InFlight,
    ends_as: EndsAs,
    name: str,
) -> None:
    """Of a task that runs again each attempt has its own outcome, though both have one id."""
    with own_queue.with_settings(**WATCHFUL).worker(*PREFORK):
        task_id, request = in_flight(getattr(asking, name))
        os.kill(request["pid"], signal.SIGKILL)
        again = provider.next_request()
        provider.answer()
        lost = ("in flight", "ABANDONED", "worker_lost")
        calls = ends_as(task_id, FINISHED, LEFT, lost, FINISHED, LEFT, ANSWERED)

    assert again["task_id"] == task_id
    assert again["retries"] == (1 if name == "ask_retried" else 0)
    assert [call["pid"] for call in calls] == [request["pid"]] * 3 + [again["pid"]] * 3
    assert len({call["task"]["attempt_id"] for call in calls}) == 2


@in_block
@on(*PREFORKS, "gevent")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
@pytest.mark.usefixtures("pool")
def test_a_revoked_task(
    asking: Any, in_flight: InFlight, ends_as: EndsAs, name: str, in_block: bool
) -> None:
    """A revoke that terminates the task cancels the call."""
    task_id, _ = in_flight(asking.ask, kwargs={"in_block": in_block})
    asking.app.control.revoke(task_id, terminate=True, signal=name)

    ends_as(task_id, FINISHED, LEFT, ("in flight", "CANCELLED", "revoked"))


@on("threads")
@pytest.mark.usefixtures("pool")
def test_a_revoke_that_has_no_effect(
    asking: Any, provider: SlowProvider, in_flight: InFlight, ends_as: EndsAs
) -> None:
    """A thread cannot be terminated: the task goes on, and the call succeeds."""
    task_id, _ = in_flight(asking.ask)
    asking.app.control.revoke(task_id, terminate=True)
    assert asking.app.control.ping(timeout=5, limit=1)  # answered after the revoke was
    provider.answer()

    ends_as(task_id, FINISHED, LEFT, ANSWERED)


@with_pools(prefork=PREFORK, threads=THREADS, gevent=GEVENT, solo=SOLO)
def test_a_warm_shutdown(
    asking: Any,
    own_queue: Deployment,
    provider: SlowProvider,
    in_flight: InFlight,
    ends_as: EndsAs,
    options: tuple[str, ...],
) -> None:
    """A worker that is asked to stop lets the task finish."""
    with own_queue.worker(*options) as worker:
        task_id, _ = in_flight(asking.ask)
        worker.send_signal(signal.SIGTERM)
        provider.answer()

    ends_as(task_id, FINISHED, LEFT, ANSWERED)


@in_block
@with_pools(prefork=PREFORK, alone=PREFORK_ALONE, gevent=GEVENT)
@pytest.mark.parametrize("name", ["ask", "ask_late"])
def test_a_cold_shutdown(
    asking: Any,
    own_queue: Deployment,
    in_flight: InFlight,
    ends_as: EndsAs,
    options: tuple[str, ...],
    name: str,
    in_block: bool,
) -> None:
    """A worker that stops at once cancels the call, acknowledged or not."""
    with own_queue.worker(*options) as worker:
        task_id, _ = in_flight(getattr(asking, name), kwargs={"in_block": in_block})
        worker.send_signal(signal.SIGQUIT)
        worker.wait()

    ends_as(task_id, FINISHED, LEFT, ("in flight", "CANCELLED", "shutdown"))


def test_a_cold_shutdown_of_threads(
    asking: Any,
    own_queue: Deployment,
    provider: SlowProvider,
    in_flight: InFlight,
    ends_as: EndsAs,
) -> None:
    """Threads cannot be stopped: the worker waits for them, and the call succeeds."""
    with own_queue.worker(*THREADS) as worker:
        task_id, _ = in_flight(asking.ask)
        worker.send_signal(signal.SIGQUIT)
        provider.answer()
        worker.wait()

    ends_as(task_id, FINISHED, LEFT, ANSWERED)


def test_a_cold_shutdown_of_solo(
    asking: Any, own_queue: Deployment, in_flight: InFlight, ends_as: EndsAs
) -> None:
    """In the only process Celery raises into the task; the main process still knows why."""
    with own_queue.worker(*SOLO) as worker:
        task_id, _ = in_flight(asking.ask)
        worker.send_signal(signal.SIGQUIT)
        worker.wait()

    ends_as(task_id, FINISHED, LEFT, ("in flight", "CANCELLED", "shutdown"))


@pytest.mark.parametrize("name", ["ask", "ask_late"])
def test_a_soft_shutdown_that_is_over(
    asking: Any, own_queue: Deployment, in_flight: InFlight, ends_as: EndsAs, name: str
) -> None:
    """When the time that a soft shutdown gives is over, it is a cold one."""
    with own_queue.with_settings(SOFT_SHUTDOWN_SECONDS="1").worker(*PREFORK) as worker:
        task_id, _ = in_flight(getattr(asking, name))
        worker.send_signal(signal.SIGQUIT)
        worker.wait()

    ends_as(task_id, FINISHED, LEFT, ("in flight", "CANCELLED", "shutdown"))


def test_a_soft_shutdown_in_time(
    asking: Any,
    own_queue: Deployment,
    provider: SlowProvider,
    in_flight: InFlight,
    ends_as: EndsAs,
) -> None:
    """A task that finishes in that time has succeeded, though Celery then says it is retried."""
    with own_queue.with_settings(SOFT_SHUTDOWN_SECONDS="5").worker(*PREFORK) as worker:
        task_id, _ = in_flight(asking.ask)
        worker.send_signal(signal.SIGQUIT)
        provider.answer()
        worker.wait()

    ends_as(task_id, FINISHED, LEFT, ANSWERED)


@with_pools(prefork=PREFORK, threads=THREADS, gevent=GEVENT, solo=SOLO)
def test_a_killed_worker(
    asking: Any,
    own_queue: Deployment,
    in_flight: InFlight,
    ends_as: EndsAs,
    options: tuple[str, ...],
) -> None:
    """When the whole worker is killed, the next one on this machine closes its calls."""
    with own_queue.worker(*options) as worker:
        task_id, _ = in_flight(asking.ask)
        worker.kill()
        worker.wait()
    with own_queue.worker(*SOLO):
        ends_as(task_id, FINISHED, LEFT, ("in flight", "ABANDONED", "worker_lost"))


def test_a_lost_host(
    asking: Any, own_queue: Deployment, in_flight: InFlight, ends_as: EndsAs, tmp_path: Path
) -> None:
    """When its spool is out of reach too, a worker's calls are closed once its lease is over."""

    def host(name: str) -> Deployment:
        return own_queue.with_settings(
            LLM_AUDIT_SPOOL_DIR=str(tmp_path / name), LLM_AUDIT_LEASE_SECONDS="3"
        )

    with host("lost").worker(*PREFORK) as worker:
        task_id, _ = in_flight(asking.ask)
        pending = {"task_id": task_id, "status": "PENDING"}
        until(lambda: own_queue.calls.count_documents(pending))
        worker.kill()
        worker.wait()
    with host("alive").worker(*PREFORK):
        ends_as(task_id, FINISHED, LEFT, ("in flight", "ABANDONED", "lease_expired"))


@pytest.mark.parametrize(
    ("name", "first"), [("ask_again", "first attempt"), ("replace_by_ask", "replaced")]
)
@on("prefork")
@pytest.mark.usefixtures("pool")
def test_attempts_that_overlap(
    asking: Any,
    provider: SlowProvider,
    in_flight: InFlight,
    ends_as: EndsAs,
    name: str,
    first: str,
) -> None:
    """A retry or a replacement may begin before the first attempt has ended: each has its calls."""
    task_id, request = in_flight(getattr(asking, name))
    provider.answer()
    cause = "task_retry" if name == "ask_again" else "task_ended"
    calls = ends_as(task_id, (first, "INCOMPLETE", cause), FINISHED, LEFT, ANSWERED)

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
def test_an_unusual_end(asking: Any, ends_as: EndsAs, how: str, cause: str) -> None:
    """A task that ends itself in an unusual way leaves its call INCOMPLETE, with the cause."""
    result = asking.ask_then_end.delay(how)
    (call,) = ends_as(result.id, ("in flight", "INCOMPLETE", cause))

    error = {"exit": "SystemExit", "interrupt": "KeyboardInterrupt", "greenlet": "GreenletExit"}
    assert call.get("error_type") == error.get(how)


@on(*PREFORKS, "threads", "gevent")
@pytest.mark.usefixtures("pool")
def test_a_thread_that_goes_on(
    asking: Any, provider: SlowProvider, in_flight: InFlight, ends_as: EndsAs
) -> None:
    """A call that a thread has open when the task returns is INCOMPLETE until it ends after all."""
    task_id, _ = in_flight(asking.leave_thread)
    ends_as(task_id, ("in flight", "INCOMPLETE", "task_ended"))
    provider.answer()

    ends_as(task_id, ANSWERED)


@on(*EVERYWHERE)
@pytest.mark.usefixtures("pool")
def test_a_stream_that_nobody_reads(asking: Any, ends_as: EndsAs) -> None:
    """A stream that is open when the task returns is INCOMPLETE."""
    ends_as(asking.leave_stream.delay().id, ("in flight", "INCOMPLETE", "task_ended"))
