"""LiteLLM: whose call it is, by the metadata that it is given; answers out of its cache.

Its functions are where a call begins and ends; its callbacks do not hear of each end. Who has taken
a function out of the module before it was instrumented has it as it was: then its calls are
recorded all the same, without what LiteLLM knows of them.
"""

import time
from collections.abc import Mapping
from typing import Any

from llm_audit import recording
from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import hooked
from llm_audit.capture.patches import Hook
from llm_audit.context import CallContext, current_context
from llm_audit.context.frames import Run
from llm_audit.logger import LLMLogger
from llm_audit.recorder.process import open_calls
from llm_audit.runtime import clock

NAME = "litellm"
_FUNCTIONS = {
    **dict.fromkeys(("completion", "acompletion", "responses", "aresponses"), None),
    **dict.fromkeys(("text_completion", "atext_completion"), LLMCallTypeEnum.COMPLETION),
    **dict.fromkeys(("embedding", "aembedding"), LLMCallTypeEnum.EMBEDDING),
}
# what LiteLLM's router and proxy put there themselves
_OWN = ("litellm_", "model_", "user_api_key", "previous_models", "deployment", "caching_groups")
_PLAIN = (str, int, float, bool)


class _Call(Run):
    """One call of a function of LiteLLM's; the call on the wire meanwhile knows of it.

    Args:
        kind: What the function does; None if that is to be told by others.
        args: The function's.
        kwargs: The function's.
    """

    def __init__(
        self, kind: LLMCallTypeEnum | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._kind = kind
        self._args, self._kwargs = args, kwargs
        self._outer = current_context()
        self._about = _about(kwargs, self._outer)
        self._is_recorded = False
        self._began_ns, self._began_ms = clock.monotonic_ns(), time.time_ns() // 1_000_000
        super().__init__(make=self._context)

    def _context(self) -> CallContext:
        self._is_recorded = True
        return self._outer.extended(**self._about)

    @harmless
    def returned(self, value: object) -> None:
        """Record an answer that no wire has seen."""
        hidden = getattr(value, "_hidden_params", None)
        if self._is_recorded or not isinstance(hidden, Mapping):  # a stream is still to come
            return
        given = dict(zip(("model", "messages"), self._args, strict=False)) | dict(self._kwargs)
        is_cached = bool(hidden.get("cache_hit"))
        about = dict(self._about)
        if is_cached:
            own = {**about["metadata"].get(NAME, {}), "cache_hit": True}
            about["metadata"] = {**about["metadata"], NAME: own}
        fields = {
            "call_type": self._kind,
            "provider": hidden.get("custom_llm_provider") or NAME,
            "model": given.get("model"),
            "messages": given.get("messages"),
            "input": given.get("input", given.get("prompt")),
            "tools": given.get("tools"),
            "captured_by": NAME,
            **about,
        }
        call_id = recording.start(LLMLogger.start, fields, {}, began_ms=self._began_ms)
        if call := open_calls().get(call_id):
            call.started_ns = self._began_ns
        if is_cached:  # its tokens were counted, and paid, by another call
            LLMLogger.complete(call_id, response_message=_message(value), estimated_cost=0.0)
        else:
            LLMLogger.complete(call_id, response=value)


def _message(answer: Any) -> object:
    choices = getattr(answer, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    return None if message is None else message.model_dump(exclude_none=True)


def _about(kwargs: Mapping[str, Any], outer: CallContext) -> dict[str, Any]:
    """Return what is known of a call, as `audit_context` takes it."""
    given = kwargs.get("metadata")
    given = given if isinstance(given, Mapping) else {}
    own = {
        "model_group": given.get("model_group"),
        "call_id": kwargs.get("litellm_call_id"),
    }
    known = {name: str(value) for name, value in own.items() if value}
    metadata = {
        name: value
        for name, value in given.items()
        if type(value) in _PLAIN and not name.startswith(_OWN)
    }
    about: dict[str, Any] = {"metadata": {**metadata, **({NAME: known} if known else {})}}
    if isinstance(tags := given.get("tags"), list):
        about["tags"] = tags
    session = kwargs.get("litellm_session_id") or given.get("session_id")
    if session and outer.session_id is None:
        about["session_id"] = str(session)
    if (trace := kwargs.get("litellm_trace_id")) and outer.trace_id is None:
        about["trace_id"] = str(trace)
    return about


def _hook(name: str, kind: LLMCallTypeEnum | None) -> Hook:
    return Hook("litellm", "", name, hooked(lambda args, kwargs: _Call(kind, args, kwargs)))


HOOKS = tuple(_hook(name, kind) for name, kind in _FUNCTIONS.items())
