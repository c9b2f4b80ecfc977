"""LiteLLM: whose call it is, by the metadata that it is given; answers of no wire.

Each of its functions is one that LiteLLM has wrapped. What that closes over is replaced, so that
who has taken a function out of the module before has it, too. Its callbacks do not hear of each
end.
"""

from collections.abc import Mapping
from functools import wraps
from typing import Any

from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import Asking, Begin, hooked, is_on, unchanged
from llm_audit.capture.patches import Hook, Method
from llm_audit.context import CallContext
from llm_audit.context.functions import wrapped
from llm_audit.logger import LLMLogger

NAME = "litellm"
_FUNCTIONS = {
    **dict.fromkeys(("completion", "acompletion", "responses", "aresponses"), None),
    **dict.fromkeys(("text_completion", "atext_completion"), LLMCallTypeEnum.COMPLETION),
    **dict.fromkeys(("embedding", "aembedding"), LLMCallTypeEnum.EMBEDDING),
    **dict.fromkeys(("image_generation", "aimage_generation"), LLMCallTypeEnum.OTHER),
    **dict.fromkeys(("transcription", "atranscription"), LLMCallTypeEnum.OTHER),
    **dict.fromkeys(("speech", "aspeech", "rerank", "arerank"), LLMCallTypeEnum.OTHER),
    "anthropic_messages": None,
}
# what LiteLLM's router and proxy put there themselves
_OWN = ("litellm_", "model_", "user_api_key", "previous_models", "deployment", "caching_groups")
_PLAIN = (str, int, float, bool)


class _Call(Asking):
    """One call of a function of LiteLLM's; the call on the wire meanwhile knows of it.

    Args:
        function: The function's name.
        args: The function's.
        kwargs: The function's.
    """

    def __init__(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._kind = _FUNCTIONS.get(function)
        self._args, self._kwargs = args, kwargs
        super().__init__(lambda: _about(kwargs, self.outer))

    @harmless
    def returned(self, value: object) -> None:
        """Record an answer that no wire has seen, such as a mock's."""
        if not self.is_sent and _hidden(value):  # a stream has none, and is still to come
            self.answered(value)

    def answered(self, value: object, of_cache: object = None) -> None:
        """Record an answer that no wire has seen.

        Args:
            value: The answer, which may be a stream.
            of_cache: As it was in a cache: its tokens were counted, and paid, by another call.
        """
        given = dict(zip(("model", "messages"), self._args, strict=False)) | dict(self._kwargs)
        about = dict(_about(self._kwargs, self.outer))
        if of_cache is not None:
            own = {**about["metadata"].get(NAME, {}), "cache_hit": True}
            about["metadata"] = {**about["metadata"], NAME: own}
        call_id = self.record(
            NAME,
            call_type=self._kind,
            provider=_hidden(value).get("custom_llm_provider") or NAME,
            model=given.get("model"),
            messages=given.get("messages"),
            input=given.get("input", given.get("prompt")),
            tools=given.get("tools"),
            **about,
        )
        if of_cache is not None:
            LLMLogger.complete(call_id, response_message=_message(of_cache), estimated_cost=0.0)
        else:
            LLMLogger.complete(call_id, response=value)


def _hidden(answer: Any) -> Mapping[str, Any]:
    hidden = getattr(answer, "_hidden_params", None)
    return hidden if isinstance(hidden, Mapping) else {}


def _message(answer: Any) -> Any:
    """Return the message of an answer, or of what a cache keeps of it."""
    is_kept = isinstance(answer, Mapping)
    choices = answer.get("choices") if is_kept else getattr(answer, "choices", None)
    if not choices:
        return None
    first: Any = choices[0]
    message: Any = first.get("message") if isinstance(first, Mapping) else first.message
    return message if isinstance(message, Mapping) else message.model_dump(exclude_none=True)


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


def _running(method: Method) -> Method:
    """Return what runs a coroutine for plain code, perhaps in a thread, in the context of here."""

    @wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **{**kwargs, **(_carried(kwargs) or {})})

    return run


@harmless
def _carried(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    run = unchanged()
    name = "async_function"
    return {name: wrapped(kwargs[name], lambda *_: run)} if name in kwargs else {}


def _converting(method: Method) -> Method:
    """Return what makes an answer of what is in LiteLLM's cache, and records that."""

    @wraps(method)
    def converted(*args: Any, **kwargs: Any) -> Any:
        answer = method(*args, **kwargs)
        _note_cached(kwargs, kwargs.get("cached_result"), answer)
        return answer

    return converted


def _combining(method: Method) -> Method:
    """Return what does the same for embeddings, of which only some may be there."""

    @wraps(method)
    def combined(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        _note_combined(kwargs, result)
        return result

    return combined


@harmless
def _note_combined(said: Mapping[str, Any], result: Any) -> None:
    answer, is_whole = result
    if is_whole:
        _note_cached({"call_type": "aembedding", **said}, None, answer)


@harmless
def _note_cached(said: Mapping[str, Any], found: object, answer: object) -> None:
    if is_on():
        call = _Call(str(said.get("call_type")), said.get("args") or (), said.get("kwargs") or {})
        call.answered(answer, of_cache=found or answer)


def _begin_call(function: str) -> Begin:
    return lambda args, kwargs: _Call(function, args, kwargs)


_CACHE, _CACHING = "litellm.caching.caching_handler", "LLMCachingHandler"
HOOKS = (
    *(Hook("litellm", name, "original_function", hooked(_begin_call(name))) for name in _FUNCTIONS),
    Hook("litellm.litellm_core_utils.fallback_utils", "", "run_async_function", _running),
    Hook(_CACHE, _CACHING, "_convert_cached_result_to_model_response", _converting),
    Hook(_CACHE, _CACHING, "_process_async_embedding_cached_response", _combining),
)
