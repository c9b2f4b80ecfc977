"""Tasks with a call in flight, and how their calls ended."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deployment import GEVENT, PREFORK, PREFORK_ALONE, THREADS, Deployment
from slow_provider import SlowProvider
from waiting import PATIENCE, until

LISTENING_SECONDS = 5  # then a worker is asked again: it did not listen yet
FINISHED = ("finished", "SUCCESS", None)
LEFT = ("left", "INCOMPLETE", "block_ended")
ANSWERED = ("in flight", "SUCCESS", None)


def ended(status: str, ended_by: str) -> tuple[str, str, str]:
    """Return how a call ends that was in flight."""
    return ("in flight", status, ended_by)


@dataclass(frozen=True)
class Flight:
    """One app's tasks, the provider that they ask, and the calls that they make.

    Attributes:
        tasks: The module `ending_tasks`.
        provider: Holds what is in flight.
        deployment: Where the workers run.
    """

    tasks: Any
    provider: SlowProvider
    deployment: Deployment

    def begin(self, name: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        """Publish a task and wait until its call is in flight; return its id and what was asked.

        Args:
            name: The task's.
            **kwargs: The task's.
        """
        result = getattr(self.tasks, name).delay(**kwargs)
        return result.id, self.provider.next_request()

    def begin_limited(self, limit: str, name: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        """Begin a task that has so little time that it is over while its call is in flight.

        Where the machine is so busy that it is over before, the task gets another try with more.

        Args:
            limit: `time_limit` or `soft_time_limit`.
            name: The task's.
            **kwargs: The task's.
        """
        for seconds in (1, 4, 16, PATIENCE):
            self.provider.hold()
            options = {limit: seconds}
            result = getattr(self.tasks, name).apply_async(kwargs=kwargs, **options)
            until(lambda result=result: self.provider.is_asked or result.ready())
            if self.provider.is_asked:
                return result.id, self.provider.next_request()
        pytest.fail(f"no call of {name} is in flight within {PATIENCE} s")

    def stop_worker(
        self,
        deployment: Deployment,
        pool: tuple[str, ...],
        *names: str,
        sig: signal.Signals = signal.SIGQUIT,
        answer: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Run a worker and stop it while each of some tasks has a call in flight; return their ids.

        Args:
            deployment: Where the worker runs.
            pool: Its pool, as options of the command line.
            *names: The tasks, at most as many as the pool runs at a time.
            sig: What the worker is stopped with.
            answer: Let the provider answer once the worker is told.
            **kwargs: What each task is given.
        """
        with deployment.worker(*pool) as worker:
            task_ids = []
            for name in names:
                task_id, request = self.begin(name, **kwargs)
                task_ids.append(task_id)
                if pool in {PREFORK, PREFORK_ALONE}:  # in the others it is the process that runs it
                    self._wait_until_accepted(request["node"], task_id)
            if pool in {THREADS, GEVENT}:
                until(lambda: _is_polling(worker.pid))
            worker.send_signal(sig)
            self.provider.wake_callers()
            if answer:
                self.provider.answer()
            worker.wait(PATIENCE)
        return task_ids

    def revoke(self, task_id: str, request: dict[str, Any], name: str = "SIGTERM") -> None:
        """Revoke a task with a signal.

        Args:
            task_id: The task's.
            request: What it has asked.
            name: The signal's.
        """
        self._wait_until_accepted(request["node"], task_id)
        reply = self.tasks.app.control.revoke(
            task_id,
            destination=[request["node"]],
            terminate=True,
            signal=name,
            reply=True,
            timeout=PATIENCE,
        )
        assert task_id in str(reply)

    def _wait_until_accepted(self, node: str, task_id: str) -> None:
        """Wait until the main process has heard that the task runs.

        At a cold shutdown Celery cancels no task of which it does not know that, and then waits
        for it for ever.
        """
        inspect = self.tasks.app.control.inspect([node], timeout=LISTENING_SECONDS)
        until(lambda: any(task["id"] == task_id for task in (inspect.active() or {}).get(node, ())))

    def ends_as(self, task_id: str, *expected: tuple[str, str, str | None]) -> list[dict[str, Any]]:
        """Wait until the calls of a task have ended as they should, and return them in order.

        Args:
            task_id: The task's.
            *expected: What was asked, status and cause of each call.
        """
        wanted = sorted((text, status, str(by)) for text, status, by in expected)
        calls: list[dict[str, Any]] = []

        def found() -> list[tuple[str, str, str]]:
            calls[:] = self.deployment.calls.find({"task_id": task_id}).sort("_id", 1)
            return sorted(
                (call["messages"][-1]["content"], call["status"], str(call.get("ended_by")))
                for call in calls
            )

        until(lambda: found() == wanted, instead=lambda: f"{found()} instead of {wanted}")
        return calls


def _is_polling(pid: int) -> bool:
    """Tell whether a process's main thread waits for what comes next, if the kernel says so.

    Celery's handler of a signal runs in it. Where that strikes between, in `submit` of a pool of
    threads say, the handler waits for a lock that the thread below it holds, and for ever.
    """
    thread = Path(f"/proc/{pid}/task/{pid}")
    try:
        state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
        where = (thread / "wchan").read_text()
    except OSError:
        return True
    return state == "S" and ("poll" in where or where in {"", "0"})
