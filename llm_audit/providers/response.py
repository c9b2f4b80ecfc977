"""What a provider answered: message, usage, finish reason, and the tools it asks for.

Works on the SDKs' response objects and on the same as plain dicts, and never raises: what is
missing, empty or an error inside an HTTP 200 is left out.
"""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from llm_audit.errors import let_through, log_once
from llm_audit.providers.usage import COUNT_SPELLINGS, fields_of

_ID_NAMES = ("id", "responseId", "response_id", "generation_id")
_MODEL_NAMES = ("model", "modelVersion", "model_version", "model_id")
_USAGE_NAMES = ("usage", "usageMetadata", "usage_metadata")
_FINISH_REASON_NAMES = (
    *("finish_reason", "finishReason", "stop_reason", "stopReason"),
    *("done_reason", "completionReason"),
)
_ALTERNATIVES_NAMES = ("choices", "candidates", "completions", "generations", "results")
_TEXT_NAMES = ("text", "completion", "response", "generation", "outputText", "generated_text")

_CALL_LIST_NAMES = ("tool_calls", "content", "parts", "output", "executed_tools")
_CALL_NAMES = frozenset({*_CALL_LIST_NAMES, "function_call"} - {"content"})
_CALL_WRAPPERS = ("function", "custom", "toolUse", "functionCall", "function_call")
_ARGUMENTS_NAMES = ("arguments", "input", "args", "parameters")
_CALL_BLOCK_TYPES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})

_LISTS = (list, tuple)
_NATIVE_TYPES = (dict, list, tuple, str, int, float, type(None))


def read_response(response: object) -> dict[str, Any]:
    """Read out of a provider's response what a call's outcome records.

    Args:
        response: An SDK's response object, or the response body as a dict. Known are OpenAI
            (chat completions, Responses, legacy completions, embeddings) and all who speak it,
            Anthropic, Gemini, Bedrock (Converse and InvokeModel), Cohere, Mistral, Ollama,
            watsonx and Aleph Alpha.

    Returns:
        Those of these keys that were found:
        `response_message`: the message, a dict in the API's own shape. An API that answers with a
        list gives `{"role": "assistant", "content": [...]}` (Anthropic) or
        `{"role": "assistant", "output": [...]}` (OpenAI Responses); one without messages gives
        the object that holds the text.
        `other_choices`: with n > 1, the choices after the first, each whole, as the API gave it.
        `finish_reason`: a str, spelled as the provider does.
        `response_id`, `response_model`: str.
        `usage`: what the provider reported, untouched, for `read_usage`.
    """
    body = fields_of(response)
    found: dict[str, Any] = {}
    alternatives = next((a for name in _ALTERNATIVES_NAMES if (a := _items(body.get(name)))), ())
    chosen = fields_of(alternatives[0]) if alternatives else body
    message = _message_of(alternatives[0], chosen) if alternatives else _message_of_body(body)
    if message:
        found["response_message"] = message
        if len(alternatives) > 1:
            found["other_choices"] = [_native(choice) for choice in alternatives[1:]]
    found["finish_reason"] = _finish_reason(chosen, body)
    response_id = _first(body, _ID_NAMES)
    if response_id is None:  # boto3 keeps it beside the body
        response_id = fields_of(body.get("ResponseMetadata")).get("RequestId")
    found["response_id"] = _spelled(response_id)
    found["response_model"] = _spelled(_first(body, _MODEL_NAMES))
    found["usage"] = _usage(body, chosen)
    return {name: value for name, value in found.items() if value is not None}


def tools_called(response_message: object) -> list[str]:
    """Return the names of the tools that a response asks for, in order, repeats kept.

    A tool that the provider runs itself goes by its name where it has one, else by the type of
    its item: `web_search_call` (OpenAI), `FILE_SEARCH` or `code_execution` (Gemini).

    Args:
        response_message: The message as a dict in any provider's shape, or as the SDK's object;
            a list is taken for the message's content. Anything else asks for no tools.
    """
    return [name for name, _ in _tool_calls(response_message)]


def malformed_tool_calls(response_message: object) -> list[str]:
    """Return the names of the tools that a response asks for with arguments that are no object.

    Most APIs give arguments as a text that has to be a JSON object, and a model may write
    anything; others give the object. A call without arguments, or of a tool that takes free text,
    is well-formed.

    Args:
        response_message: As for `tools_called`.
    """
    calls = _tool_calls(response_message)
    return [name for name, arguments in calls if not _are_well_formed(arguments)]


def _tool_calls(response_message: object) -> list[tuple[str, object]]:
    """Return the name and the arguments, None if there are none, of each tool asked for."""
    if isinstance(response_message, _LISTS):
        response_message = {"content": response_message}
    message = fields_of(response_message)
    if _CALL_NAMES.isdisjoint(message) and type(message.get("content")) is str:
        return []
    found: list[tuple[object, object]] = []
    for list_name in _CALL_LIST_NAMES:
        calls = message.get(list_name)
        if calls and isinstance(calls, _LISTS):
            found.extend(_tool_call(fields_of(call), list_name) for call in calls)
    if legacy_call := message.get("function_call"):
        found.append(_named_call(fields_of(legacy_call)))
    return [(name, arguments) for name, arguments in found if name and isinstance(name, str)]


def _tool_call(call: Mapping[str, Any], list_name: str) -> tuple[object, object]:
    for wrapper in _CALL_WRAPPERS:
        if wrapped := call.get(wrapper):
            named = _named_call(fields_of(wrapped))
            return (named[0], None) if wrapper == "custom" else named
    kind = _spelled(call.get("type")) or ""
    if kind in _CALL_BLOCK_TYPES or list_name == "tool_calls":
        return _named_call(call)
    if kind.endswith("_call") or list_name == "executed_tools":
        return call.get("name") or kind, call.get("arguments")
    if built_in := call.get("toolCall") or call.get("tool_call"):
        return _spelled(_first(fields_of(built_in), ("toolType", "tool_type"))), None
    runs_code = call.get("executableCode") or call.get("executable_code")
    return "code_execution" if runs_code else None, None


def _named_call(call: Mapping[str, Any]) -> tuple[object, object]:
    return call.get("name"), _first(call, _ARGUMENTS_NAMES)


def _are_well_formed(arguments: object) -> bool:
    if isinstance(arguments, str):
        try:
            return isinstance(_strict_json.decode(arguments), dict)
        except (ValueError, RecursionError):
            return False
    return arguments is None or isinstance(arguments, Mapping) or bool(fields_of(arguments))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_strict_json = json.JSONDecoder(parse_constant=_refuse_constant)


def _message_of(alternative: object, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    for name in ("message", "content"):
        if message := _native_fields(fields.get(name)):
            return message
    if _first(fields, (*_TEXT_NAMES, "data")) is not None:
        return _native_fields(alternative)
    return None


def _message_of_body(body: Mapping[str, Any]) -> dict[str, Any] | None:
    if output := _items(body.get("output")):
        return {"role": "assistant", "output": [_native(item) for item in output]}
    if message := fields_of(body.get("output")).get("message") or body.get("message"):
        return _native_fields(message)
    content = body.get("content")
    if isinstance(content, _LISTS):
        role = body.get("role") or "assistant"
        return {"role": role, "content": [_native(block) for block in content]}
    for name in _TEXT_NAMES:
        if isinstance(text := body.get(name), str):
            calls = [_native(call) for call in _items(body.get("tool_calls"))]
            return {name: text, "tool_calls": calls} if calls else {name: text}
    return None


def _finish_reason(chosen: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    for fields in (chosen, body):
        if (reason := _spelled(_first(fields, _FINISH_REASON_NAMES))) is not None:
            return reason
    if isinstance(body.get("output"), list):  # OpenAI Responses
        incomplete = fields_of(body.get("incomplete_details"))
        return _spelled(incomplete.get("reason") or body.get("status"))
    feedback = fields_of(_first(body, ("promptFeedback", "prompt_feedback")))  # Gemini
    return _spelled(_first(feedback, ("blockReason", "block_reason")))


def _usage(body: Mapping[str, Any], chosen: Mapping[str, Any]) -> object:
    if (usage := _first(body, _USAGE_NAMES)) is not None:
        return usage
    meta = fields_of(body.get("meta"))  # Cohere v1
    if "billed_units" in meta or "tokens" in meta:
        return meta
    counts = {
        name: value
        for fields in (body, chosen)
        for name, value in fields.items()
        if name in COUNT_SPELLINGS
    }
    return counts or None


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> object:
    for name in names:
        if (value := fields.get(name)) is not None:
            return value
    return None


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, _LISTS) else ()


def _spelled(value: object) -> str | None:
    """Return a name as a str: enums by value, numbers in digits, `{"reason": …}` by its reason."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):  # AI21 Jurassic
        value = value.get("reason")
    if isinstance(value, str):
        return value or None  # Snowflake sends "" for what it does not have
    return str(value) if type(value) is int and abs(value) < 2**63 else None


def _native_fields(value: object) -> dict[str, Any] | None:
    native = _native(value)
    return native if isinstance(native, dict) else None


def _native(value: object) -> object:
    """Return an SDK's object as the dict that its API sent; anything else as it is."""
    if isinstance(value, _NATIVE_TYPES):
        return value
    for mode in ("json", "python"):  # JSON cannot hold every object's bytes
        try:
            if not callable(dump := getattr(value, "model_dump", None)):
                break
            dumped = dump(mode=mode, by_alias=True, exclude_unset=True, warnings=False)
        except Exception as error:  # noqa: BLE001 - a foreign object may raise anything
            let_through(error)
            log_once(f"cannot dump a {type(value).__name__}: {type(error).__name__}")
        else:
            if isinstance(dumped, dict):
                return dumped
    return fields_of(value) or value
