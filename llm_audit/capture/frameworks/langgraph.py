"""LangGraph: a graph that runs, and so an agent of LangChain, is a call of the type AGENT.

A run that stops to ask somebody has not failed: it is INCOMPLETE, `ended_by` "paused", and has what
it asks; another run goes on.
"""

from collections.abc import Mapping
from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.langchain import about
from llm_audit.capture.frameworks.steps import Step, StepAnswer, hooked, start
from llm_audit.capture.patches import Hook
from llm_audit.context import current_context
from llm_audit.context.frames import Run

NAME = "langgraph"
_INTERRUPT = "__interrupt__"


class _Graph(Step):
    """A graph that is under way."""

    def __init__(self, call_id: str) -> None:
        self._state = _State()
        super().__init__(call_id, self._state)

    def returned(self, value: object) -> None:
        """Complete it, unless it has stopped to ask somebody."""
        if self._state.asks is None:
            super().returned(value)
        else:
            self._pause()

    @harmless
    def _pause(self) -> None:
        self.pause(response_message={"role": "assistant", "content": self._state.asks})


class _State(StepAnswer):
    """What a graph has yielded: states, what its nodes changed of them, or pieces of messages."""

    def __init__(self) -> None:
        super().__init__("assistant")
        self.asks: object = None
        self._message_id: object = None
        self._text = ""

    @harmless
    def add(self, item: Any) -> None:
        """Note what came, of the graph itself."""
        while isinstance(item, tuple) and item and isinstance(item[0], tuple | str):
            if item[0] and isinstance(item[0], tuple):
                return  # of a graph within it
            item = item[-1]  # without the mode of the stream
        if isinstance(item, Mapping) and item.keys() >= {"type", "ns", "data"}:  # of version 3
            if not item["ns"] and item["type"] in {"values", "updates"}:
                self._add_state({**item["data"], **_asked(item)})
        elif isinstance(item, tuple) and item:  # a piece of a message, and where it is from
            self._add_piece(item[0])
        else:
            self._add_state(item)

    def _add_piece(self, piece: Any) -> None:
        message_id, text = getattr(piece, "id", None), getattr(piece, "content", None)
        if message_id != self._message_id:
            self._message_id, self._text = message_id, ""
        if isinstance(text, str):
            self._text += text
            super().add(self._text)

    def _add_state(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            super().add(state)
            return
        if asked := state.get(_INTERRUPT):
            self.asks = [getattr(one, "value", one) for one in asked]
            return
        (first, *others) = state.values() or [None]
        if not others and isinstance(first, Mapping) and "messages" in first:
            state = first  # what one node has changed
        messages = state.get("messages")
        if isinstance(messages, list) and messages:
            state = getattr(messages[-1], "content", messages[-1])
        super().add(state)


def _asked(part: Mapping[str, Any]) -> dict[str, Any]:
    asked = part.get("interrupts")
    return {_INTERRUPT: asked} if asked else {}


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
    return _Graph(start(NAME, LLMCallTypeEnum.AGENT, name, given, about=said))


HOOKS = tuple(
    Hook("langgraph.pregel.main", "Pregel", method, hooked(_begin_graph))
    for method in ("stream", "astream")
)
