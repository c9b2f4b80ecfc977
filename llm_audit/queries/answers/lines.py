"""What lists return: a line for each call, trace and session, and the values that calls have."""

from datetime import datetime
from typing import TypeVar

from pydantic import Field

from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum, UTCDatetime
from llm_audit.queries.answers.tokens import Tokens
from llm_audit.queries.times import so_far_ms
from llm_audit.tolerant import TolerantModel

T = TypeVar("T")


class Found(list[T]):
    """The calls that a search has found, newest first.

    Attributes:
        not_searched: What may hold the text as well, each in a sentence; empty if all was searched.
    """

    not_searched: tuple[str, ...] = ()


class CallPreview(TolerantModel):
    """A call in a line: what it was, and the beginning of what was asked and answered."""

    id: str
    status: LLMCallStatusEnum
    call_type: LLMCallTypeEnum | None = None
    provider: str | None = None
    model: str | None = None
    trace_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    company_id: str | None = None
    task_id: str | None = None
    task_name: str | None = None
    retries: int | None = None
    redelivered: bool | None = None
    attempt_id: str | None = None
    environment: str | None = None
    service: str | None = None
    tags: list[str] = Field(default_factory=list)
    tools_called: list[str] = Field(default_factory=list)
    total_tokens: int | None = None
    estimated_cost: float | None = Field(None, description="USD")
    latency_ms: float | None = None
    finish_reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    ended_by: str | None = None
    created_at: UTCDatetime | None = None
    completed_at: UTCDatetime | None = None
    asked: str | None = Field(
        None, description="the last message of the request, at most 120 characters"
    )
    answered: str | None = Field(None, description="the response, at most 120 characters")

    def length_ms(self, now: datetime) -> float | None:
        """Return how long it took, or has taken until now if it still runs."""
        runs = self.status == LLMCallStatusEnum.PENDING
        return so_far_ms(self.created_at, self.latency_ms, now, runs=runs)


class TraceSummary(TolerantModel):
    """A trace in a line: what began it, how its calls ended, and what they used and cost."""

    trace_id: str
    first_id: str | None = Field(
        None, description="its first call that matches; to page, pass it as `after`"
    )
    root_id: str = Field(description="its first call without a parent, or its first call")
    call_type: LLMCallTypeEnum | None = Field(None, description="of that call, as the next three")
    model: str | None = None
    user_id: str | None = None
    asked: str | None = Field(None, description="the beginning of its last message")
    started_at: UTCDatetime | None = None
    ended_at: UTCDatetime | None = Field(None, description="the last moment that is known")
    duration_ms: float | None = Field(None, description="between the two")
    calls: int
    successes: int
    failures: int = Field(description="ERROR, TIMEOUT and ABANDONED")
    abandoned: int = Field(description="of the failures, how many nobody ended")
    cancelled: int = Field(description="neither success nor failure, like the next two")
    incomplete: int
    pending: int
    total_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
    tasks: int = Field(description="how many Celery tasks the calls are of")
    task_names: list[str] = Field(default_factory=list, description="their names, at most 20")
    retries: int | None = Field(None, description="of the task that was retried most often")

    def length_ms(self, now: datetime) -> float | None:
        """Return how long this took, or has taken until now if a call in it still runs."""
        return so_far_ms(self.started_at, self.duration_ms, now, runs=bool(self.pending))


class Facet(TolerantModel):
    """A value that calls have in a field."""

    field: str = Field(description="as filters name it")
    value: str
    calls: int


class SessionSummary(TolerantModel):
    """A session in a line: whose it is, what was said last, and what its calls used and cost."""

    session_id: str
    first_id: str | None = Field(
        None, description="its first call that matches; to page, pass it as `after`"
    )
    last_id: str = Field(description="its last call; the next four are that call's")
    user_id: str | None = None
    company_id: str | None = None
    asked: str | None = Field(None, description="the beginning of its last message")
    answered: str | None = Field(None, description="the beginning of its response")
    started_at: UTCDatetime | None = None
    ended_at: UTCDatetime | None = Field(None, description="the last moment that is known")
    calls: int
    successes: int
    failures: int = Field(description="ERROR, TIMEOUT and ABANDONED")
    abandoned: int = Field(description="of the failures, how many nobody ended")
    cancelled: int = Field(description="neither success nor failure, like the next two")
    incomplete: int
    pending: int
    total_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
