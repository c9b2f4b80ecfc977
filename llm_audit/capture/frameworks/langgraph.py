"""LangGraph: a graph that runs, and so an agent of LangChain, is a call of the type AGENT."""

from collections.abc import Mapping
from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.frameworks.langchain import about
from llm_audit.capture.frameworks.steps import Step, hooked, start
from llm_audit.capture.patches import Hook
from llm_audit.context import current_context
from llm_audit.context.frames import Run

NAME = "langgraph"


def _begin_graph(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    graph = args[0]
    given = args[1] if len(args) > 1 else kwargs.get("input")
    config = (args[2] if len(args) > 2 else kwargs.get("config")) or {}  # noqa: PLR2004
    # what the graph itself was bound to, as by `with_config`
    bound = getattr(graph, "config", None) or {}
    tags = [*(bound.get("tags") or ()), *(config.get("tags") or ())]
    thread = (config.get("configurable") or {}).get("thread_id")
    metadata = {**(bound.get("metadata") or {}), **(config.get("metadata") or {})}
    if thread:
        metadata.setdefault("thread_id", thread)
    said = about(current_context(), tags, metadata, run_id=config.get("run_id"))
    name = config.get("run_name") or graph.get_name()
    return Step(start(NAME, LLMCallTypeEnum.AGENT, name, given, about=said), "assistant", _answer)


def _answer(state: Any) -> object:
    """Return the last message of a state that has messages, the state of any other."""
    if isinstance(state, tuple) and state and isinstance(state[-1], Mapping):
        state = state[-1]  # with the mode of the stream before it
    messages = state.get("messages") if isinstance(state, Mapping) else None
    if not isinstance(messages, list) or not messages:
        return state
    return getattr(messages[-1], "content", messages[-1])


HOOKS = tuple(
    Hook("langgraph.pregel.main", "Pregel", method, hooked(_begin_graph))
    for method in ("stream", "astream")
)
