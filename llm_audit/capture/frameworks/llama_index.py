"""LlamaIndex: its spans of agents, engines, retrievers and tools are calls, around those they make.

Its dispatcher is told where a span begins and ends, whatever ends it. The dispatcher's methods are
looked at instead of a span handler put in: that would swallow time limits which strike in it, and
dispatchers that do not propagate would not tell it. Models and embeddings of no wire are recorded
by their spans, too.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import wraps
from types import AsyncGeneratorType, GeneratorType
from typing import Any
from weakref import WeakKeyDictionary

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import Asking, Step, StepAnswer, is_on, start
from llm_audit.capture.patches import Hook, Method
from llm_audit.context import current_context, leave, put_in_force
from llm_audit.context.frames import Run
from llm_audit.context.functions import wrapped
from llm_audit.logger import LLMLogger

NAME = "llama-index"
_OPEN_MAX = 10_000  # spans that are never finished
_AGENT, _TOOL = LLMCallTypeEnum.AGENT, LLMCallTypeEnum.TOOL_EXECUTION
# which of its classes does what by which methods; all else is machinery
_STEPS = {
    "BaseQueryEngine": (_AGENT, ("query", "aquery")),
    "BaseChatEngine": (_AGENT, ("chat", "achat", "stream_chat", "astream_chat")),
    "Workflow": (_AGENT, ("run",)),
    "BaseRetriever": (_TOOL, ("retrieve", "aretrieve")),
    "BaseTool": (_TOOL, ("call", "acall", "__call__")),
}
_MODELS = {
    "BaseLLM": ("chat", "achat", "complete", "acomplete"),
    "BaseEmbedding": (
        *("get_query_embedding", "aget_query_embedding"),
        *("get_text_embedding", "aget_text_embedding"),
        *("get_text_embedding_batch", "aget_text_embedding_batch"),
    ),
}
_STREAMS = (GeneratorType, AsyncGeneratorType)
_TEXTS = ("prompt", "query", "text", "texts")
_OWN_TAGS = "llamaindex."


@dataclass(eq=False, slots=True)
class _Open:
    """A span that is a call, or may become one."""

    of: object
    run: "Step | _Asked"


_open: OrderedDict[str, _Open] = OrderedDict()


class _Asked(Asking):
    """A model or an embedding that is asked; if nothing is sent, it is in this process.

    Args:
        model: Whichever.
        given: The arguments of its method.
        about: What is known of the call.
    """

    def __init__(self, model: Any, given: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self._model, self._given, self._known = model, given, about
        super().__init__(lambda: about)

    @harmless
    def returned(self, value: object) -> None:
        """Record an answer that no wire has seen."""
        if not self.is_sent:
            message = None if isinstance(value, list) else _message(value)
            LLMLogger.complete(self._start(), response_message=message)

    @harmless
    def failed(self, error: BaseException) -> None:
        """Record the same of what failed."""
        if not self.is_sent:
            LLMLogger.fail(self._start(), error)

    def _start(self) -> str:
        is_embedding = "BaseEmbedding" in _classes(self._model)
        messages = self._given.get("messages")
        return self.record(
            NAME,
            call_type=LLMCallTypeEnum.EMBEDDING if is_embedding else None,
            provider=NAME,
            model=_name_of(self._model),
            messages=None if messages is None else [_as_openai(message) for message in messages],
            input=next((self._given[name] for name in _TEXTS if name in self._given), None),
            **self._known,
        )


class _Streamed(Run):
    """A stream that an engine has answered with, in the context in which it was made.

    Whoever reads it may do so when the engine's span is over: its call ends with the stream.
    """

    def __init__(self) -> None:
        super().__init__(current_context())
        self.steps: list[Step] = []
        self._texts: list[str] = []

    def gave(self, item: object) -> None:
        """Note what the stream says."""
        self._texts.append(str(item))

    def returned(self, value: object) -> None:
        """Complete the calls that have answered with it."""
        del value
        for step in self.steps:
            step.returned("".join(self._texts))

    def failed(self, error: BaseException) -> None:
        """Fail them."""
        for step in self.steps:
            step.failed(error)


_streams: "WeakKeyDictionary[Any, _Streamed]" = WeakKeyDictionary()


@harmless
def _begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    said = _said(args, kwargs)
    span_id, one = said["id_"], said.get("instance")
    if one is None or not is_on():
        return
    given = getattr(said.get("bound_args"), "arguments", {})
    run = _run_of(one, span_id, given, said)
    if run is None:
        return
    _open[span_id] = _Open(one, run)
    put_in_force(run.frame)
    if len(_open) > _OPEN_MAX:
        _open.popitem(last=False)


def _run_of(
    one: Any, span_id: str, given: Mapping[str, Any], said: Mapping[str, Any]
) -> "Step | _Asked | None":
    method = span_id.partition("-")[0].rpartition(".")[2]
    tags = said.get("tags") or {}
    metadata = {name: value for name, value in tags.items() if not name.startswith(_OWN_TAGS)}
    about = {"metadata": {**metadata, "llama_index": {"span_id": span_id}}}
    for name in _classes(one):
        if method in _MODELS.get(name, ()):
            return _Asked(one, given, about)
        kind, methods = _STEPS.get(name, (_AGENT, ()))
        if method in methods:
            around = _open.get(said.get("parent_id") or "")
            if around is not None and around.of is one:  # one method that calls another
                return None
            named = _name_of(one)
            call_id = start(NAME, kind, named, _given(given), about=about)
            if name == "Workflow":
                about = {"metadata": {**metadata, "agent": named}}
            return Step(
                call_id, StepAnswer("tool" if kind is _TOOL else "assistant", _answer), about
            )
    return None


@harmless
def _end(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    said = _said(args, kwargs)
    opened = _open.pop(said["id_"], None)
    if opened is None:
        return
    leave(opened.run.frame)
    error, result = said.get("err"), said.get("result")
    if error is not None:
        opened.run.failed(error)
    elif isinstance(opened.run, Step) and (stream := _stream_of(result)):
        stream.steps.append(opened.run)
    elif not isinstance(result, _STREAMS):  # what a local model streams, nobody tells here
        opened.run.returned(result)


def _stream_of(answer: object) -> _Streamed | None:
    stream = getattr(answer, "response_gen", None)
    return _streams.get(stream) if isinstance(stream, _STREAMS) else None


def _classes(one: object) -> tuple[str, ...]:
    return tuple(kind.__name__ for kind in type(one).__mro__)


def _name_of(one: Any) -> str:
    """Return the name of a tool, a model or an agent; of all else that of its class."""
    metadata = getattr(one, "metadata", None)
    names = (
        getattr(one, "model_name", None),
        getattr(metadata, "model_name", None),
        getattr(metadata, "name", None),
        getattr(one, "name", None),
    )
    return next((name for name in names if name and isinstance(name, str)), type(one).__name__)


def _given(arguments: Mapping[str, Any]) -> object:
    """Return what a step is given."""
    event = arguments.get("start_event")
    if event is not None:
        said = {name: value for name, value in event.items() if value is not None}
        return said.get("user_msg", said)
    if (question := arguments.get("str_or_query_bundle")) is not None:
        return getattr(question, "query_str", question)
    if "message" in arguments:
        return arguments["message"]
    named = arguments.get("kwargs") or {}
    given = arguments.get("args") or ()
    return {**named, "args": [*given]} if given else named or arguments.get("input")


def _answer(result: Any) -> object:
    """Return what a step gave back, without LlamaIndex's classes around it."""
    if isinstance(result, list):
        return [_node(one) for one in result]
    result = getattr(result, "result", result)  # of the event that ends a workflow
    if "Streaming" in type(result).__name__:
        return None  # it is in the call that is still going on
    for name in ("response", "content"):
        value = getattr(result, name, None)
        if value is not None:
            return getattr(value, "content", value)
    return result


def _node(one: Any) -> object:
    node = getattr(one, "node", None)
    if node is None:
        return one
    return {
        "id": node.node_id,
        "score": one.score,
        "content": node.get_content(),
        "metadata": node.metadata,
    }


def _as_openai(message: Any) -> dict[str, Any]:
    return {"role": getattr(message.role, "value", message.role), "content": message.content}


def _message(answer: Any) -> dict[str, Any]:
    message = getattr(answer, "message", None)
    if message is None:
        return {"role": "assistant", "content": getattr(answer, "text", answer)}
    return _as_openai(message)


def _said(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(("id_", "bound_args", "instance"), args, strict=False)) | dict(kwargs)


def _entering(method: Method) -> Method:
    @wraps(method)
    def span_enter(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        _begin(args, kwargs)
        return result

    return span_enter


def _leaving(method: Method) -> Method:
    @wraps(method)
    def span_over(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            _end(args, kwargs)

    return span_over


def _streaming(init: Method) -> Method:
    """Return an `__init__` of an answer that is a stream, which is read in the engine's context."""

    @wraps(init)
    def initialised(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if is_on():
            _carry(self)

    return initialised


@harmless
def _carry(answer: Any) -> None:
    stream = answer.response_gen
    if isinstance(stream, _STREAMS) and stream not in _streams:
        run = _Streamed()
        answer.response_gen = carried = wrapped(lambda: stream, lambda *_: run)()
        _streams[carried] = run


_DISPATCHER = "llama_index_instrumentation.dispatcher"
HOOKS = (
    Hook(_DISPATCHER, "Dispatcher", "span_enter", _entering),
    Hook(_DISPATCHER, "Dispatcher", "span_exit", _leaving),
    Hook(_DISPATCHER, "Dispatcher", "span_drop", _leaving),
    *(
        Hook("llama_index.core.base.response.schema", answer, "__init__", _streaming)
        for answer in ("StreamingResponse", "AsyncStreamingResponse")
    ),
)
