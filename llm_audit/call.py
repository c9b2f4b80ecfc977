"""The fields of one recorded LLM call, as plain pydantic models that need no database.

Two halves that share no field: what is known when a call starts, and how it ended.
Because they are disjoint, the two can reach MongoDB in any order and still make one document. What
is said of a call later has fields of its own; it also adds to tags and metadata.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WrapSerializer,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from llm_audit.open_enum import OpenEnum

SCHEMA_VERSION = 2

# who records reads no call: a process that starts is spared a sixth of its imports
_BUILT_WHEN_USED = ConfigDict(defer_build=True)

T = TypeVar("T")


class Kind(StrEnum):
    """What a field of a call holds. Every list of fields that asks this is made from it."""

    WHO = "who"  # who asked whom, for whom and for what, and which process recorded it
    FIGURE = "figure"  # when, how much, and how it ended
    LABEL = "label"  # names that users or models choose: shown, but free to hold anything
    SAID = "said"  # what people, programs and models said to each other
    QUOTES = "quotes"  # everything else that may repeat what was said, or hold anything


class AtMost(NamedTuple):
    """How much a field may hold; `llm_audit.gate` sees to it.

    Attributes:
        characters: Of a text, and of each text in a list.
        items: Of a list of texts or of fields.
    """

    characters: int = 512
    items: int = 2**15


TAGS = AtMost(items=100)
SCORES = AtMost(items=100)
ATTEMPTS = AtMost(items=100)
NAME_OF_SCORE = AtMost(characters=128)
LABEL = AtMost()
COMMENT = AtMost(characters=4_096)
TEXT_OF_ERROR = AtMost(characters=2**15)

Who = Annotated[T, Kind.WHO]
Figure = Annotated[T, Kind.FIGURE]
Label = Annotated[T, Kind.LABEL]
Said = Annotated[T, Kind.SAID]
Quotes = Annotated[T, Kind.QUOTES]


def in_utc(moment: datetime) -> datetime:
    """Return a moment with its zone, which a client without `tz_aware` leaves out."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _in_json(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except (PydanticSerializationError, UnicodeDecodeError):
        models = isinstance(value, list) and all(isinstance(item, BaseModel) for item in value)
        plain = [item.model_dump() for item in value] if models else value
        return to_jsonable_python(plain, fallback=str, bytes_mode="base64")


IN_JSON = WrapSerializer(_in_json, when_used="json")  # MongoDB's own types as text, e.g. ObjectId
Anything = Annotated[Any, IN_JSON]  # whatever was recorded
UTCDatetime = Annotated[datetime, AfterValidator(in_utc)]


class LLMCallTypeEnum(OpenEnum):
    """What a call was made for: one of these, or a name of your own of up to 64 characters."""

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


class LLMCallStatusEnum(OpenEnum):
    """Where a call stands: PENDING until it ends, then one of the terminal six.

    Reading also takes a status that only a later version knows.
    """

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

    model_config = ConfigDict(extra="allow", **_BUILT_WHEN_USED)
    __pydantic_extra__: dict[str, Anything]

    name: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    retries: int | None = None
    attempt_id: str | None = Field(None, description="new for every run of the task's body")
    outer_task_id: str | None = Field(
        None, description="the task in whose body this one was applied in place"
    )
    outer_attempt_id: str | None = Field(None, description="the attempt of that task")
    queue: str | None = None
    worker: str | None = Field(None, description="the worker's node name")
    pid: int | None = None
    redelivered: bool | None = None
    eager: bool | None = None
    batch_size: int | None = Field(
        None, description="how many messages the body ran for, where celery-batches gave it several"
    )


# MongoDB's conditions, by field: one of them holds for a call of a later attempt of a task.
LATER_ATTEMPTS: dict[str, dict[str, Any]] = {
    "task.retries": {"task.retries": {"$gt": 0}},
    "task.redelivered": {"task.redelivered": True},
}


class StartFields(BaseModel):
    """What is known when a call starts."""

    model_config = _BUILT_WHEN_USED

    schema_version: Who[int] = SCHEMA_VERSION
    call_type: Who[LLMCallTypeEnum | None] = None
    provider: Who[str | None] = None
    model: Who[str | None] = None
    captured_by: Who[str | None] = Field(
        None, description="the library whose traffic it was read from; absent if given by hand"
    )
    endpoint: Who[str | None] = Field(
        None, description="the URL that was asked, without query and user: https://host/path"
    )

    system_prompt: Said[Anything] = Field(
        None, description="a string, or blocks as the Anthropic API has them"
    )
    messages: Said[list[Anything]] = Field(
        default_factory=list, description="as the API speaks them"
    )
    input: Said[Anything] = Field(
        None, description="what embeddings and moderation take instead of messages"
    )
    tools: Quotes[list[Anything] | None] = None
    tool_choice: Quotes[Anything] = None
    temperature: Figure[float | None] = None
    max_tokens: Figure[int | None] = None
    request_params: Quotes[dict[str, Anything]] = Field(
        default_factory=dict, description="every other parameter of the request"
    )

    trace_id: Who[str | None] = None
    session_id: Who[str | None] = None
    user_id: Who[str | None] = None
    company_id: Who[str | None] = None
    parent_call_id: Who[str | None] = None
    review_id: Who[str | None] = None
    task_id: Who[str | None] = Field(None, description="the Celery task's id")
    task: Who[TaskFields | None] = None

    tags: Annotated[list[str], Kind.LABEL, TAGS] = Field(default_factory=list)
    metadata: Quotes[dict[str, Anything]] = Field(default_factory=dict)
    environment: Who[str | None] = None
    service: Who[str | None] = None
    content: Who[str | None] = Field(
        None, description="the policy for its content, metadata or sampled; absent if full"
    )

    host: Who[str | None] = None
    pid: Who[int | None] = None
    process_nonce: Who[str | None] = Field(None, description="names one recording process for ever")


class Attempt(BaseModel):
    """One of several requests that a client made for the same call."""

    model_config = ConfigDict(extra="allow", **_BUILT_WHEN_USED)
    __pydantic_extra__: dict[str, Anything]

    status: int | None = Field(None, description="of HTTP; None where there was no answer")
    error: str | None = Field(None, description="the class of what was raised instead")
    duration_ms: float | None = None
    body: Quotes[Anything] = Field(None, description="of an answer that was an error")


class OutcomeFields(BaseModel):
    """How a call ended."""

    model_config = _BUILT_WHEN_USED

    status: Figure[LLMCallStatusEnum]
    outcome_key: Figure[int | None] = Field(
        None, description="precedence: the highest outcome stands"
    )

    api: Who[str | None] = Field(
        None, description="the shape of the response, e.g. openai.chat or anthropic.messages"
    )
    response_model: Who[str | None] = None
    response_id: Who[str | None] = None
    response_message: Said[dict[str, Anything] | None] = Field(
        None, description="as the API speaks it"
    )
    other_choices: Said[list[Anything]] = Field(
        default_factory=list, description="every choice after the first, where several were asked"
    )
    response_extra: Quotes[dict[str, Anything]] = Field(
        default_factory=dict,
        description="everything else of the response, in its own structure; "
        "llm_audit.response_of puts both together again",
    )
    finish_reason: Figure[str | None] = None
    tools_called: Label[list[str]] = Field(
        default_factory=list, description="names, in order, repeats kept"
    )
    malformed_tool_calls: Label[list[str]] = Field(
        default_factory=list, description="of these, those whose arguments are no JSON object"
    )

    usage: Quotes[dict[str, Anything]] = Field(
        default_factory=dict, description="exactly as reported, whatever it holds"
    )
    prompt_tokens: Figure[int | None] = Field(
        None, description="input tokens, cached ones included"
    )
    completion_tokens: Figure[int | None] = Field(
        None, description="output tokens, reasoning included"
    )
    total_tokens: Figure[int | None] = None
    cached_tokens: Figure[int | None] = Field(None, description="input tokens read from the cache")
    cache_write_tokens: Figure[int | None] = Field(
        None, description="input tokens written to the cache"
    )
    reasoning_tokens: Figure[int | None] = None
    estimated_cost: Figure[float | None] = Field(None, description="USD")
    cost_source: Figure[str | None] = Field(
        None,
        description="who says so: caller, span, billed: <field>, own: <price>, or the price list",
    )
    cost_details: Figure[dict[str, Anything]] = Field(
        default_factory=dict, description="USD by part, adding up: input, cached, output, searches"
    )
    latency_ms: Figure[float | None] = None
    time_to_first_token_ms: Figure[float | None] = None
    content_left_out: Figure[dict[str, int]] = Field(
        default_factory=dict,
        description="what of its content was not recorded, as the policy says: items by field",
    )
    streamed: Figure[bool | None] = Field(None, description="whether the answer was a stream")
    attempts: Annotated[list[Attempt], Kind.FIGURE, ATTEMPTS] = Field(
        default_factory=list, description="every request that its client made, if several"
    )

    span: Quotes[dict[str, Anything]] = Field(
        default_factory=dict,
        description="of a call that OpenTelemetry told of: its span, with the attributes that no "
        "other field holds",
    )

    error_type: Figure[str | None] = None
    error_message: Annotated[str | None, Kind.QUOTES, TEXT_OF_ERROR] = None
    error_traceback: Annotated[str | None, Kind.QUOTES, TEXT_OF_ERROR] = None
    http_status: Figure[int | None] = Field(None, description="of the provider's error")
    provider_request_id: Who[str | None] = Field(
        None, description="what the provider's support asks for"
    )
    error_details: Quotes[dict[str, Anything]] = Field(
        default_factory=dict, description="of the provider's error: code, retry_after, body"
    )
    ended_by: Figure[str | None] = Field(None, description="what ended a call that did not succeed")
    completed_at: Figure[UTCDatetime | None] = Field(None, description="UTC, milliseconds")


class Score(BaseModel):
    """What one source says of a call under one name; what it says last stands."""

    model_config = _BUILT_WHEN_USED

    name: Annotated[str, NAME_OF_SCORE]
    value: Annotated[bool | int | float | str, LABEL]
    source: Annotated[str | None, NAME_OF_SCORE] = Field(
        None, description="who says so: a user, an evaluator, a reviewer"
    )
    comment: Annotated[str | None, Kind.QUOTES, COMMENT] = None
    at: UTCDatetime | None = Field(None, description="when it was said, UTC, milliseconds")
    key: int | None = Field(None, description="its order: the highest of a name and source stands")


class Annotation(BaseModel):
    """A key of the metadata that was given after the start; what was given last stands."""

    model_config = _BUILT_WHEN_USED

    name: Annotated[str, AtMost(characters=2**15)]
    key: int | None = Field(None, description="its order: the highest of a name stands")


class LaterFields(BaseModel):
    """What is said of a call later, by whoever knows its id."""

    model_config = _BUILT_WHEN_USED

    scores: Annotated[list[Score], Kind.LABEL, SCORES] = Field(
        default_factory=list, description="one for each name and source, the last said last"
    )
    annotations: Quotes[list[Annotation]] = Field(
        default_factory=list, description="which keys of the metadata were given later"
    )


class SaidLater(LaterFields):
    """One saying of that kind, as it is recorded."""

    tags: Annotated[list[str], Kind.LABEL, TAGS] = Field(default_factory=list)
    metadata: Quotes[dict[str, Anything]] = Field(default_factory=dict)


class CallFields(StartFields, OutcomeFields, LaterFields):
    """One LLM call: its start, its outcome, what is said later, and what all write alike."""

    created_at: Figure[UTCDatetime | None] = Field(
        None, description="UTC, milliseconds: the id's instant"
    )
    expires_at: Figure[UTCDatetime | None] = Field(
        None, description="UTC: when MongoDB may delete the call"
    )
    imported_at: Figure[UTCDatetime | None] = Field(
        None, description="UTC: when it came out of a file; what it says is what the file said"
    )
    imported_from: Who[str | None] = Field(None, description="that file's name and sha256")
    encoding_notes: Annotated[list[str], Kind.QUOTES, AtMost(characters=4_096)] = Field(
        default_factory=list, description="what had to be changed to be stored, '<path>: <what>'"
    )
    redacted: Figure[dict[str, int]] = Field(
        default_factory=dict, description="how often each rule has replaced something"
    )
    media: Quotes[list[str]] = Field(
        default_factory=list, description="sha256 of everything of the call that is in GridFS"
    )


OUTCOME_FIELD_NAMES = tuple(OutcomeFields.model_fields)


def named(*kinds: Kind) -> tuple[str, ...]:
    """Return the names of the fields of these kinds, in the order of their declaration."""
    fields = CallFields.model_fields.items()
    return tuple(name for name, field in fields if not {*kinds}.isdisjoint(field.metadata))


def columns(*kinds: Kind) -> tuple[str, ...]:
    """Return the same as MongoDB's paths, with those of the task's fields in the task's place."""
    fields = CallFields.model_fields
    return tuple(path for name in named(*kinds) for path in _paths(name, fields[name]))


def _paths(name: str, field: FieldInfo) -> Iterator[str]:
    for kind in get_args(field.annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            own = [mark for mark in field.metadata if isinstance(mark, Kind)]
            for inner, inner_field in kind.model_fields.items():
                marks = [mark for mark in inner_field.metadata if isinstance(mark, Kind)]
                if marks in ([], own):  # one of a kind of its own is no part of its field's
                    yield f"{name}.{inner}"
            return
    yield name


SAID = named(Kind.SAID)
CONTENT = frozenset(named(Kind.LABEL, Kind.SAID, Kind.QUOTES))  # what a redact rule may be for
