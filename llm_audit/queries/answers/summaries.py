"""What summaries return: one model for each kind of row."""

from typing import Any

from pydantic import Field

from llm_audit.call import UTCDatetime
from llm_audit.queries.answers.tokens import Tokens
from llm_audit.tolerant import TolerantModel


class ToolUsage(TolerantModel):
    """How one tool was used."""

    tool: str
    calls: int = Field(description="how often models asked for it, repeats in a response counted")
    malformed_calls: int = Field(description="of these, whose arguments were no JSON object")
    argument_validity: float = Field(description="the share of calls that were not malformed")
    llm_calls: int = Field(description="distinct LLM calls that asked for it")
    traces: int = Field(description="distinct traces in which it was asked for")
    failures: int = Field(description="of these LLM calls, how many failed")
    failure_rate: float | None = Field(description="failures / (successes + failures)")
    estimated_cost: float = Field(description="USD, of these LLM calls as a whole")
    calls_without_cost: int = Field(description="of these LLM calls, how many have no cost")


class ToolArguments(TolerantModel):
    """A tool as a model asked for it once."""

    call_id: str
    created_at: UTCDatetime | None
    status: str = Field(description="of the call whose answer asked for it")
    arguments: Any = Field(description="an object or list also where sent as JSON, else as sent")
    is_malformed: bool = Field(description="whether they are no JSON object")


class FailureGroup(TolerantModel):
    """The failures that share their kind, their cause, their model and their task."""

    status: str
    error_type: str | None
    ended_by: str | None
    model: str | None
    task_name: str | None
    count: int
    rate: float = Field(description="count / (successes + failures) of this model and task")
    first_seen: UTCDatetime | None
    last_seen: UTCDatetime | None
    sample_id: str = Field(description="the newest of these calls")
    sample_message: str | None = Field(
        None, description="its error message, at most 500 characters; no part of the pipeline's row"
    )


class FailureSummary(TolerantModel):
    """How calls ended, and what the failures among them have in common."""

    calls: int = 0
    successes: int = 0
    failures: int = Field(0, description="ERROR, TIMEOUT and ABANDONED")
    failure_rate: float | None = Field(None, description="failures / (successes + failures)")
    cancelled: int = Field(0, description="neither success nor failure, like the next two")
    incomplete: int = 0
    pending: int = 0
    other: int = Field(0, description="with a status of a later version, or none")
    kinds: int = Field(0, description="how many groups of failures there are")
    groups: list[FailureGroup] = Field(
        default_factory=list, description="of the failures, the 1,000 most frequent, these first"
    )


class FailureMessage(TolerantModel):
    """What failures say that say the same."""

    message: str = Field(description="its first 300 characters, # where numbers and ids differ")
    count: int
    error_types: list[str] = Field(description="those that come with it")
    first_seen: UTCDatetime | None
    last_seen: UTCDatetime | None
    sample_id: str = Field(description="the newest of these calls")


class FailureCount(TolerantModel):
    """How often one kind of failure came in one hour, day ..."""

    bucket: str | None = Field(description="its name in its zone; None for calls without a time")
    status: str
    error_type: str | None
    ended_by: str | None
    model: str | None
    task_name: str | None
    count: int


class CostSummary(TolerantModel):
    """What the calls of one group used and cost."""

    group: str | None = Field(description="a value of `group_by`; None for calls without one")
    calls: int
    prompt_tokens: Tokens
    completion_tokens: Tokens
    total_tokens: Tokens
    cached_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
    unreadable_calls: int = Field(
        description="how many calls no sum knows of, as a figure of theirs is no number"
    )


class Usage(TolerantModel):
    """What the calls of one hour, day ... were, used and cost."""

    bucket: str | None = Field(description="its name in its zone; None for calls without a time")
    start: UTCDatetime | None
    calls: int
    successes: int
    failures: int = Field(description="ERROR, TIMEOUT and ABANDONED")
    abandoned: int = Field(description="of the failures, how many nobody ended")
    cancelled: int = Field(description="neither success nor failure, like the next two")
    incomplete: int
    pending: int
    other: int = Field(description="with a status of a later version, or none")
    prompt_tokens: Tokens
    completion_tokens: Tokens
    total_tokens: Tokens
    cached_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
    unreadable_calls: int = Field(
        description="how many calls no sum knows of, as a figure of theirs is no number"
    )


class RetrySpend(TolerantModel):
    """What the tasks of one name paid again, in attempts after a retry or a redelivery."""

    task_name: str | None
    tasks: int = Field(description="those with a later attempt that made a call")
    attempts: int = Field(description="the later ones that made a call")
    calls: int
    total_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")


class LabelCount(TolerantModel):
    """How often one label was given."""

    label: str
    count: int


class ScoreSummary(TolerantModel):
    """What the scores of one name say of the calls of one group."""

    group: str | None = Field(description="a value of `group_by`; None for calls without one")
    scores: int
    yes: int = Field(description="how many are True")
    no: int = Field(description="how many are False")
    numbers: int = Field(description="how many are numbers, as the next three are")
    mean: float | None
    least: float | None
    most: float | None
    labels: list[LabelCount] = Field(description="the 20 most frequent, these first")


class UserSummary(TolerantModel):
    """What one user, or one company, asked for, and what it cost."""

    id: str | None = Field(description="None for the calls of nobody")
    calls: int
    successes: int
    failures: int = Field(description="ERROR, TIMEOUT and ABANDONED")
    failure_rate: float | None = Field(description="failures / (successes + failures)")
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
    first_seen: UTCDatetime | None
    last_seen: UTCDatetime | None


class PromptSummary(TolerantModel):
    """How the calls of one system prompt went."""

    beginning: str | None = Field(
        description="at most 120 characters; None where there is no text, or no prompt"
    )
    characters: int | None = Field(description="of all of it; None if it is no single text")
    calls: int
    successes: int
    failures: int = Field(description="ERROR, TIMEOUT and ABANDONED")
    failure_rate: float | None = Field(description="failures / (successes + failures)")
    abandoned: int = Field(description="of the failures, how many nobody ended")
    cancelled: int = Field(description="neither success nor failure, like the next two")
    incomplete: int
    pending: int
    total_tokens: Tokens
    estimated_cost: float = Field(description="USD, the sum of the costs that are known")
    calls_without_cost: int = Field(description="how many calls the sum knows nothing of")
    p50: float | None = Field(description="of the latencies that are known, in milliseconds")
    p95: float | None
    first_seen: UTCDatetime | None
    last_seen: UTCDatetime | None
    first_id: str = Field(description="of its calls")
    last_id: str = Field(description="of its calls; the filter `prompt_of` takes it")


class LatencyCell(TolerantModel):
    """How many calls of one hour, day ... took about as long."""

    bucket: str | None = Field(description="its name in its zone; None for calls without a time")
    step: int = Field(description="four to a power of ten: 10 ** (step / 4) milliseconds and more")
    calls: int


class LatencySummary(TolerantModel):
    """How long the calls of one group took, in milliseconds."""

    group: str | None = Field(description="a value of `group_by`; None for calls without one")
    calls: int = Field(description="those whose latency is known")
    p50: float
    p90: float
    p95: float
    p99: float
