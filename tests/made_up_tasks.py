"""Documents of calls that Celery tasks made, in the shape in which the recorder stores them."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from made_up_calls import Call, call_id

_LOT = random.Random(8)
OUTSIDE = {  # how a call ends with its attempt, see docs/reference/endings.md
    "worker_lost": "ABANDONED",
    "lease_expired": "ABANDONED",
    "hard_time_limit": "TIMEOUT",
    "soft_time_limit": "TIMEOUT",
    "revoked": "CANCELLED",
    "shutdown": "CANCELLED",
    "task_retry": "INCOMPLETE",
    "process_exit": "INCOMPLETE",
}


class Tasks:
    """Makes calls of tasks up, one after the other in time.

    Args:
        start: When the first one begins.
    """

    def __init__(self, start: datetime) -> None:
        self.now = start
        self.calls: list[Call] = []

    def attempt(self, task_id: str, *ends: str, pause: float = 5, **task: Any) -> None:
        """Add an attempt of a task.

        Args:
            task_id: Its id.
            *ends: How each of its calls ends: SUCCESS, ERROR, PENDING, or by what (`revoked`).
            pause: Seconds that pass before.
            **task: Fields of `task` besides the usual ones.
        """
        self.now += timedelta(seconds=pause)
        number = sum(1 for _ in self.attempts_of(task_id))
        own: Call = {
            "name": "shop.tasks.answer",
            "root_id": task_id,
            "retries": 0,
            "attempt_id": f"{task_id} run {number}",
            "queue": "answers",
            "worker": f"celery@{'ab'[number % 2]}",
            "pid": 4_000 + number,
            "redelivered": False,
            "eager": False,
        }
        own = {name: value for name, value in (own | task).items() if value is not None}
        for end in ends:
            self.calls.append(self._call(task_id, end, own))

    def attempts_of(self, task_id: str) -> Iterator[str]:
        """Yield the attempts of a task so far."""
        seen = {call["task"]["attempt_id"] for call in self.calls if call["task_id"] == task_id}
        yield from sorted(seen)

    def _call(self, task_id: str, end: str, task: Call) -> Call:
        begun = self.now
        took = timedelta(milliseconds=_LOT.randrange(300, 4_000))
        self.now += took
        call: Call = {
            "_id": call_id(begun, _LOT),
            "created_at": begun,
            "status": OUTSIDE.get(end, end),
            "call_type": "CHAT",
            "provider": "openai",
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": f"What of {task_id}?"}],
            "trace_id": f"trace of {task['root_id']}",
            "task_id": task_id,
            "task": task,
            "host": "shop-1",
            "pid": task.get("pid"),
            "process_nonce": f"process {task.get('pid')}",
        }
        if end != "PENDING":
            call["completed_at"] = begun + took
        if end in OUTSIDE:
            call |= {"ended_by": end, "error_type": "WorkerLost" if "lost" in end else "Ended"}
        elif end == "ERROR":
            call |= {"ended_by": "response", "error_type": "RateLimitError", "http_status": 429}
            call |= {
                "error_message": "Rate limit reached",
                "latency_ms": took / timedelta(0, 0, 1000),
            }
        elif end == "SUCCESS":
            call |= {"total_tokens": 120, "estimated_cost": 0.003}
            call |= {"latency_ms": took / timedelta(milliseconds=1)}
            call["response_message"] = {"role": "assistant", "content": "It is on its way."}
        return call


def every_kind(start: datetime) -> list[Call]:
    """Return the calls of a task of each kind there is."""
    made = Tasks(start)
    made.attempt("one", "SUCCESS", "SUCCESS")
    for retries in range(5):
        ends = ("SUCCESS", "ERROR") if retries < 4 else ("SUCCESS", "ERROR", "SUCCESS")
        made.attempt("five", *ends, retries=retries, pause=30)
    made.attempt("redelivered", "SUCCESS", "worker_lost")
    made.attempt("redelivered", "SUCCESS", "SUCCESS", redelivered=True, pause=90)
    for end in OUTSIDE:
        made.attempt(end, "SUCCESS", end)
    made.attempt("late", "SUCCESS", retries=2)
    made.attempt("eager", "SUCCESS", eager=True, queue=None, worker=None, outer_task_id="one")
    made.attempt("running", "ERROR")
    made.attempt("running", "SUCCESS", "PENDING", retries=1)
    made.attempt("root", "SUCCESS", name="shop.tasks.plan")
    for number in range(3):
        ends = ("SUCCESS", "ERROR") if number == 1 else ("SUCCESS",)
        header = {"name": "shop.tasks.read", "root_id": "root", "parent_id": "root"}
        made.attempt(f"header {number}", *ends, group_id="headers", pause=-1, **header)
    made.attempt("header 1", "SUCCESS", retries=1, group_id="headers", **header)
    of_chord = {"root_id": "root", "parent_id": "header 1", "group_id": "headers"}
    made.attempt("body", "SUCCESS", name="shop.tasks.merge", pause=1, **of_chord)
    made.attempt("after", "SUCCESS", root_id="root", parent_id="body", group_id="of one")
    for member in ("member 1", "member 2"):
        made.attempt(member, "SUCCESS", group_id="two")
        made.calls[-1]["trace_id"] = "trace of two"
    made.attempt("of another", "SUCCESS", root_id="silent root", parent_id="silent parent")
    return made.calls


def large_group(start: datetime, members: int = 1_000) -> list[Call]:
    """Return the calls of a group of many tasks, of which some fail or were retried."""
    made = Tasks(start)
    made.attempt("fan out", "SUCCESS", name="shop.tasks.plan")
    for number in range(members):
        task_id = f"member {number:04}"
        task = {"root_id": "fan out", "parent_id": "fan out", "group_id": "many"}
        if number % 50 == 7:
            made.attempt(task_id, "ERROR", pause=-0.5, **task)
            made.attempt(task_id, "SUCCESS", retries=1, pause=0, **task)
        else:
            end = "worker_lost" if number % 100 == 9 else "SUCCESS"
            made.attempt(task_id, end, "SUCCESS" if end == "SUCCESS" else end, pause=-1, **task)
    return made.calls
