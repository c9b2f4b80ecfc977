"""The pages on RQ, dramatiq and Huey: their code runs in a worker of theirs, on a real Redis."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import LONG
from queue_pages import Place, placed
from waiting import Call, Calls, Recording, until

SPINNING = 8 if LONG else 1  # jobs whose limit strikes anywhere in recording
REST_SECONDS = 0 if LONG else 0.002
BIN = Path(sys.executable).parent
WORK = f"""
import time

def spin():
    while True:
        LLMLogger.complete(LLMLogger.start(model="spinning", messages=["x" * 2_000]))
        time.sleep({REST_SECONDS})

def wait():
    with LLMLogger.log_call(model="waiting"):
        while True:
            time.sleep(0.01)

def flaky():
    with LLMLogger.log_call(model="flaky"):
        raise ValueError("no")
"""
RQ = f"""
from redis import Redis
from rq import Queue, Retry

def produce():
    queue = Queue(connection=Redis.from_url("{{url}}"))
    queue.enqueue("jobs.summarize", "text")
    queue.enqueue("jobs.flaky", retry=Retry(1))
    queue.enqueue("jobs.wait", job_timeout=1)
    for _ in range({SPINNING}):
        queue.enqueue("jobs.spin", job_timeout=1)
"""
DRAMATIQ = f"""
spin, wait = (
    dramatiq.actor(audited(work), time_limit=1_000, max_retries=0) for work in (spin, wait)
)
flaky = dramatiq.actor(audited(flaky), max_retries=1, min_backoff=1)

def produce():
    for work in (flaky, wait, *[spin] * {SPINNING}):
        work.send()
    summarize.send("text")
"""
HUEY = f"""
spin, wait = (huey.task(context=True, timeout=1)(audited(work)) for work in (spin, wait))
flaky = huey.task(context=True, retries=1)(audited(flaky))

def produce():
    for work in (flaky, wait, *[spin] * {SPINNING}):
        work()
    summarize("text")
"""


@pytest.fixture
def place(tmp_path: Path, redis_url: str, recording: Recording) -> Iterator[Place]:
    """Record into the test's database."""
    with placed(tmp_path, redis_url, recording()) as place:
        yield place


def ended(calls: Calls) -> bool:
    """Tell whether every job's calls are there and have ended."""
    found = [call for call in calls.find() if call["status"] != "PENDING"]
    spun = {call.get("task_id") for call in found if call["model"] == "spinning"}
    others = sorted(call["model"] for call in found if call["model"] != "spinning")
    return len(spun) == SPINNING and others == ["flaky", "flaky", "gpt-4o-mini", "waiting"]


def check(calls: Calls, limit: str) -> None:
    """Each call says of which job it was, and each limit came out of the job that it struck."""
    assert calls.count_documents({"status": "PENDING"}) == 0
    assert calls.count_documents({"task_id": None}) == 0
    for process in calls.database["llm_audit_processes"].find():
        assert process["state"] == "ended", process
    (answered,) = calls.find({"model": "gpt-4o-mini"})
    assert (answered["status"], bool(answered["response_message"])) == ("SUCCESS", True)
    first, second = calls.find({"model": "flaky"}).sort("_id", 1)
    assert first["task_id"] == second["task_id"]
    assert first["metadata"] != second["metadata"]
    assert {first["status"], second["status"]} == {"ERROR"}
    (waited,) = calls.find({"model": "waiting"})
    assert (waited["status"], waited["error_type"]) == ("TIMEOUT", limit)
    spun: list[Call] = list(calls.find({"model": "spinning"}))
    assert {call["status"] for call in spun} <= {"SUCCESS", "INCOMPLETE", "TIMEOUT"}


def test_rq(place: Place, calls: Calls) -> None:
    """A work-horse delivers before it ends, and its time limit is heeded."""
    place.produce("rq.md", WORK + RQ)
    worker = ("worker", "--burst", "--with-scheduler", "--worker-class", "jobs.AuditedWorker")
    place.run(BIN / "rq", *worker, "--url", place.url)

    assert ended(calls), list(calls.find({"model": {"$ne": "spinning"}}))
    check(calls, "JobTimeoutException")


def test_dramatiq(place: Place, calls: Calls) -> None:
    """Time limits that are set in a thread from outside come out of recording."""
    place.produce("dramatiq.md", WORK + DRAMATIQ)
    with place.running(BIN / "dramatiq", "jobs", "--processes", "1", "--threads", "4"):
        until(lambda: ended(calls), lambda: str(list(calls.find({"model": {"$ne": "spinning"}}))))

    check(calls, "TimeLimitExceeded")


def test_huey(place: Place, calls: Calls) -> None:
    """Time limits of its processes come out of recording."""
    place.produce("huey.md", WORK + HUEY)
    worker = (BIN / "huey_consumer", "jobs.huey", "-k", "process", "-w", "2")
    with place.running(*worker, end=signal.SIGINT):
        until(lambda: ended(calls), lambda: str(list(calls.find({"model": {"$ne": "spinning"}}))))

    check(calls, "TaskTimeout")
