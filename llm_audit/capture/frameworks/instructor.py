"""instructor: which response model is asked for, and how; answers out of its cache.

Where it asks again, as an answer did not fit, these are calls of one trace.
"""

from collections.abc import Mapping
from typing import Any

from llm_audit.capture.faults import harmless
from llm_audit.capture.frameworks.steps import Asking, Begin, hooked
from llm_audit.capture.patches import Hook
from llm_audit.context.frames import Run
from llm_audit.logger import LLMLogger

NAME = "instructor"
_PATCH, _CLIENT = "instructor.v2.core.patch", "instructor.v2.core.client"


class _Create(Asking):
    """One call of a client of instructor's; if nothing is sent for it, it is in the cache."""

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        client = args[0]
        self._given = {**getattr(client, "kwargs", {}), **kwargs}
        self._provider = _value(client.provider)
        self._known = _known(
            self._given.get("response_model", args[1] if len(args) > 1 else None), client.mode
        )
        super().__init__(lambda: {"metadata": {NAME: self._known}})

    @harmless
    def returned(self, value: object) -> None:
        """Record an answer out of the cache, which has no tokens: another call had them."""
        if self.is_sent or self._given.get("cache") is None:
            return
        call_id = self.record(
            NAME,
            provider=self._provider or NAME,
            model=self._given.get("model"),
            messages=self._given.get("messages"),
            metadata={NAME: {**self._known, "cache_hit": True}},
        )
        message = {"role": "assistant", "content": value}
        LLMLogger.complete(call_id, response_message=message, estimated_cost=0.0)


def _begin_retrying(_: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    known = _known(kwargs.get("response_model"), kwargs.get("mode"))
    return Asking(lambda: {"metadata": {NAME: known}})


def _known(response_model: Any, mode: Any) -> dict[str, Any]:
    """Return what the metadata of a call say of it.

    Args:
        response_model: A class, which instructor may have derived another of, or a type of many.
        mode: How the model is made to answer so.
    """
    name = getattr(response_model, "__name__", None) or response_model
    known = {"response_model": name and str(name), "mode": _value(mode)}
    return {name: value for name, value in known.items() if value}


def _value(one: Any) -> str | None:
    value = getattr(one, "value", one)
    return None if value is None else str(value)


_create: Begin = _Create
HOOKS = (
    *(
        Hook(_CLIENT, client, method, hooked(_create))
        for client in ("Instructor", "AsyncInstructor")
        for method in ("create", "create_with_completion", "create_partial", "create_iterable")
    ),
    # what each way of asking comes to, also that of `instructor.patch`
    *(
        Hook(_PATCH, "", function, hooked(_begin_retrying))
        for function in ("retry_sync_v2", "retry_async_v2")
    ),
)
