"""CrewAI: crews, flows and agents that run are calls of the type AGENT, around their tools.

The methods that run them are where these begin and end. Its event bus calls handlers in threads of
its own, so nobody could put a context in force there, and tells of no cancelled run.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.frameworks.steps import Step, StepAnswer, hooked, start
from llm_audit.capture.patches import Hook
from llm_audit.context import current_context
from llm_audit.context.frames import Run

NAME = "crewai"


def _begin_crew(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run | None:
    crew = args[0]
    if _is_handed_on(crew, kwargs):
        return None
    given = args[1] if len(args) > 1 else kwargs.get("inputs")
    return _agent(crew.name or "crew", given, {"crew": crew.name})


def _begin_flow(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run | None:
    flow = args[0]
    if _is_handed_on(flow, kwargs) or type(flow).__module__.startswith("crewai."):
        return None  # CrewAI's own agents run as flows, too
    given = args[1] if len(args) > 1 else kwargs.get("inputs")
    name = getattr(flow, "name", None) or type(flow).__name__
    return _agent(name, given, {"flow": name})


def _is_handed_on(runner: Any, kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a method only begins another run, of this or of a restored one."""
    return bool(getattr(runner, "stream", False)) or kwargs.get("from_checkpoint") is not None


def _begin_task(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    agent = args[0]
    task = args[1] if len(args) > 1 else kwargs["task"]
    context = args[2] if len(args) > 2 else kwargs.get("context")  # noqa: PLR2004
    given = {
        "task": task.description,
        "expected_output": task.expected_output,
        "context": context,
    }
    own = {"agent": agent.role, "task": task.name, "task_id": str(task.id)}
    return _agent(agent.role, {name: value for name, value in given.items() if value}, own)


def _begin_agent(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    agent = args[0]
    given = args[1] if len(args) > 1 else kwargs.get("messages")
    return _agent(agent.role, given, {"agent": agent.role})


def _begin_agent_in_plain_code(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run | None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _begin_agent(args, kwargs)
    return None  # within a loop it hands on a coroutine of `kickoff_async`


def _agent(name: object, given: object, own: Mapping[str, Any]) -> Run:
    around = current_context().metadata.get(NAME)
    known = {**(around if isinstance(around, Mapping) else {}), **own}
    about = {"metadata": {NAME: {name: value for name, value in known.items() if value}}}
    call_id = start(NAME, LLMCallTypeEnum.AGENT, str(name).strip(), given, about=about)
    return Step(call_id, StepAnswer("assistant", _raw), about)


def _raw(output: Any) -> object:
    """Return the text of what a crew or an agent gave back."""
    return getattr(output, "raw", output)


def _begin_tool(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    tool, *given = args
    return _tool(tool.name, {**kwargs, **({"args": given} if given else {})})


def _begin_invoked(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    return _tool(args[0].name, args[1] if len(args) > 1 else kwargs.get("input"))


def _tool(name: object, given: object) -> Run:
    call_id = start(NAME, LLMCallTypeEnum.TOOL_EXECUTION, name, given)
    return Step(call_id, StepAnswer("tool"))


_RUNS = (
    *(("crewai.crew", "Crew", method, _begin_crew) for method in ("kickoff", "akickoff")),
    ("crewai.flow.runtime", "Flow", "kickoff_async", _begin_flow),
    *(
        ("crewai.agent.core", "Agent", method, _begin_task)
        for method in ("execute_task", "aexecute_task")
    ),
    ("crewai.agent.core", "Agent", "kickoff", _begin_agent_in_plain_code),
    ("crewai.agent.core", "Agent", "kickoff_async", _begin_agent),
    *(
        ("crewai.tools.base_tool", tool, method, _begin_tool)
        for tool in ("BaseTool", "Tool")
        for method in ("run", "arun")
    ),
    *(
        ("crewai.tools.structured_tool", "CrewStructuredTool", method, _begin_invoked)
        for method in ("invoke", "ainvoke")
    ),
)
HOOKS = tuple(Hook(module, owner, name, hooked(begin)) for module, owner, name, begin in _RUNS)
