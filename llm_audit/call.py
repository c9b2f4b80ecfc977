"""The fields of one recorded LLM call, as plain pydantic models that need no database.

Two halves that share no field: what is known when a call starts, and how it ended.
Because they are disjoint, the two can reach MongoDB in any order and still make one document.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


def in_utc(moment: datetime) -> datetime:
    """Return a moment with its zone, which a client without `tz_aware` leaves out."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


UTCDatetime = Annotated[datetime, AfterValidator(in_utc)]


class LLMCallTypeEnum(StrEnum):
    """What a call was made for."""

    CHAT = "CHAT"
    COMPLETION = "COMPLETION"
    RAG_QUERY = "RAG_QUERY"
    RAG_SYNTHESIS = "RAG_SYNTHESIS"
    EMBEDDING = "EMBEDDING"
    SENTIMENT_ANALYSIS = "SENTIMENT_ANALYSIS"
    CLASSIFICATION = "CLASSIFICATION"
    SUMMARIZATION = "SUMMARIZATION"
    EXTRACTION = "EXTRACTION"
    TRANSLATION = "TRANSLATION"
    TOOL_EXECUTION = "TOOL_EXECUTION"
    AGENT = "AGENT"
    MODERATION = "MODERATION"
    OTHER = "OTHER"


class LLMCallStatusEnum(StrEnum):
    """Where a call stands: PENDING until it ends, then one of the terminal six."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    INCOMPLETE = "INCOMPLETE"
    ABANDONED = "ABANDONED"


FAILURE_STATUSES = (
    LLMCallStatusEnum.ERROR,
    LLMCallStatusEnum.TIMEOUT,
    LLMCallStatusEnum.ABANDONED,
)


class TaskFields(BaseModel):
    """The Celery task, and the attempt of it, that made a call."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    retries: int | None = None
    attempt_id: str | None = Field(None, description="new for every run of the task's body")
    outer_task_id: str | None = Field(
        None, description="the task in whose body this one was applied in place"
    )
    queue: str | None = None
    worker: str | None = Field(None, description="the worker's node name")
    pid: int | None = None
    redelivered: bool | None = None
    eager: bool | None = None


# MongoDB's conditions, by field: one of them holds for a call of a later attempt of a task.
LATER_ATTEMPTS: dict[str, dict[str, Any]] = {
    "task.retries": {"task.retries": {"$gt": 0}},
    "task.redelivered": {"task.redelivered": True},
}


class StartFields(BaseModel):
    """What is known when a call starts."""

    schema_version: int = SCHEMA_VERSION
    call_type: LLMCallTypeEnum | None = None
    provider: str | None = None
    model: str | None = None

    system_prompt: Any = Field(
        None, description="a string, or blocks as the Anthropic API has them"
    )
    messages: list[Any] = Field(default_factory=list, description="as the API speaks them")
    input: Any = Field(None, description="what embeddings and moderation take instead of messages")
    tools: list[Any] | None = None
    tool_choice: Any = None
    temperature: float | None = None
    max_tokens: int | None = None
    request_params: dict[str, Any] = Field(
        default_factory=dict, description="every other parameter of the request"
    )

    trace_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    company_id: str | None = None
    parent_call_id: str | None = None
    review_id: str | None = None
    task_id: str | None = Field(None, description="the Celery task's id")
    task: TaskFields | None = None

    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    environment: str | None = None
    service: str | None = None

    host: str | None = None
    pid: int | None = None
    process_nonce: str | None = Field(None, description="names one recording process for ever")


class OutcomeFields(BaseModel):
    """How a call ended."""

    status: LLMCallStatusEnum
    outcome_key: int | None = Field(None, description="precedence: the highest outcome stands")

    response_model: str | None = None
    response_id: str | None = None
    response_message: dict[str, Any] | None = Field(None, description="as the API speaks it")
    other_choices: list[Any] = Field(
        default_factory=list, description="every choice after the first, where several were asked"
    )
    finish_reason: str | None = None
    tools_called: list[str] = Field(
        default_factory=list, description="names, in order, repeats kept"
    )
    malformed_tool_calls: list[str] = Field(
        default_factory=list, description="of these, those whose arguments are no JSON object"
    )

    prompt_tokens: int | None = Field(None, description="input tokens, cached ones included")
    completion_tokens: int | None = Field(None, description="output tokens, reasoning included")
    total_tokens: int | None = None
    cached_tokens: int | None = Field(None, description="input tokens read from the cache")
    cache_write_tokens: int | None = Field(None, description="input tokens written to the cache")
    reasoning_tokens: int | None = None
    estimated_cost: float | None = Field(None, description="USD")
    cost_source: str | None = None
    latency_ms: float | None = None
    time_to_first_token_ms: float | None = None

    error_type: str | None = None
    error_message: str | None = None
    error_traceback: str | None = None
    ended_by: str | None = Field(None, description="what ended a call that did not succeed")
    completed_at: UTCDatetime | None = Field(None, description="UTC, milliseconds")


class CallFields(StartFields, OutcomeFields):
    """One LLM call: its start, its outcome, and what both sides write alike."""

    created_at: UTCDatetime | None = Field(None, description="UTC, milliseconds: the id's instant")
    expires_at: UTCDatetime | None = Field(
        None, description="UTC: when MongoDB may delete the call"
    )
    encoding_notes: list[str] = Field(
        default_factory=list, description="what had to be changed to be stored, '<path>: <what>'"
    )
    media: list[str] = Field(
        default_factory=list, description="sha256 of everything of the call that is in GridFS"
    )


# The fields that hold what was said.
SAID = ("system_prompt", "messages", "input", "response_message", "other_choices")
OUTCOME_FIELD_NAMES = tuple(OutcomeFields.model_fields)
