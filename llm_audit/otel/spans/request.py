"""What a span says of a call's request, as arguments of `LLMLogger.start`."""

from typing import Any, NamedTuple

from llm_audit.call import LLMCallTypeEnum
from llm_audit.otel.spans import names
from llm_audit.otel.spans.kinds import Kind
from llm_audit.otel.spans.messages import input_messages, tools
from llm_audit.otel.spans.told import MODELS, Told
from llm_audit.otel.spans.values import (
    as_list,
    as_number,
    numbered,
    parsed,
    plain,
    texts_in,
)

_SYSTEM = ("system", "instructions", "system_instruction", "systemInstruction")
_NEVER_SENT = ("Infinity",)  # langfuse's max_tokens where there is none
_OF_LANGCHAIN = ("_type",)
_NOTHING: tuple[Any, ...] = (None, "", [], {})


class Request(NamedTuple):
    """What was asked.

    Attributes:
        given: Arguments of `LLMLogger.start`, by name.
        params: Every other parameter of the request.
    """

    given: dict[str, Any]
    params: dict[str, Any]
    is_step: bool


def read_request(told: Told, kind: Kind, *, so_far: bool = False) -> Request:
    """Return what a span says of the request.

    Args:
        told: One that still runs may say less than one that has ended.
        kind: What it is.
        so_far: Whether it still runs: then what is told bit by bit is left for its end.
    """
    given: dict[str, Any] = {"call_type": kind.call_type}
    given["session_id"] = told.text(names.SESSION)
    given["user_id"] = told.text(names.USER)
    tags = as_list(told.first(names.TAGS)) or ()
    given["tags"] = [tag for tag in tags if isinstance(tag, str)]
    if (provider := told.text(names.PROVIDER)) is not None:
        given["provider"] = names.PROVIDERS.get(provider.lower(), provider.lower())
    params = _of_step(told, kind, given) if kind.is_step else _of_call(told, kind, given)
    kept = {name: value for name, value in given.items() if value not in _NOTHING}
    return Request(kept, {} if so_far and not told.body else params, kind.is_step)


def _of_call(told: Told, kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
    params = {**_parameters(told), **told.body}
    given["model"] = told.models[0]
    for name in MODELS:
        params.pop(name, None)
    if told.body:
        messages = params.pop("messages", None) or params.pop("contents", None)
        given["messages"] = messages if isinstance(messages, list) else None
        given["input"] = params.pop("input", None)
        given["system_prompt"] = next((params.pop(n) for n in _SYSTEM if n in params), None)
        given["tools"] = params.pop("tools", None)
    elif kind.is_embedding:
        given["input"] = _embedded(told)
    else:
        given["messages"] = input_messages(told.attributes, told.span)
        given["system_prompt"] = parsed(told.first(names.SYSTEM_PROMPT))
        given["tools"] = tools(told.attributes)
        params.pop("tools", None)
        if not given["messages"]:
            given["input"] = parsed(told.first((names.REQUEST_BODY[0], *names.MESSAGES)))
    given["tool_choice"] = params.pop("tool_choice", None)
    temperature, most = params.pop("temperature", None), params.pop("max_tokens", None)
    given["temperature"], given["max_tokens"] = as_number(temperature), as_number(most)
    return {name: value for name, value in params.items() if value is not None}


def _of_step(told: Told, kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
    given["input"] = parsed(told.first(names.STEP_INPUT))
    if given["input"] is None and (said := as_list(told.first(names.MESSAGES))):
        given["messages"] = said
    is_tool = kind.call_type == LLMCallTypeEnum.TOOL_EXECUTION
    name = told.text(names.TOOL_NAME if is_tool else names.AGENT_NAME)
    given["model"] = name or told.span.name  # as of a function that is `audited`
    return {}


def _parameters(told: Told) -> dict[str, Any]:
    """Return the parameters of a request under the names that APIs have for them."""
    found = dict(told.parameters)
    for name, value in told.attributes.items():
        if (renamed := names.OTHER_PARAMETERS.get(name)) is not None:
            found[renamed] = plain(value)
            continue
        if not name.startswith(names.PARAMETER_PREFIXES):
            continue
        if name in _NO_PARAMETERS or name.startswith(_NUMBERED):
            continue
        rest = name.partition("request.")[2]
        found[names.PARAMETERS_RENAMED.get(rest, rest.replace(".", "_"))] = plain(value)
    return {
        name: value
        for name, value in found.items()
        if value is not None and value not in _NEVER_SENT and name not in _OF_LANGCHAIN
    }


_NO_PARAMETERS = frozenset(
    {
        *(*names.REQUEST_MODEL, *names.MESSAGES, *names.TOOLS, *names.SPAN_KIND),
        *names.NUMBERED_TOOLS,
    }
)
_NUMBERED = tuple(f"{name}." for name in names.NUMBERED_TOOLS)


def _embedded(told: Told) -> Any:
    if (said := told.first(names.EMBEDDED)) is not None:
        return parsed(said)
    spelled = numbered(told.attributes, names.NUMBERED_EMBEDDED)
    if texts := list(texts_in(spelled, "embedding", "text")):
        return texts
    messages = parsed(told.first(names.MESSAGES))
    return messages or numbered(told.attributes, names.NUMBERED_MESSAGES) or None
