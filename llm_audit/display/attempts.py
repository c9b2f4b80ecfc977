"""How the attempts of a task ended, in sentences: as far as their calls tell."""

from collections.abc import Sequence

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum
from llm_audit.display.figures import counted
from llm_audit.queries.answers.tasks import Task, TaskAttempt

# See docs/reference/endings.md.
CAUSES = {
    "worker_lost": "Its process was killed (SIGKILL, out of memory) or called os._exit.",
    "lease_expired": "Its machine fell silent, and the lease of its process ran out.",
    "hard_time_limit": "The hard time limit of the task was over, and its process was ended.",
    "soft_time_limit": "The soft time limit of the task was over.",
    "revoked": "The task was revoked while it ran.",
    "shutdown": "The worker was shut down while the task ran.",
    "process_exit": "Its process ended in order, with the call still open.",
    "interrupted": "Something interrupted the task: GreenletExit, or another BaseException.",
    "task_retry": "The task was retried with a call still open.",
    "task_ended": "The task ended, or was replaced, with a call still open.",
}


def numbers(attempts: Sequence[TaskAttempt]) -> list[int]:
    """Return the number of each attempt, from 1; one is left out where an attempt made no call.

    How often Celery retried tells which attempt it is, if there was no redelivery in between.

    Args:
        attempts: Of one task, oldest first.
    """
    found: list[int] = []
    for attempt in attempts:
        found.append(max(found[-1] + 1 if found else 1, (attempt.retries or 0) + 1))
    return found


def how_it_ended(attempt: TaskAttempt) -> str:
    """Say how an attempt ended."""
    end = attempt.end
    if end is None:
        return "Nothing is known of its end."
    if end.status == LLMCallStatusEnum.PENDING:
        return f"It runs: {counted(attempt.running, 'call')} of it still open."
    if end.ended_by in CAUSES:
        return CAUSES[end.ended_by]
    if end.status == LLMCallStatusEnum.SUCCESS:
        if not attempt.failures:
            several = "Its call" if attempt.calls == 1 else f"All of its {attempt.calls:,} calls"
            others = sum(each.calls for each in attempt.ends if each.status != end.status)
            return "Its last call succeeded." if others else f"{several} succeeded."
        return f"Its last call succeeded; {attempt.failures:,} of {attempt.calls:,} had failed."
    verb = "failed" if end.status in FAILURE_STATUSES else "did not end well"
    by = f", ended by {end.ended_by.replace('_', ' ')}" if end.ended_by else ""
    return f"Its last call {verb}: {end.status}{by}."


def what_came_next(task: Task, place: int) -> str:
    """Say what brought the next attempt about, or that there is none.

    Args:
        task: Whose attempts they are.
        place: Of the attempt, from 0.
    """
    attempt = task.attempts[place]
    if place + 1 == len(task.attempts):
        return ""
    following = task.attempts[place + 1]
    if (following.retries or 0) > (attempt.retries or 0):
        return "Celery retried the task."
    if following.redelivered:
        return "The broker delivered its message again."
    return "The task ran again."
