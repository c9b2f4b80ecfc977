"""Tasks with a call in flight, and how their calls ended."""

import signal
from dataclasses import dataclass
from typing import Any

from deployment import PATIENCE_SECONDS, PREFORK, PREFORK_ALONE, Deployment, node_name
from slow_provider import SlowProvider
from waiting import until

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

    def begin(self, name: str, **options: Any) -> tuple[str, dict[str, Any]]:
        """Publish a task and wait until its call is in flight; return its id and what was asked.

        Args:
            name: The task's.
            **options: What `apply_async` takes.
        """
        result = getattr(self.tasks, name).apply_async(**options)
        return result.id, self.provider.next_request()

    def stop_worker(
        self,
        deployment: Deployment,
        pool: tuple[str, ...],
        name: str = "ask",
        *,
        sig: signal.Signals = signal.SIGQUIT,
        answer: bool = False,
        **kwargs: Any,
    ) -> str:
        """Run a worker and stop it while a call is in flight; return the task's id.

        Args:
            deployment: Where the worker runs.
            pool: Its pool, as options of the command line.
            name: The task's.
            sig: What the worker is stopped with.
            answer: Let the provider answer once the worker is told.
            **kwargs: The task's.
        """
        with deployment.worker(*pool) as worker:
            task_id, _ = self.begin(name, kwargs=kwargs)
            if pool in {PREFORK, PREFORK_ALONE}:  # in the others it is the process that runs it
                self._wait_until_accepted(node_name(worker), task_id)
            worker.send_signal(sig)
            self.provider.wake_callers()
            if answer:
                self.provider.answer()
            worker.wait(PATIENCE_SECONDS)
        return task_id

    def revoke(self, task_id: str, name: str = "SIGTERM") -> None:
        """Revoke a task with a signal; again if the worker does not listen yet.

        Args:
            task_id: The task's.
            name: The signal's.
        """
        options = {"terminate": True, "signal": name, "reply": True, "timeout": 1}
        revoke = self.tasks.app.control.revoke
        until(lambda: any(task_id in str(reply) for reply in revoke(task_id, **options)))

    def _wait_until_accepted(self, node: str, task_id: str) -> None:
        """Wait until the main process has heard that the task runs.

        At a cold shutdown Celery cancels no task of which it does not know that, and then waits
        for it for ever.
        """
        inspect = self.tasks.app.control.inspect([node], timeout=PATIENCE_SECONDS)
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
