"""Tags every LLM call made in a Celery task with the task, without a line in the task.

    import celery_hooks
    celery_hooks.install(app)

Nothing happens on import. `install` connects Celery's signals; `uninstall` disconnects them.
"""

from typing import TYPE_CHECKING, Literal

try:
    from celery_hooks import attempts, coroutines, lifecycle, propagation, received, verdicts
except ModuleNotFoundError as error:
    if error.name not in {"celery", "billiard"}:
        raise
    raise ModuleNotFoundError(
        "celery_hooks needs Celery: pip install 'llm-audit[celery]'", name=error.name
    ) from None

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["install", "uninstall"]


def install(app: "Celery | None" = None, *, flush: Literal["task"] | None = None) -> None:
    """Record which task makes each LLM call, in this process and in the workers it forks.

    Call it where the app is made; calling it again changes nothing.

    Args:
        app: The app whose tasks are tagged; every app of the process by default.
        flush: "task" waits at the end of each task until MongoDB has its calls, at most
            `exit_timeout_seconds`, so before a late acknowledgement. By default nothing waits: the
            journal already holds them.
    """
    app = attempts.tag(app, flush=flush)
    received.connect()
    propagation.connect()
    attempts.connect()
    verdicts.connect()
    lifecycle.connect()
    coroutines.connect(app)


def uninstall() -> None:
    """Undo `install` for every app."""
    received.disconnect()
    propagation.disconnect()
    attempts.disconnect()
    verdicts.disconnect()
    lifecycle.disconnect()
    coroutines.disconnect()
    attempts.untag()
