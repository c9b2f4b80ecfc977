"""LangChain: which run a call belongs to, with its tags and metadata; tools; answers of no wire.

A model's methods are where its run begins and ends, whatever ends it. What the run is called, a
callback handler tells, which every callback manager gets. So nothing stays in force when a run is
cancelled, of which no callback hears.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from types import MappingProxyType
from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import (
    Asking,
    Step,
    StepAnswer,
    hooked,
    is_on,
    start,
    trace_shared,
)
from llm_audit.capture.patches import Hook, Method
from llm_audit.context import CallContext, current_context
from llm_audit.context.frames import Run, innermost
from llm_audit.logger import LLMLogger

NAME = "langchain"
_CALLBACKS, _MESSAGES = "langchain_core.callbacks.base", "langchain_core.messages"
# of the machinery, not of whoever runs it
_OWN_METADATA = ("langgraph_", "checkpoint_", "lc_", "ls_", "__")
_OWN_TAGS = ("seq:", "map:", "graph:", "langsmith:")
_THREAD = "thread_id"  # LangGraph's name for a conversation
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def about(
    outer: CallContext,
    tags: Iterable[Any] | None,
    metadata: Mapping[str, Any] | None,
    **run: object,
) -> dict[str, Any]:
    """Return what a call can inherit of a run, as `audit_context` takes it.

    Args:
        outer: What is in force around the run.
        tags: The run's.
        metadata: The run's.
        **run: Its ids and name, as far as they are known.
    """
    metadata = metadata or {}
    own: dict[str, Any] = {name: str(value) for name, value in run.items() if value is not None}
    own |= {
        name: value
        for name, value in metadata.items()
        if name.startswith("langgraph_") and type(value) in {str, int}  # the node, and the step
    }
    given = {name: value for name, value in metadata.items() if not name.startswith(_OWN_METADATA)}
    said: dict[str, Any] = {"metadata": {**given, **({NAME: own} if own else {})}}
    said["tags"] = [tag for tag in tags or () if not str(tag).startswith(_OWN_TAGS)]
    if (thread := given.get(_THREAD)) and outer.session_id is None:
        said["session_id"] = str(thread)
    return {name: value for name, value in said.items() if value}


@dataclass(eq=False, slots=True)
class _Asked:
    """One run of a model, as a callback tells of it."""

    name: object
    run_id: object
    parent_run_id: object
    tags: Iterable[Any] | None
    metadata: Mapping[str, Any] | None
    messages: Any = None
    prompt: Any = None
    answer: Any = None  # generations, the first counts
    is_answered: bool = False

    def about(self, outer: CallContext, **more: object) -> dict[str, Any]:
        """Return what a call inherits of it."""
        ids = {"run_name": self.name, "run_id": self.run_id, "parent_run_id": self.parent_run_id}
        return about(outer, self.tags, self.metadata, **ids, **more)


class _ModelRun(Asking):
    """A model that is asked: calls made meanwhile know its run.

    If none is made, the answer came from no wire, and is recorded here.
    """

    def __init__(self, model: object) -> None:
        self.asked: dict[object, _Asked] = {}
        self._model = model
        super().__init__(self._known)

    def _known(self) -> Mapping[str, Any] | None:
        if len(self.asked) != 1:  # several at once: whose call this is, nobody knows
            return None
        (asked,) = self.asked.values()
        return asked.about(self.outer)

    def returned(self, value: object) -> None:
        """Record what no wire has seen."""
        del value
        self._record(None)

    def failed(self, error: BaseException) -> None:
        """Record the same of what failed."""
        self._record(error)

    @harmless
    def _record(self, error: BaseException | None) -> None:
        if self.is_sent:
            return
        for asked in self.asked.values():
            self._record_one(asked, error)

    def _record_one(self, asked: _Asked, error: BaseException | None) -> None:
        known = asked.metadata or {}
        answer = _first(asked.answer)
        usage = dict(getattr(answer, "usage_metadata", None) or {})
        is_cached = usage.get("total_cost") == 0  # LangChain says so of an answer from its cache
        said = asked.about(self.outer, cache_hit=True if is_cached else None)
        call_id = self.record(
            NAME,
            call_type=None if asked.prompt is None else LLMCallTypeEnum.COMPLETION,
            provider=known.get("ls_provider") or NAME,
            model=known.get("ls_model_name") or type(self._model).__name__,
            messages=_as_openai(asked.messages),
            input=asked.prompt,
            temperature=known.get("ls_temperature"),
            max_tokens=known.get("ls_max_tokens"),
            **said,
        )
        if error is not None and not asked.is_answered:
            LLMLogger.fail(call_id, error)
            return
        facts = getattr(answer, "response_metadata", None) or {}
        LLMLogger.complete(
            call_id,
            response_message=_message(answer),
            tokens=None if is_cached else usage or None,
            estimated_cost=0.0 if is_cached else None,
            finish_reason=facts.get("finish_reason"),
            response_model=facts.get("model_name"),
        )


class _Handler:
    """Tells the run of a model what LangChain says of it; a callback handler's other half.

    It runs where LangChain runs, so it has the context of the run, or a copy of it.
    """

    run_inline = True
    ignore_chain = ignore_agent = ignore_retriever = ignore_retry = ignore_custom_event = True

    @harmless
    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, **said: Any
    ) -> None:
        """Note a run of a chat model."""
        _note(serialized, run_id, said, messages=messages)

    @harmless
    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: Any, **said: Any) -> None:
        """Note a run of a model that completes texts."""
        _note(serialized, run_id, said, prompt=prompts[0] if len(prompts) == 1 else prompts)

    @harmless
    def on_llm_end(self, response: Any, *, run_id: Any, **_: Any) -> None:
        """Note what it answered."""
        run = _run_here()
        if run is not None and (asked := run.asked.get(run_id)):
            asked.answer, asked.is_answered = response, True


def _note(serialized: Any, run_id: Any, said: Mapping[str, Any], **given: Any) -> None:
    run = _run_here()
    if run is None:
        return
    name = said.get("name") or (serialized or _NOTHING).get("name")
    parent, tags, metadata = (said.get(name) for name in ("parent_run_id", "tags", "metadata"))
    run.asked[run_id] = _Asked(name, run_id, parent, tags, metadata, **given)


def _run_here() -> _ModelRun | None:
    run = getattr(innermost().make, "__self__", None)
    return run if isinstance(run, _ModelRun) else None


def _first(response: Any) -> Any:
    """Return the first message, or the first text, of what a model answered."""
    generations = getattr(response, "generations", None)
    while isinstance(generations, list) and generations:
        generations = generations[0]
    return getattr(generations, "message", None) or getattr(generations, "text", None)


def _message(answer: Any) -> dict[str, Any] | None:
    if answer is None or isinstance(answer, str):
        return None if answer is None else {"role": "assistant", "content": answer}
    (message,) = _as_openai([answer]) or [{"role": "assistant", "content": str(answer)}]
    return dict(message)


def _as_openai(messages: Any) -> list[Any] | None:
    """Return messages of LangChain's as OpenAI's API speaks them."""
    if messages is None:
        return None
    converted: list[Any] = sys.modules[_MESSAGES].convert_to_openai_messages(
        messages[0] if messages and isinstance(messages[0], list) else messages
    )
    return converted


@cache
def _handler(base: type) -> object:
    return type("LLMAuditHandler", (_Handler, base), {})()


def _with_handler(init: Method) -> Method:
    """Return an `__init__` of callback managers that gives each our handler."""

    @wraps(init)
    def initialised(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if is_on():
            _add_handler(self)

    return initialised


@harmless
def _add_handler(manager: Any) -> None:
    ours = _handler(sys.modules[_CALLBACKS].BaseCallbackHandler)
    for name in ("handlers", "inheritable_handlers"):
        handlers = getattr(manager, name)
        if not any(one is ours for one in handlers):
            setattr(manager, name, [*handlers, ours])  # the list may be the app's


def _begin_model(args: tuple[Any, ...], _: Mapping[str, Any]) -> Run:
    return _ModelRun(args[0])


def _begin_tool(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    tool = args[0]
    given = args[1] if len(args) > 1 else kwargs.get("tool_input")
    tags, metadata, run_id = (kwargs.get(name) for name in ("tags", "metadata", "run_id"))
    said = about(current_context(), tags, metadata, run_id=run_id)
    called = {"tool_call_id": kwargs.get("tool_call_id")} if kwargs.get("tool_call_id") else {}
    kind = LLMCallTypeEnum.TOOL_EXECUTION
    call_id = start(NAME, kind, tool.name, given, about=said, **called)
    return Step(call_id, StepAnswer("tool", _of_tool))


def _of_tool(result: Any) -> object:
    """Return what a tool gave back, out of the message that it may be in."""
    if getattr(result, "type", None) != "tool":
        return result
    return {"role": "tool", "content": result.content, "tool_call_id": result.tool_call_id}


def _begin_chain(_: tuple[Any, ...], __: Mapping[str, Any]) -> Run:
    return trace_shared()


def _begin_retriever(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    retriever = args[0]
    asked = args[1] if len(args) > 1 else kwargs.get("input")
    config = (args[2] if len(args) > 2 else kwargs.get("config")) or {}  # noqa: PLR2004
    said = about(
        current_context(),
        [*(retriever.tags or ()), *(config.get("tags") or ())],
        {**(retriever.metadata or {}), **(config.get("metadata") or {})},
        run_id=config.get("run_id"),
    )
    name = config.get("run_name") or retriever.get_name()
    call_id = start(NAME, LLMCallTypeEnum.TOOL_EXECUTION, name, asked, about=said)
    return Step(call_id, StepAnswer("tool", _of_retriever))


def _of_retriever(documents: Any) -> object:
    return [
        {"content": document.page_content, "metadata": document.metadata, "id": document.id}
        for document in documents
    ]


_MODELS = (
    ("langchain_core.language_models.chat_models", "BaseChatModel"),
    ("langchain_core.language_models.llms", "BaseLLM"),
)
_RUN, _STREAM = ("invoke", "ainvoke"), ("stream", "astream")
_CHAINS = (
    ("base", "RunnableSequence", _RUN + _STREAM),
    ("base", "RunnableParallel", _RUN + _STREAM),
    ("fallbacks", "RunnableWithFallbacks", _RUN + _STREAM),
    ("retry", "RunnableRetry", _RUN),
)
HOOKS = (
    Hook(_CALLBACKS, "BaseCallbackManager", "__init__", _with_handler),
    *(
        Hook(module, owner, method, hooked(_begin_model))
        for module, owner in _MODELS
        for method in ("generate", "agenerate", "stream", "astream")
    ),
    *(
        Hook("langchain_core.tools.base", "BaseTool", method, hooked(_begin_tool))
        for method in ("run", "arun")
    ),
    *(
        Hook("langchain_core.retrievers", "BaseRetriever", method, hooked(_begin_retriever))
        for method in ("invoke", "ainvoke")
    ),
    # a chain is no call, but what it calls is of one trace
    *(
        Hook(f"langchain_core.runnables.{module}", owner, method, hooked(_begin_chain))
        for module, owner, methods in _CHAINS
        for method in methods
    ),
)
