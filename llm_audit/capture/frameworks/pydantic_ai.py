"""pydantic-ai: a run of an agent is a call, around those of its model and its tools.

Its models that answer in this process, TestModel and FunctionModel, are recorded here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import (
    Asking,
    Step,
    StepAnswer,
    hooked,
    inside,
    is_on,
    start,
)
from llm_audit.capture.patches import Hook, Method
from llm_audit.context import Stay, current_context, leave, put_in_force
from llm_audit.context.frames import Run
from llm_audit.logger import LLMLogger

NAME = "pydantic-ai"


class _AgentRun:
    """A run that is under way; what is called until its end is below it.

    Args:
        agent: Whose.
        prompt: What it is given.
        kwargs: How it is run.
    """

    def __init__(self, agent: Any, prompt: object, kwargs: Mapping[str, Any]) -> None:
        outer = current_context()
        metadata = kwargs.get("metadata")
        about: dict[str, Any] = {"metadata": metadata if isinstance(metadata, Mapping) else {}}
        if kwargs.get("conversation_id") and outer.session_id is None:
            about["session_id"] = str(kwargs["conversation_id"])
        name = agent.name or "agent"
        call_id = start(NAME, LLMCallTypeEnum.AGENT, name, prompt, about=about)
        about["metadata"] = {**about["metadata"], "agent": name}
        self._step = Step(call_id, StepAnswer("assistant"))
        self._stay = Stay(inside(call_id, about))

    @harmless
    def leave(self) -> None:
        """Put back the context around it."""
        self._stay.end()

    @harmless
    def end(self, run: Any, error: BaseException | None) -> None:
        """Record how it ended."""
        if error is not None:
            self._step.failed(error)
        else:
            self._step.returned(getattr(getattr(run, "result", None), "output", None))


@harmless
def _begin_run(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _AgentRun | None:
    if not is_on():
        return None
    return _AgentRun(args[0], args[1] if len(args) > 1 else kwargs.get("user_prompt"), kwargs)


def _iterating(method: Method) -> Method:
    @wraps(method)
    @asynccontextmanager
    async def iterated(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        begun = _begin_run(args, kwargs)
        run, failed = None, None
        try:
            async with method(*args, **kwargs) as run:
                yield run
        except BaseException as error:
            failed = error
            raise
        finally:
            if begun is not None:
                begun.leave()
                begun.end(run, failed)

    return iterated


def _begin_tool(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    validated = args[1] if len(args) > 1 else kwargs["validated"]
    called, given = validated.call, validated.validated_args
    kind = LLMCallTypeEnum.TOOL_EXECUTION
    call_id = start(
        *(NAME, kind, called.tool_name, called.args if given is None else given),
        tool_call_id=called.tool_call_id,
    )
    return Step(call_id, StepAnswer("tool"))


class _InProcess(Asking):
    """A model of this process that is asked; its function may ask another, over the wire."""

    def __init__(self, model: Any, messages: Any) -> None:
        self._model, self._messages = model, messages
        super().__init__(dict)

    @harmless
    def returned(self, value: Any) -> None:
        """Record what it answered."""
        if self.is_sent:
            return
        usage = value.usage
        counted = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        message = _answer(value.parts)
        LLMLogger.complete(self._start(), response_message=message, tokens=counted)

    @harmless
    def failed(self, error: BaseException) -> None:
        """Record how it failed."""
        if not self.is_sent:
            LLMLogger.fail(self._start(), error)

    def _start(self) -> str:
        messages = [one for message in self._messages for one in _as_openai(message)]
        model = self._model
        return self.record(NAME, provider=model.system, model=model.model_name, messages=messages)


def _begin_model(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _InProcess:
    return _InProcess(args[0], args[1] if len(args) > 1 else kwargs["messages"])


@harmless
def _begin_stream(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _InProcess | None:
    if not is_on():
        return None
    asked = _begin_model(args, kwargs)
    put_in_force(asked.frame)
    return asked


def _streaming(method: Method) -> Method:
    @wraps(method)
    @asynccontextmanager
    async def streamed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        asked = _begin_stream(args, kwargs)
        stream, failed = None, None
        try:
            async with method(*args, **kwargs) as stream:
                yield stream
        except BaseException as error:
            failed = error
            raise
        finally:
            if asked is not None:
                _end_stream(asked, stream, failed)

    return streamed


@harmless
def _end_stream(asked: _InProcess, stream: Any, error: BaseException | None) -> None:
    leave(asked.frame)
    if error is not None:
        asked.failed(error)
    else:
        asked.returned(stream.get())


def _as_openai(message: Any) -> list[dict[str, Any]]:
    """Return a message of pydantic-ai's as those that OpenAI's API has for it."""
    if message.kind == "response":
        return [_answer(message.parts)]
    instructions = getattr(message, "instructions", None)
    system = [{"role": "system", "content": instructions}] if instructions else []
    parts = [part for part in message.parts if part.part_kind in _ROLES]
    return system + [
        {
            "role": _ROLES[part.part_kind],
            "content": part.content,
            **({"tool_call_id": part.tool_call_id} if part.part_kind == "tool-return" else {}),
        }
        for part in parts
    ]


_ROLES = {
    "system-prompt": "system",
    "user-prompt": "user",
    "tool-return": "tool",
    "retry-prompt": "user",
}


def _answer(parts: Any) -> dict[str, Any]:
    texts = [part.content for part in parts if part.part_kind == "text"]
    calls = [
        {
            "id": part.tool_call_id,
            "type": "function",
            "function": {"name": part.tool_name, "arguments": part.args_as_json_str()},
        }
        for part in parts
        if part.part_kind == "tool-call"
    ]
    message = {"role": "assistant", "content": "".join(texts) if texts else None}
    return {**message, "tool_calls": calls} if calls else message


_IN_PROCESS = (
    ("pydantic_ai.models.test", "TestModel"),
    ("pydantic_ai.models.function", "FunctionModel"),
)
HOOKS = (
    Hook("pydantic_ai.agent", "Agent", "iter", _iterating),
    Hook("pydantic_ai.tool_manager", "ToolManager", "execute_tool_call", hooked(_begin_tool)),
    *(Hook(module, model, "request", hooked(_begin_model)) for module, model in _IN_PROCESS),
    *(Hook(module, model, "request_stream", _streaming) for module, model in _IN_PROCESS),
)
