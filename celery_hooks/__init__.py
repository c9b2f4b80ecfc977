"""Tags every LLM call made in a Celery task with the task, without a line in the task.

    import celery_hooks
    celery_hooks.install(app)

Nothing happens on import. `install` connects Celery's signals; `uninstall` disconnects them.

Neither loads `celery.worker.consumer`: that keeps the `build_tracer` it finds, and other tools put
theirs in its place, Sentry and celery-aio-pool for two, when the app is made.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import llm_audit

try:
    from celery import signals

    from celery_hooks import attempts, installed, lifecycle, propagation, received, verdicts
    from celery_hooks.batches import request_context
    from celery_hooks.coroutines import bodies, loops
    from celery_hooks.installed import Options
    from llm_audit.capture.instrument import instrument_as_set
except ModuleNotFoundError as error:
    if error.name not in {"celery", "billiard"}:
        raise
    raise ModuleNotFoundError(
        "celery_hooks needs Celery: pip install 'llm-audit[celery]'", name=error.name
    ) from None

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["install", "request_context", "uninstall"]

# Of two receivers of one signal, the upper is called first.
_RECEIVERS: tuple[tuple[Any, Callable[..., None]], ...] = (
    (signals.before_task_publish, propagation.add_header),
    (signals.task_received, received.note),
    (signals.task_prerun, attempts.begin),
    (signals.task_failure, attempts.note_failure),
    (signals.task_failure, verdicts.task_failed),
    (signals.task_retry, attempts.note_retry),
    (signals.task_retry, verdicts.task_retried),
    (signals.task_revoked, verdicts.task_revoked),
    (signals.task_postrun, attempts.end),
    (signals.worker_init, lifecycle.preload),
    (signals.worker_process_init, installed.add_copy),
    (signals.worker_ready, verdicts.wrap_cancelling),
    (signals.worker_ready, lifecycle.look_after_the_dead),
    (signals.worker_ready, bodies.look_in_worker),
    (signals.worker_process_shutdown, loops.close_all),
    (signals.worker_process_shutdown, lifecycle.deliver),
    (signals.worker_shutdown, loops.close_all),
    (signals.worker_shutdown, lifecycle.deliver),
)


def install(
    app: "Celery | None" = None,
    *,
    flush: Literal["task"] | None = None,
    coroutines: bool = False,
    instrument: bool = False,
) -> None:
    """Record which task makes each LLM call, in this process and in the workers it forks.

    Call it where the app is made; calling it again changes nothing.

    Args:
        app: The app whose tasks are tagged; every app of the process by default.
        flush: "task" waits at the end of each task until MongoDB has its calls, at most
            `exit_timeout_seconds`, so before a late acknowledgement. By default nothing waits: the
            journal already holds them.
        coroutines: Whether tasks that are `async def` are run: each thread that runs tasks keeps
            one event loop for them. By default Celery does with them what it does, and a warning
            says so.
        instrument: Whether the calls of LLM clients are recorded by themselves, in the workers and
            here: see `llm_audit.instrument`. By default what the setting `instrument` says.
    """
    app = installed.add(app, Options(flush=flush == "task", coroutines=coroutines))
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver, weak=False, dispatch_uid=_uid(receiver))
    verdicts.wrap_cancelling()  # if a worker runs already
    lifecycle.heed_tests()  # the same
    if coroutines:
        bodies.wrap_bodies()
    bodies.watch(app)
    if instrument:
        installed.note_instrumented()
        llm_audit.instrument()
    else:
        instrument_as_set()


def uninstall() -> None:
    """Undo `install` for every app."""
    for signal, receiver in _RECEIVERS:
        signal.disconnect(receiver, dispatch_uid=_uid(receiver))
    lifecycle.heed_no_tests()
    verdicts.unwrap_cancelling()
    bodies.unwatch()
    loops.close_all()
    if installed.remove():
        llm_audit.uninstrument()


def _uid(receiver: Callable[..., None]) -> str:
    """Name a receiver, so that it is connected once however often its module is imported."""
    return f"{receiver.__module__}.{receiver.__name__}"
