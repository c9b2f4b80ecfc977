"""LLMLogger: record that a call starts, and how it ended.

Nothing here touches the network, so one function serves sync and async code: what it returns is
the call's id, a `str`, and may be awaited.
"""

import asyncio
import atexit
import functools
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import Token
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ParamSpec

from bson.int64 import Int64
from uuid_utils import uuid7

from llm_audit import arguments, outcomes, redaction
from llm_audit.call import SCHEMA_VERSION, LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.context import CallContext, current_context, enter, leave
from llm_audit.errors import ConfigurationError, UsageError, log_once
from llm_audit.provider_response import read_response
from llm_audit.recorder.open_calls import OpenCall, open_calls
from llm_audit.recorder.precedence import Rank, created_at, outcome_key
from llm_audit.recorder.process import recorder
from llm_audit.settings import Settings, get_settings

P = ParamSpec("P")


class CallReference(str):
    """A call's id: a plain `str` that may also be awaited, which gives the same id."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, "CallReference"]:
        return self
        yield  # makes this a generator, which is what awaiting takes

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (str(self),))


def _never_hurts(function: Callable[P, str]) -> Callable[P, CallReference]:
    """Keep every fault of ours out of the audited code, except where strict mode asks for it."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> CallReference:
        try:
            return CallReference(function(*args, **kwargs))
        except (UsageError, ConfigurationError):
            raise  # raised in strict mode only
        except Exception as error:
            if get_settings().strict:
                raise
            log_once(f"{function.__name__} could not record a call: {type(error).__name__}.")
            return CallReference(args[0] if args and isinstance(args[0], str) else uuid7())

    return guarded


class LLMLogger:
    """Records LLM calls; every method may be called as it is or awaited."""

    @staticmethod
    @_never_hurts
    def start(
        *,
        call_type: LLMCallTypeEnum | str = LLMCallTypeEnum.CHAT,
        provider: str | None = None,
        model: str | None = None,
        messages: Iterable[Any] | None = None,
        input: Any = None,
        system_prompt: Any = None,
        tools: Iterable[Any] | None = None,
        tool_choice: Any = None,
        trace_id: object = None,
        session_id: object = None,
        user_id: object = None,
        company_id: object = None,
        parent_call_id: object = None,
        review_id: object = None,
        task_id: object = None,
        tags: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        **request_params: Any,
    ) -> str:
        """Record that a call begins; it is on disk when this returns.

        Ids not given come from `audit_context`, the Celery task or the enclosing `log_call`. They
        may be str, UUID or int and are stored as str.

        Args:
            call_type: What the call is made for.
            provider: Who is asked, e.g. "openrouter".
            model: As the request names it.
            messages: As the API speaks them; what is in the list now is what is stored.
            input: What embeddings and moderation take instead of messages.
            system_prompt: Where it is not one of the messages.
            tools: Tool definitions, as the API speaks them.
            tool_choice: As the API speaks it.
            trace_id: Joins the calls of one request.
            session_id: Joins the turns of one conversation.
            user_id: Whom the call is made for.
            company_id: The tenant.
            parent_call_id: The call that caused this one.
            review_id: The review that the call is about.
            task_id: The Celery task; known by itself where `celery_hooks` is installed.
            tags: Labels to filter by, added to the context's.
            metadata: Anything else by name, merged over the context's.
            temperature: As requested.
            max_tokens: As requested.
            **request_params: Every other parameter of the request.

        Returns:
            The call's id, a UUIDv7; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        call_uuid = uuid7()
        call_id = str(call_uuid)
        settings = get_settings()
        if not settings.enabled:
            return call_id
        context = current_context()
        parent = arguments.identifier("parent_call_id", parent_call_id) or context.parent_call_id
        trace = (
            arguments.identifier("trace_id", trace_id)
            or context.trace_id
            or _trace_of(parent, call_id)
        )
        recording = recorder()
        fields: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "call_type": arguments.call_type(call_type),
            "provider": arguments.text(provider),
            "model": arguments.text(model),
            "system_prompt": system_prompt,
            "messages": arguments.array("messages", messages),
            "input": input,
            "tools": arguments.array("tools", tools),
            "tool_choice": tool_choice,
            "temperature": arguments.number("temperature", temperature, request_params),
            "max_tokens": arguments.whole_number("max_tokens", max_tokens, request_params),
            "request_params": request_params or None,
            "trace_id": trace,
            "session_id": arguments.identifier("session_id", session_id) or context.session_id,
            "user_id": arguments.identifier("user_id", user_id) or context.user_id,
            "company_id": arguments.identifier("company_id", company_id) or context.company_id,
            "parent_call_id": parent,
            "review_id": arguments.identifier("review_id", review_id),
            "task_id": arguments.identifier("task_id", task_id) or context.task_id,
            "task": context.task,
            "tags": arguments.tags(context, tags),
            "metadata": arguments.metadata(context, metadata),
            "environment": settings.environment,
            "service": settings.service,
            **recording.origin,
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        notes: Sequence[str] = ()
        if settings.redact is not None:
            fields, notes = redaction.apply(settings.redact, fields)
        attempt_id = context.task.get("attempt_id") if context.task else None
        began = OpenCall(time.monotonic_ns(), call_uuid.timestamp, provider, model, attempt_id)
        open_calls.begin(call_id, began, trace)
        recording.record_start(call_id, fields, notes)
        return call_id

    @staticmethod
    @_never_hurts
    def complete(
        call_id: str,
        *,
        response_message: Any = None,
        tokens: Any = None,
        estimated_cost: float | None = None,
        finish_reason: str | None = None,
        response: Any = None,
        response_model: str | None = None,
        response_id: str | None = None,
        time_to_first_token_ms: float | None = None,
        status: LLMCallStatusEnum | str = LLMCallStatusEnum.SUCCESS,
    ) -> str:
        """Record that a call ended with a response; it is on disk when this returns.

        Args:
            call_id: What `start` returned.
            response_message: The message as the API gave it.
            tokens: A dict in any provider's naming, the usage object, or its `__dict__`.
            estimated_cost: USD; not given, it is computed from the model's price, if known.
            finish_reason: As the API spells it.
            response: The SDK's response object; what is not given otherwise is read from it.
            response_model: The model that answered.
            response_id: The provider's id of the response.
            time_to_first_token_ms: For streams.
            status: A terminal status, SUCCESS by default.

        Returns:
            The call's id; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        call_id = arguments.call_identifier(call_id)
        settings = get_settings()
        if not settings.enabled:
            return call_id
        known = read_response(response) if response is not None else {}
        call = open_calls.get(call_id)
        answered_by = response_model or known.get("response_model")
        fields = outcomes.response_fields(
            known.get("response_message") if response_message is None else response_message,
            known.get("usage") if tokens is None else tokens,
            estimated_cost,
            call.provider if call else None,
            (call.model if call else None, answered_by),
        )
        fields["status"] = arguments.terminal_status(status, LLMCallStatusEnum.SUCCESS)
        fields["other_choices"] = known.get("other_choices")
        fields["finish_reason"] = arguments.text(finish_reason or known.get("finish_reason"))
        fields["response_model"] = arguments.text(answered_by)
        fields["response_id"] = arguments.text(response_id or known.get("response_id"))
        fields["time_to_first_token_ms"] = arguments.milliseconds(
            "time_to_first_token_ms", time_to_first_token_ms
        )
        _end(settings, call_id, fields)
        return call_id

    @staticmethod
    @_never_hurts
    def fail(
        call_id: str, error: BaseException | str, *, status: LLMCallStatusEnum | str | None = None
    ) -> str:
        """Record that a call ended without a usable response; it is on disk when this returns.

        Timeouts give TIMEOUT, cancellation CANCELLED, anything else ERROR.

        Args:
            call_id: What `start` returned.
            error: The exception (type, message and traceback are kept), or a text.
            status: A terminal status instead of the one the error means.

        Returns:
            The call's id; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        call_id = arguments.call_identifier(call_id)
        settings = get_settings()
        if not settings.enabled:
            return call_id
        meant, fields = outcomes.error_fields(error)
        fields["status"] = meant if status is None else arguments.terminal_status(status, meant)
        _end(settings, call_id, fields)
        return call_id

    @staticmethod
    def log_call(**start_arguments: Any) -> "LoggedCall":
        """Record a call around a block, with `with` or `async with`; it gives the call's id.

        Calls started inside become its children. An exception inside fails the call and goes on
        up; leaving without `complete` ends it as INCOMPLETE.

        Args:
            **start_arguments: What `start` takes.
        """
        return LoggedCall(start_arguments)

    @staticmethod
    def end_open_calls(
        attempt_id: str | None, *, error: BaseException | None = None, ended_by: str = "task_ended"
    ) -> int:
        """End what one attempt of a task left open, as far as this process knows why.

        A real outcome that comes later still counts more.

        Args:
            attempt_id: Of the `task` in the context; None ends every open call of the process.
            error: What ended the attempt, if it was an exception.
            ended_by: The cause, where there is no exception.

        Returns:
            How many calls were ended.
        """
        call_ids = open_calls.unended(attempt_id)
        for call_id in call_ids:
            _end_unfinished(call_id, error, ended_by)
        return len(call_ids)


class LoggedCall:
    """A call recorded around a block; made by `LLMLogger.log_call`."""

    def __init__(self, start_arguments: dict[str, Any]) -> None:
        self._start_arguments = start_arguments
        self._call_id = CallReference()
        self._token: Token[CallContext] | None = None

    def __enter__(self) -> CallReference:
        """Start the call, and make it the parent of the calls inside."""
        self._call_id = LLMLogger.start(**self._start_arguments)
        inside = current_context().extended(
            parent_call_id=str(self._call_id), trace_id=open_calls.trace_of(self._call_id)
        )
        self._token = enter(inside)
        return self._call_id

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the call, if the block did not."""
        if self._token is not None:
            leave(self._token)
        if open_calls.get(self._call_id) is None:
            return
        # an ordinary exception is the owner's word; of SystemExit and the like others may know why
        if isinstance(error, Exception | asyncio.CancelledError):
            LLMLogger.fail(self._call_id, error)
        else:
            _end_unfinished(self._call_id, error, "block_ended")

    async def __aenter__(self) -> CallReference:
        """Do what `__enter__` does."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do what `__exit__` does."""
        self.__exit__(kind, error, trace)


@_never_hurts
def _end_unfinished(call_id: str, error: BaseException | None, ended_by: str) -> str:
    """End a call without knowing its outcome for certain; a real one still beats this."""
    status, fields = LLMCallStatusEnum.INCOMPLETE, {"ended_by": ended_by}
    if error is not None:
        status, fields = outcomes.error_fields(error)
    _end(get_settings(), call_id, fields | {"status": status}, Rank.UNWINDING)
    return call_id


def _end(
    settings: Settings, call_id: str, fields: dict[str, Any], rank: Rank | None = None
) -> None:
    """Journal an outcome, spoken with the rank given or else as owner or from elsewhere."""
    if rank is Rank.UNWINDING:
        call = open_calls.end_unfinished(call_id)
    elif (call := open_calls.end(call_id)) is not None:
        rank = Rank.OWNER
    elif open_calls.trace_of(call_id) is not None:
        log_once("A call was ended twice: the first complete() or fail() stands.")
        recorder().ended_twice += 1
        return
    else:
        rank = Rank.ELSEWHERE
    if call is not None:
        elapsed_ms = (time.monotonic_ns() - call.started_ns) / 1e6
        fields["latency_ms"] = round(elapsed_ms, 3)
        ended = outcomes.moment(call.created_ms + elapsed_ms)
    else:
        ended = datetime.now(UTC)
        began = created_at(call_id)
        if began is not None:
            fields["latency_ms"] = max(0.0, round((ended - began).total_seconds() * 1000, 3))
    fields["completed_at"] = ended
    fields["outcome_key"] = key = Int64(outcome_key(rank, ended))
    fields = {name: value for name, value in fields.items() if value is not None}
    notes: Sequence[str] = ()
    if settings.redact is not None:
        fields, notes = redaction.apply(settings.redact, fields)
    recorder().record_outcome(call_id, key, fields, notes, own=rank is Rank.OWNER)


def _trace_of(parent_call_id: str | None, call_id: str) -> str:
    """Return the trace of a call that names none: its parent's, OpenTelemetry's, or a new one.

    A new trace is named after its first call, so a child finds it even in another process that has
    never seen its parent.
    """
    if parent_call_id is not None:
        known = open_calls.trace_of(parent_call_id)
        if known is not None:
            return known
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if opentelemetry is not None:
        span = opentelemetry.get_current_span().get_span_context()
        if span.is_valid:
            return f"{span.trace_id:032x}"
    return parent_call_id or call_id


# Registered after the recorder's own, so it runs before: what is still open is journaled first.
atexit.register(LLMLogger.end_open_calls, None, ended_by="process_exit")
