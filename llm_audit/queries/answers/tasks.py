"""Tasks as Celery ran them: attempts put together to tasks, and tasks to a canvas.

What is known of a task is what its calls say. An attempt that made no call is not known, and how a
task itself ended is not: `ends` says how its calls did.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, Field

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum, UTCDatetime
from llm_audit.queries.answers.tokens import Tokens
from llm_audit.queries.times import so_far_ms
from llm_audit.tolerant import TolerantModel

# What ended the attempt as a whole, and with it the calls that were open.
ENDS_OF_ATTEMPTS = frozenset(
    (
        *("worker_lost", "lease_expired", "hard_time_limit", "soft_time_limit", "revoked"),
        *("shutdown", "process_exit", "interrupted", "task_retry", "task_ended"),
    )
)
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class CallEnd(TolerantModel):
    """How some calls ended."""

    status: LLMCallStatusEnum
    ended_by: str | None = None
    calls: int


class AttemptEnd(CallEnd):
    """How some calls of an attempt ended."""

    last_at: UTCDatetime | None = Field(None, description="when the last of them did")
    sample_id: str | None = Field(None, description="the newest of these calls")


class TaskSummary(TolerantModel):
    """What the tasks of one name did, as their calls say."""

    task_name: str
    calls: int
    successes: int
    failures: int = Field(description="ERROR, TIMEOUT and ABANDONED")
    failure_rate: float | None = Field(description="failures / (successes + failures)")
    abandoned: int = Field(description="of the failures, how many nobody ended")
    cancelled: int = Field(description="neither success nor failure, like the next two")
    incomplete: int
    pending: int
    other: int = Field(description="with a status of a later version, or none")
    total_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
    unreadable_calls: int = Field(
        description="how many calls no sum knows of, as a figure of theirs is no number"
    )
    p50: float | None = Field(description="milliseconds; at most 0.51 % too high, like p95")
    p95: float | None
    last_seen: UTCDatetime | None
    ends: list[CallEnd] = Field(default_factory=list, description="most frequent first")


class QueueAndWorker(TolerantModel):
    """The calls of tasks from one queue in one worker."""

    queue: str | None
    worker: str | None
    in_task: bool = Field(default=True, description="false for calls outside of tasks")
    calls: int
    successes: int
    failures: int = Field(description="ERROR, TIMEOUT and ABANDONED")
    failure_rate: float | None = Field(description="failures / (successes + failures)")
    abandoned: int = Field(description="of the failures, how many nobody ended")
    cancelled: int
    incomplete: int
    pending: int
    other: int
    first_seen: UTCDatetime | None
    last_seen: UTCDatetime | None


class WorkerSummary(BaseModel):
    """From which queues and in which workers tasks made calls."""

    pairs: list[QueueAndWorker] = Field(
        default_factory=list, description="of queue and worker, most calls first"
    )
    calls_read: int = Field(0, description="calls outside of tasks included")
    is_whole: bool = Field(
        default=True, description="false if there are older calls that were not read"
    )


class TaskAttempt(TolerantModel):
    """One run of a task's body, as its calls say."""

    task_id: str
    attempt_id: str | None = None
    task_name: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    outer_task_id: str | None = None
    outer_attempt_id: str | None = None
    retries: int | None = None
    redelivered: bool | None = None
    queue: str | None = None
    worker: str | None = None
    host: str | None = None
    pid: int | None = None
    eager: bool | None = None
    batch_size: int | None = None
    trace_id: str | None = None
    process_nonce: str | None = None
    calls: int
    total_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
    started_at: UTCDatetime | None = Field(None, description="when its first call did")
    ended_at: UTCDatetime | None = Field(None, description="when its last call did")
    first_call_id: str
    last_call_id: str
    ends: list[AttemptEnd] = Field(default_factory=list)

    @property
    def end(self) -> AttemptEnd | None:
        """What says how it ended: a call that runs, one that ended with it, else the last one."""
        running = [end for end in self.ends if end.status == LLMCallStatusEnum.PENDING]
        with_it = [end for end in self.ends if end.ended_by in ENDS_OF_ATTEMPTS]
        judged = running or with_it or self.ends
        return max(judged, key=lambda end: end.last_at or _BEFORE_ALL, default=None)

    @property
    def is_later(self) -> bool:
        """Whether the task had been retried, or was redelivered: what it paid, it paid again."""
        return bool(self.retries or self.redelivered)

    @property
    def failures(self) -> int:
        """How many of its calls failed."""
        return sum(end.calls for end in self.ends if end.status in FAILURE_STATUSES)

    @property
    def running(self) -> int:
        """How many of its calls run."""
        return sum(end.calls for end in self.ends if end.status == LLMCallStatusEnum.PENDING)


class PaidAgain(BaseModel):
    """What later attempts used and cost."""

    attempts: int = 0
    calls: int = 0
    total_tokens: int = 0
    estimated_cost: float = Field(0.0, description="USD, the sum of the costs that are known")
    calls_without_cost: int = 0


class Task(BaseModel):
    """A task with its attempts, oldest first; each has made a call, others are not known."""

    task_id: str
    name: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    outer_task_id: str | None = None
    trace_id: str | None = None
    attempts: list[TaskAttempt]
    calls: int
    failures: int
    running: int
    total_tokens: int
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
    paid_again: PaidAgain = Field(description="what its later attempts did")
    started_at: UTCDatetime | None
    ended_at: UTCDatetime | None
    first_id: str = Field(description="its first call, of those that were asked for")

    @property
    def end(self) -> AttemptEnd | None:
        """How its last attempt ended."""
        return self.attempts[-1].end

    @property
    def duration_ms(self) -> float | None:
        """From the first to the last moment that are known."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at) / timedelta(milliseconds=1)

    def length_ms(self, now: datetime) -> float | None:
        """Return how long it took, or has taken until now if a call of it still runs."""
        return so_far_ms(self.started_at, self.duration_ms, now, runs=bool(self.running))


class TaskAndAround(BaseModel):
    """A task, and the tasks that it comes from or has started, as far as they made calls."""

    task: Task
    around: list[Task] = Field(default_factory=list)
    is_whole: bool = Field(default=True, description="false if these were not found in time")


class Canvas(BaseModel):
    """The tasks of a Celery canvas that made calls, oldest first."""

    tasks: list[Task] = Field(default_factory=list)
    is_whole: bool = Field(default=True, description="false if there are more attempts than these")


def tasks_of(attempts: Iterable[TaskAttempt]) -> list[Task]:
    """Put attempts together to tasks, in the order of their first ones.

    Args:
        attempts: Oldest first.
    """
    by_task: dict[str, list[TaskAttempt]] = {}
    for attempt in attempts:
        by_task.setdefault(attempt.task_id, []).append(attempt)
    return [_task(task_id, own) for task_id, own in by_task.items()]


def _task(task_id: str, attempts: list[TaskAttempt]) -> Task:
    last = attempts[-1]
    again = [attempt for attempt in attempts if attempt.is_later]
    starts = [attempt.started_at for attempt in attempts if attempt.started_at]
    ends = [attempt.ended_at for attempt in attempts if attempt.ended_at]
    return Task(
        task_id=task_id,
        name=last.task_name,
        root_id=last.root_id,
        parent_id=last.parent_id if last.parent_id != task_id else None,
        group_id=last.group_id,
        outer_task_id=last.outer_task_id,
        trace_id=last.trace_id,
        attempts=attempts,
        failures=sum(attempt.failures for attempt in attempts),
        running=sum(attempt.running for attempt in attempts),
        **_sums(attempts),
        paid_again=PaidAgain(attempts=len(again), **_sums(again)),
        started_at=min(starts, default=None),
        ended_at=max(ends, default=None),
        first_id=min(attempt.first_call_id for attempt in attempts),
    )


def _sums(attempts: Sequence[TaskAttempt]) -> dict[str, int | float]:
    names = ("calls", "total_tokens", "estimated_cost", "calls_without_cost")
    return {name: sum(getattr(attempt, name) for attempt in attempts) for name in names}
