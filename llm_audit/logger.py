"""LLMLogger: record that a call starts, and how it ended.

Nothing here touches the network, so one function serves sync and async code: what it returns is
the call's id, a `str`, and may be awaited.
"""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Never

from llm_audit import causes, recording
from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.context import Stay, current_context
from llm_audit.encoding.absent import is_absent
from llm_audit.given import scores
from llm_audit.recorder.process import open_calls
from llm_audit.references import CallReference
from llm_audit.runtime import clock


class LLMLogger:
    """Records LLM calls; every method may be called as it is or awaited."""

    @staticmethod
    def start(
        *,
        call_type: LLMCallTypeEnum | str | None = None,
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
    ) -> CallReference:
        """Record that a call begins; it is on disk when this returns.

        Ids not given come from `audit_context`, the Celery task or the enclosing `log_call`. They
        may be str, UUID or int and are stored as str.

        Args:
            call_type: What the call is made for; by default what `audit_context` says, else CHAT.
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
            **request_params: Every other parameter of the request. One that is an argument above
                but for a few letters is a mistake.

        Returns:
            The call's id, a UUIDv7; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        given = {
            "call_type": call_type,
            "provider": provider,
            "model": model,
            "messages": messages,
            "input": input,
            "system_prompt": system_prompt,
            "tools": tools,
            "tool_choice": tool_choice,
            "trace_id": trace_id,
            "session_id": session_id,
            "user_id": user_id,
            "company_id": company_id,
            "parent_call_id": parent_call_id,
            "review_id": review_id,
            "task_id": task_id,
            "tags": tags,
            "metadata": metadata,
            "temperature": temperature,
            "max_tokens": max_tokens,
        }
        return recording.start(LLMLogger.start, given, request_params)

    @staticmethod
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
        error: BaseException | str | None = None,
        status: LLMCallStatusEnum | str | None = None,
        **unknown: Never,
    ) -> CallReference:
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
            error: What went wrong all the same, an exception or a text: see `fail`.
            status: A terminal status instead of SUCCESS, or of the one that the error means.
            **unknown: Nothing: a misspelt argument is a mistake, and is left out.

        Returns:
            The call's id; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        ended_ns = clock.monotonic_ns()
        given = {
            "response_message": response_message,
            "tokens": tokens,
            "estimated_cost": estimated_cost,
            "finish_reason": finish_reason,
            "response": response,
            "response_model": response_model,
            "response_id": response_id,
            "time_to_first_token_ms": time_to_first_token_ms,
            "status": status,
        }
        if error is not None and not is_absent(error):
            given["error"] = error
        return recording.end(LLMLogger.complete, call_id, given, unknown, ended_ns)

    @staticmethod
    def fail(
        call_id: str,
        error: BaseException | str,
        *,
        response_message: Any = None,
        tokens: Any = None,
        estimated_cost: float | None = None,
        finish_reason: str | None = None,
        response: Any = None,
        response_model: str | None = None,
        response_id: str | None = None,
        time_to_first_token_ms: float | None = None,
        status: LLMCallStatusEnum | str | None = None,
        **unknown: Never,
    ) -> CallReference:
        """Record that a call ended without a usable response; it is on disk when this returns.

        Timeouts give TIMEOUT, cancellation CANCELLED, anything else ERROR. What ends the process,
        SystemExit say, gives INCOMPLETE until somebody knows better: the call itself with
        `complete`, or a Celery worker's main process.

        Args:
            call_id: What `start` returned.
            error: The exception (type, message, traceback, and what it says of the provider's
                error are kept), or a text. If it carries a response, that is read.
            response_message: What had been said until then, as the API gives it.
            tokens: As in `complete`.
            estimated_cost: As in `complete`.
            finish_reason: As in `complete`.
            response: As in `complete`.
            response_model: As in `complete`.
            response_id: As in `complete`.
            time_to_first_token_ms: As in `complete`.
            status: A terminal status instead of the one the error means.
            **unknown: Nothing: a misspelt argument is a mistake, and is left out.

        Returns:
            The call's id; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        ended_ns = clock.monotonic_ns()
        given = {
            "response_message": response_message,
            "tokens": tokens,
            "estimated_cost": estimated_cost,
            "finish_reason": finish_reason,
            "response": response,
            "response_model": response_model,
            "response_id": response_id,
            "time_to_first_token_ms": time_to_first_token_ms,
            "status": status,
            "error": error,
        }
        return recording.end(LLMLogger.fail, call_id, given, unknown, ended_ns)

    @staticmethod
    def score(
        call_id: str,
        name: str,
        value: bool | float | str,  # noqa: FBT001 - a thumb is said as True or False
        *,
        comment: str | None = None,
        source: str | None = None,
        **unknown: Never,
    ) -> CallReference:
        """Record what somebody or something thinks of a call; it is on disk when this returns.

        The call may be another process's, and may be over. It keeps one score for each name and
        source: what is said last stands.

        Args:
            call_id: The call.
            name: What is judged, e.g. "helpful".
            value: True or False, a number, or a label.
            comment: Why.
            source: Who judges, e.g. "user", or the name of an evaluator.
            **unknown: Nothing: a misspelt argument is a mistake, and is left out.

        Returns:
            The call's id; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        return recording.say_later(
            LLMLogger.score,
            call_id,
            unknown,
            lambda: scores.score_fields(name, value, comment, source),
        )

    @staticmethod
    def annotate(
        call_id: str,
        *,
        tags: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **unknown: Never,
    ) -> CallReference:
        """Add tags and metadata to a call, whoever made it; it is on disk when this returns.

        Args:
            call_id: The call.
            tags: Added to those that it has.
            metadata: Merged over what it has, key by key: what is given last stands.
            **unknown: Nothing: a misspelt argument is a mistake, and is left out.

        Returns:
            The call's id; await it or not.

        Raises:
            UsageError: In strict mode, when an argument is wrong.
        """
        return recording.say_later(
            LLMLogger.annotate,
            call_id,
            unknown,
            lambda: scores.annotation_fields(tags, metadata),
        )

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
        attempt_id: str | None, *, error: BaseException | None = None, ended_by: str | None = None
    ) -> int:
        """End what one attempt of a task left open, as far as this process knows why.

        A real outcome that comes later still counts more.

        Args:
            attempt_id: Of the `task` in the context; None ends every open call of the process.
            error: What ended the attempt, if it was an exception.
            ended_by: The cause; by default what the exception means, else "task_ended".

        Returns:
            How many calls were ended.
        """
        return recording.end_open_calls(attempt_id, error, ended_by)


class LoggedCall:
    """A call recorded around a block; made by `LLMLogger.log_call`."""

    def __init__(self, start_arguments: dict[str, Any]) -> None:
        self._start_arguments = start_arguments
        self._call_id = CallReference()
        self._stay: Stay | None = None

    def __enter__(self) -> CallReference:
        """Start the call, and make it the parent of the calls inside."""
        self._call_id = LLMLogger.start(**self._start_arguments)
        try:
            inside = current_context().extended(
                parent_call_id=str(self._call_id), trace_id=open_calls().trace_of(self._call_id)
            )
            self._stay = Stay(inside)
            return self._call_id  # noqa: TRY300  (in here, or what strikes now is not caught)
        except BaseException as error:  # a time limit; then nobody calls `__exit__`
            self.__exit__(type(error), error, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the call, if the block did not."""
        try:
            self._leave(error)
        except BaseException as struck:  # a time limit, and nobody calls this again
            self._leave(error or struck)
            raise

    def _leave(self, error: BaseException | None) -> None:
        if self._stay is not None:
            self._stay.end(None if error is None else type(error))
        call = open_calls().get(self._call_id)
        if call is None or call.over:
            return
        if error is not None:
            LLMLogger.fail(self._call_id, error)
        elif not call.unfinished:
            recording.end_unfinished(self._call_id, None, causes.BLOCK_ENDED)

    async def __aenter__(self) -> CallReference:
        """Do what `__enter__` does."""
        return await self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do what `__exit__` does."""
        self.__exit__(kind, error, trace)
        await self._call_id
