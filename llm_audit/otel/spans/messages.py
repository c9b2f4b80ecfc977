"""What was said, out of the forms that spans have for it.

Current instrumentations write messages of parts, which is nobody's API: they are stored as they
are. Messages that are spelled out in names of attributes become what they were made from, as far
as that can be told: messages as OpenAI has them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.otel.spans import names
from llm_audit.otel.spans.span import Span
from llm_audit.otel.spans.values import as_dict, as_list, as_text, numbered, parsed, texts_in

_CALLS = "tool_calls"
_EVENT_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CHOICE = "gen_ai.choice"
_CONTENT_EVENTS = {
    "gen_ai.content.prompt": "gen_ai.prompt",
    "gen_ai.content.completion": "gen_ai.completion",
}
_WHOLE = "gen_ai.event.content"  # the message as JSON: Azure's
_DETAILS = "gen_ai.client.inference.operation.details"  # which repeats attributes


def all_attributes(span: Span) -> Mapping[str, Any]:
    """Return a span's attributes with those of the events that hold the content of the call."""
    told: dict[str, Any] = {}
    for event in span.events:
        if event.name == _DETAILS:
            told |= event.attributes
        elif name := _CONTENT_EVENTS.get(event.name):
            told[name] = event.attributes.get(name)
    return {**told, **span.attributes} if told else span.attributes


def input_messages(attributes: Mapping[str, Any], span: Span) -> list[Any]:
    """Return the messages of a request; empty where the span has none."""
    said = parsed(names.first(attributes, names.MESSAGES))
    if isinstance(said, dict):  # langfuse has tools beside them
        said = said.get("messages") or said.get("contents") or [said]
    if isinstance(said, str):  # if it is JSON, it was cut
        return [] if said.startswith(("[", "{")) else [{"role": "user", "content": said}]
    if isinstance(said, list) and said:
        return said
    if found := [_message(item) for item in numbered(attributes, names.NUMBERED_MESSAGES)]:
        return found
    for name in names.NUMBERED_MESSAGES:  # the whole list in one text, under the bare name
        if listed := as_list(attributes.get(name)):
            return listed
    return _of_events(attributes, span)[0]


def output_messages(attributes: Mapping[str, Any], span: Span) -> list[Any]:
    """Return the message of each choice of a response; empty where the span has none."""
    said = parsed(names.first(attributes, names.OUTPUT))
    if isinstance(said, dict):
        return [said] if _is_message(said) else []
    if isinstance(said, str):
        return [{"role": "assistant", "content": said}]
    if isinstance(said, list) and said:
        return [item for item in said if isinstance(item, dict)]
    return _spelled_out(attributes) or _in_pieces(attributes) or _of_events(attributes, span)[1]


def _spelled_out(attributes: Mapping[str, Any]) -> list[Any]:
    if found := [_message(item) for item in numbered(attributes, names.NUMBERED_OUTPUT)]:
        return found
    for name in names.NUMBERED_OUTPUT:  # the whole list in one text, under the bare name
        if listed := as_list(attributes.get(name)):
            return listed
    return []


def tools(attributes: Mapping[str, Any]) -> list[Any]:
    """Return the definitions of the tools that were offered."""
    if said := as_list(names.first(attributes, names.TOOLS)):
        return said
    found: list[Any] = []
    for item in numbered(attributes, names.NUMBERED_TOOLS):
        whole = next(texts_in([item], "tool", "json_schema"), item)
        one = as_dict(whole) or whole
        if isinstance(one, dict) and isinstance(one.get("parameters"), str):
            one = {**one, "parameters": parsed(one["parameters"])}
        found.append(one)
    if not found:  # langfuse has them beside the messages
        found = as_dict(names.first(attributes, names.MESSAGES)).get("tools") or []
    return found


def _is_message(said: Mapping[str, Any]) -> bool:
    return not {"role", "content", "parts", _CALLS, "text"}.isdisjoint(said)


def _in_pieces(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the message that older logfire has in an object, or sentry as a text and calls."""
    message = as_dict(attributes.get(names.RESPONSE_DATA[0])).get("message")
    if message is not None:
        return [message if isinstance(message, dict) else {"role": "assistant", "content": message}]
    text = as_text(names.first(attributes, names.OUTPUT_TEXT))
    calls = as_list(names.first(attributes, names.OUTPUT_CALLS))
    said = {name: value for name, value in (("content", text), (_CALLS, calls)) if value}
    return [{"role": "assistant", **said}] if said else []


def _message(item: object) -> dict[str, Any]:
    """Return a message that was spelled out in names."""
    if not isinstance(item, dict):
        return {"role": "user", "content": item}
    for wrapper in ("message", "prompt", "completion"):  # OpenInference's
        if isinstance(inner := item.get(wrapper), dict):
            item = inner
    message = {name: value for name, value in item.items() if name not in {"contents", _CALLS}}
    if "text" in message and "content" not in message:
        message["content"] = message.pop("text")
    content = message.get("content")
    if isinstance(content, str) and content.lstrip().startswith("["):  # Traceloop dumps parts
        parts = as_list(content)
        if parts and all(isinstance(part, dict) for part in parts):
            message["content"] = parts
    if isinstance(contents := item.get("contents"), list):
        message["content"] = [_content(part) for part in contents]
    if isinstance(calls := item.get(_CALLS), list):
        message[_CALLS] = [_tool_call(call) for call in calls]
    return message


def _content(part: object) -> Any:
    inner = part.get("message_content", part) if isinstance(part, dict) else part
    if not isinstance(inner, dict):
        return inner
    url = next(texts_in([inner], "image", "image", "url"), None)
    if inner.get("type") == "image" and url is not None:
        return {"type": "image_url", "image_url": {"url": url}}
    return inner


def _tool_call(call: object) -> Any:
    inner = call.get("tool_call", call) if isinstance(call, dict) else call
    if not isinstance(inner, dict):
        return inner
    function = inner.get("function")
    if not isinstance(function, dict):
        function = {key: inner[key] for key in ("name", "arguments") if key in inner}
    kept = {name: value for name, value in inner.items() if name not in {*function, "function"}}
    return {**kept, "type": "function", "function": function}


def _of_events(
    attributes: Mapping[str, Any], span: Span
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the messages and the answers that older instrumentations have as events."""
    asked: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    if not span.events and "events" not in attributes:
        return asked, answered
    events: Iterable[tuple[str, Mapping[str, Any]]] = [
        (event.name, event.attributes) for event in span.events
    ]
    listed = as_list(attributes.get("events")) or ()  # pydantic-ai, version 1
    events = [
        *events,
        *((str(one.get("event.name")), one) for one in listed if isinstance(one, dict)),
    ]
    for name, given in events:
        said = {**given, **as_dict(given.get(_WHOLE))}
        if role := _EVENT_ROLES.get(name):
            asked.append({"role": role, **_of_event(said)})
        elif name == _CHOICE:
            inner = as_dict(said.get("message"))
            answered.append({"role": "assistant", **(inner or _of_event(said))})
    return asked, answered


def _of_event(said: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("role", "content", _CALLS, "id", "name", "tool_call_id")
    return {name: parsed(said[name]) for name in kept if said.get(name) is not None}
