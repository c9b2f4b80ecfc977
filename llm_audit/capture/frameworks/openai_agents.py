"""OpenAI's Agents SDK: its spans of agents, functions and guardrails are calls, around others.

The SDK says where a span begins and ends, whatever ends it, so nothing else is looked at. Where its
tracing is off it does so, too, by spans without ids.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from llm_audit import recording
from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import inside, is_on, start
from llm_audit.capture.patches import Hook, Method
from llm_audit.context import CallContext, Frame, current_context, enter, leave
from llm_audit.logger import LLMLogger
from llm_audit.runtime import clock

NAME = "openai-agents"
_SPANS = "agents.tracing.spans"
_OPEN_MAX = 10_000  # spans that are never finished
_NO_ID = "no-op"  # of all spans and traces where tracing is off
_KINDS = {
    "agent": LLMCallTypeEnum.AGENT,
    "function": LLMCallTypeEnum.TOOL_EXECUTION,
    "guardrail": LLMCallTypeEnum.TOOL_EXECUTION,
}
_ROLES = {LLMCallTypeEnum.AGENT: "assistant", LLMCallTypeEnum.TOOL_EXECUTION: "tool"}


@dataclass(eq=False, slots=True)
class _Open:
    """A span that is a call."""

    call_id: str
    call_type: LLMCallTypeEnum
    parent_id: str | None
    frame: Frame | None
    given: object = None  # to the first model in it
    said: object = None  # by the last one


_open: OrderedDict[str, _Open] = OrderedDict()


def _starting(method: Method) -> Method:
    @wraps(method)
    def start_(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        if is_on():
            _begin(self, mark_as_current=bool(args[0] if args else kwargs.get("mark_as_current")))
        return result

    return start_


def _finishing(method: Method) -> Method:
    @wraps(method)
    def finish(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            _end(self, sys.exc_info()[1])

    return finish


@harmless
def _begin(span: Any, *, mark_as_current: bool) -> None:
    data = span.span_data
    if data.type not in _KINDS or _key(span) in _open:
        return
    outer, trace = current_context(), _trace_of(span)
    about = _about(span, trace, outer)
    is_agent = data.type == "agent"
    call_type = _KINDS[data.type]
    call_id = start(NAME, call_type, data.name, None, about=about)  # what is given, is said later
    frame = None
    if mark_as_current:
        agent = {"metadata": {**about["metadata"], "agent": data.name}} if is_agent else {}
        frame = enter(inside(call_id, {**about, **agent}))
    _open[_key(span)] = _Open(call_id, call_type, span.parent_id, frame)
    if len(_open) > _OPEN_MAX:
        _open.popitem(last=False)


@harmless
def _end(span: Any, error: BaseException | str | None) -> None:
    data = span.span_data
    opened = _open.pop(_key(span), None)
    if opened is None:
        if data.type in {"generation", "response"} and (agent := _around(span.parent_id)):
            given = data.input
            if agent.given is None:
                agent.given = [*given] if isinstance(given, list) else given  # it will grow
            agent.said = _text_of(data)
        return
    if opened.frame is not None:
        leave(opened.frame)
    given, said = opened.given, opened.said
    if opened.call_type is LLMCallTypeEnum.TOOL_EXECUTION:
        is_guardrail = data.type == "guardrail"
        given = None if is_guardrail else _parsed(data.input)
        said = {"triggered": data.triggered} if is_guardrail else data.output
    if error is None and span.error:  # it was raised, and caught
        error = f"{span.error['message']}: {span.error.get('data') or ''}".rstrip(": ")
    message = None if said is None else {"role": _ROLES[opened.call_type], "content": said}
    end: dict[str, Any] = {"input": given, "response_message": message, "status": None}
    if error is not None:
        end["error"] = error
    recording.end(LLMLogger.complete, opened.call_id, end, {}, clock.monotonic_ns())


def _key(span: Any) -> str:
    return f"{_NO_ID} {id(span)}" if span.span_id == _NO_ID else str(span.span_id)


def _around(span_id: str | None) -> _Open | None:
    """Return the innermost call around a span, as far as the spans between are known."""
    if span_id is not None and span_id in _open:
        return _open[span_id]
    here = current_context().parent_call_id
    return next((one for one in reversed(_open.values()) if one.call_id == here), None)


def _trace_of(span: Any) -> Any:
    trace = sys.modules["agents.tracing.scope"].Scope.get_current_trace()
    return trace if getattr(trace, "trace_id", None) == span.trace_id else None


def _about(span: Any, trace: Any, outer: CallContext) -> dict[str, Any]:
    """Return what is known of a span, as `audit_context` takes it."""
    of_trace: Mapping[str, Any] = getattr(trace, "metadata", None) or {}
    own = {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "workflow": getattr(trace, "name", None),
    }
    known = {name: value for name, value in own.items() if value not in {None, _NO_ID}}
    about: dict[str, Any] = {
        "metadata": {**of_trace, **({"openai_agents": known} if known else {})}
    }
    group = getattr(trace, "group_id", None)
    if group and outer.session_id is None:
        about["session_id"] = str(group)
    is_inside = outer.trace_id or outer.shared or outer.parent_call_id
    if not is_inside and span.trace_id != _NO_ID:
        about["trace_id"] = span.trace_id
    return about


def _text_of(data: Any) -> object:
    """Return what a model has said, of the span of its call."""
    response = getattr(data, "response", None)
    if response is not None:
        return getattr(response, "output_text", None) or None
    output = getattr(data, "output", None)
    last = output[-1] if isinstance(output, list) and output else None
    if not isinstance(last, Mapping):
        return None
    if "output" not in last:
        return last.get("content")
    messages = [item for item in last["output"] if item.get("type") == "message"]  # of a stream
    parts = [part for message in messages for part in message.get("content") or ()]
    return "".join(part.get("text") or "" for part in parts) or None


def _parsed(given: Any) -> Any:
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return given


HOOKS = tuple(
    Hook(_SPANS, span, method, hook)
    for span in ("SpanImpl", "NoOpSpan")
    for method, hook in (("start", _starting), ("finish", _finishing))
)
