"""pydantic-ai: a run of an agent is a call, around those of its model and its tools."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import Step, hooked, start
from llm_audit.capture.patches import Hook, Method
from llm_audit.context import Stay, current_context
from llm_audit.context.frames import Run
from llm_audit.recorder.captured import ALL, Captured
from llm_audit.recorder.process import open_calls
from llm_audit.settings import get_settings

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
        trace_id = open_calls().trace_of(call_id)
        inside = outer.extended(parent_call_id=str(call_id), trace_id=trace_id, **about)
        self._step = Step(call_id, "assistant")
        self._stay = Stay(inside)

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
    if ALL not in Captured.clients or not get_settings().enabled:
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
    return Step(call_id, "tool")


HOOKS = (
    Hook("pydantic_ai.agent", "Agent", "iter", _iterating),
    Hook("pydantic_ai.tool_manager", "ToolManager", "execute_tool_call", hooked(_begin_tool)),
)
