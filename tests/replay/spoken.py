"""What a stream said, put together in another way than the library does: for comparison.

For each API two readers that know nothing of each other: one of the events, one of a body that came
in one piece. What both must find the same is listed in `Spoken`.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from replay.recordings import Recording


class Spoken(NamedTuple):
    """What counts of an answer.

    Attributes:
        texts: By place: the text, the thoughts, the refusal.
        tools: Name and arguments of each tool call, in order.
        ends: Why it stopped, of each choice.
        usage: As it was said last.
        name: Of the answer and of the model.
    """

    texts: dict[str, str]
    tools: list[tuple[Any, Any]]
    ends: list[Any]
    usage: Any
    name: tuple[Any, Any]


def streamed(recording: Recording) -> Any:
    """Return what the events of a recorded stream say; the whole body where they hold it."""
    return _readers(recording)[0]([event for event in recording.events if isinstance(event, dict)])


def in_one_piece(recording: Recording, body: dict[str, Any]) -> Any:
    """Return the same of the body that such a stream makes."""
    return _readers(recording)[1](body)


def _arguments(text: Any) -> Any:
    try:
        return json.loads(text) if text else {}
    except (TypeError, ValueError):
        return text


def _said(texts: Iterable[tuple[str, Any]]) -> dict[str, str]:
    joined: dict[str, str] = defaultdict(str)
    for place, text in texts:
        joined[place] += text if isinstance(text, str) else ""
    return {place: text for place, text in sorted(joined.items()) if text}


# Chat completions and completions

_TEXTS = ("content", "reasoning", "reasoning_content", "refusal")


def _chat_texts(index: Any, message: Any) -> Iterable[tuple[str, Any]]:
    for name in _TEXTS:
        text = message.get(name)
        if isinstance(text, list):  # Mistral's
            for part in text:
                thought = "".join(piece["text"] for piece in part.get("thinking") or ())
                yield (
                    f"{index} {name if 'text' in part else 'thinking'}",
                    part.get("text") or thought,
                )
        else:
            yield f"{index} {name}", text


def _chat_events(events: list[Any]) -> Spoken:
    texts: list[tuple[str, Any]] = []
    tools: dict[Any, list[str]] = {}
    ends: dict[Any, Any] = {}
    usage, name = None, (None, None)
    for event in events:
        usage = event.get("usage") or usage
        if "value" in event:  # Writer's completions
            texts.append(("0 text", event["value"]))
            ends[0] = None
        name = (name[0] or event.get("id") or None, name[1] or event.get("model") or None)
        for choice in event.get("choices") or ():
            index = choice.get("index", 0)
            texts += _chat_texts(index, choice.get("delta") or {})
            texts.append((f"{index} text", choice.get("text")))
            ends[index] = choice.get("finish_reason") or ends.get(index)
            for call in (choice.get("delta") or {}).get("tool_calls") or ():
                tool = tools.setdefault((index, call.get("index")), ["", ""])
                tool[0] = tool[0] or (call.get("function") or {}).get("name") or ""
                tool[1] += (call.get("function") or {}).get("arguments") or ""
    calls = [(tool, _arguments(text)) for _, (tool, text) in sorted(tools.items(), key=str)]
    return Spoken(_said(texts), calls, list(ends.values()), usage, name)


def _chat_body(body: Any) -> Spoken:
    texts: list[tuple[str, Any]] = []
    calls: list[tuple[Any, Any]] = []
    for choice in body["choices"]:
        message = choice.get("message") or {}
        texts += _chat_texts(choice.get("index", 0), message)
        texts.append((f"{choice.get('index', 0)} text", choice.get("text")))
        functions = [call["function"] for call in message.get("tool_calls") or ()]
        calls += [(one["name"], _arguments(one["arguments"])) for one in functions]
    ends = [choice.get("finish_reason") for choice in body["choices"]]
    name = (body.get("id") or None, body.get("model") or None)
    return Spoken(_said(texts), calls, ends, body.get("usage"), name)


# Anthropic's messages, Bedrock's Converse


def _message_events(events: list[Any]) -> Spoken:
    message = next(event["message"] for event in events if event["type"] == "message_start")
    usage, ends, texts = dict(message["usage"]), [message["stop_reason"]], []
    tools: dict[int, list[Any]] = {}
    for event in events:
        index = event.get("index")
        if event["type"] == "content_block_start" and "input" in event["content_block"]:
            tools[index] = [event["content_block"]["name"], ""]
        if event["type"] == "content_block_start":
            block = event["content_block"]
            texts += [(f"{index} {kind}", block.get(kind)) for kind in ("text", "thinking")]
        if event["type"] == "content_block_delta":
            delta = event["delta"]
            texts += [(f"{index} {kind}", delta.get(kind)) for kind in ("text", "thinking")]
            if "partial_json" in delta:
                tools[index][1] += delta["partial_json"]
        if event["type"] == "message_delta":
            usage |= {key: count for key, count in event["usage"].items() if count is not None}
            ends = [event["delta"]["stop_reason"]]
    calls = [(tool, _arguments(text)) for tool, text in tools.values()]
    return Spoken(_said(texts), calls, ends, usage, (message["id"], message["model"]))


def _message_body(body: Any) -> Spoken:
    texts = [
        (f"{index} {kind}", block.get(kind))
        for index, block in enumerate(body["content"])
        for kind in ("text", "thinking")
    ]
    tools = [(block["name"], block["input"]) for block in body["content"] if "input" in block]
    ends, name = [body["stop_reason"]], (body["id"], body["model"])
    return Spoken(_said(texts), tools, ends, body["usage"], name)


def _converse_events(events: list[Any]) -> Spoken:
    texts: list[tuple[str, Any]] = []
    tools: dict[int, list[Any]] = {}
    usage, ends = None, []
    for event in events:
        start = event.get("contentBlockStart", {})
        if tool := start.get("start", {}).get("toolUse"):
            tools[start["contentBlockIndex"]] = [tool["name"], ""]
        if piece := event.get("contentBlockDelta"):
            index, delta = piece["contentBlockIndex"], piece["delta"]
            texts.append((f"{index} text", delta.get("text")))
            texts.append((f"{index} thought", delta.get("reasoningContent", {}).get("text")))
            if "toolUse" in delta:
                tools[index][1] += delta["toolUse"]["input"]
        ends += [event["messageStop"]["stopReason"]] if "messageStop" in event else []
        usage = event["metadata"]["usage"] if "metadata" in event else usage
    calls = [(tool, _arguments(text)) for tool, text in tools.values()]
    return Spoken(_said(texts), calls, ends, usage, (None, None))


def _converse_body(body: Any) -> Spoken:
    texts, tools = [], []
    for index, block in enumerate(body["output"]["message"]["content"]):
        texts.append((f"{index} text", block.get("text")))
        thought = block.get("reasoningContent", {}).get("reasoningText", {}).get("text")
        texts.append((f"{index} thought", thought))
        if tool := block.get("toolUse"):
            tools.append((tool["name"], tool["input"]))
    return Spoken(_said(texts), tools, [body["stopReason"]], body.get("usage"), (None, None))


# Gemini


def _gemini_events(events: list[Any]) -> Spoken:
    parts = [
        part
        for event in events
        for one in event.get("candidates") or ()
        for part in one.get("content", {}).get("parts") or ()
    ]
    ends = [
        one["finishReason"]
        for event in events
        for one in event.get("candidates") or ()
        if "finishReason" in one
    ]
    usage = [event["usageMetadata"] for event in events if "usageMetadata" in event]
    return _of_parts(parts, ends[-1:], usage[-1] if usage else None, events[0])


def _gemini_body(body: Any) -> Spoken:
    candidates = body.get("candidates") or ()
    parts = [part for one in candidates for part in one.get("content", {}).get("parts") or ()]
    ends = [one["finishReason"] for one in candidates if "finishReason" in one]
    return _of_parts(parts, ends, body.get("usageMetadata"), body)


def _of_parts(parts: list[Any], ends: list[Any], usage: Any, said: Any) -> Spoken:
    texts = [("thought" if part.get("thought") else "text", part.get("text")) for part in parts]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    tools = [(call["name"], call.get("args")) for call in calls]
    return Spoken(_said(texts), tools, ends, usage, (said["responseId"], said["modelVersion"]))


# Cohere, Ollama, Titan


def _cohere_events(events: list[Any]) -> Spoken:
    texts: list[tuple[str, Any]] = []
    tools: dict[int, list[Any]] = {}
    ends, usage = [], None
    for event in events:
        delta = event.get("delta") or {}
        message = delta.get("message") or {}
        if event["type"] in {"content-start", "content-delta"}:
            texts.append(("text", message["content"].get("text")))
            texts.append(("thought", message["content"].get("thinking")))
        texts.append(("plan", message.get("tool_plan")))
        if event["type"] in {"tool-call-start", "tool-call-delta"}:
            function = message["tool_calls"]["function"]
            tool = tools.setdefault(event["index"], [function.get("name"), ""])
            tool[1] += function.get("arguments") or ""
        if event["type"] == "message-end":
            ends, usage = [delta["finish_reason"]], delta["usage"]
    calls = [(tool, _arguments(text)) for tool, text in tools.values()]
    return Spoken(_said(texts), calls, ends, usage, (events[0]["id"], None))


def _cohere_body(body: Any) -> Spoken:
    content = body["message"].get("content") or ()
    functions = [call["function"] for call in body["message"].get("tool_calls") or ()]
    tools = [(function["name"], _arguments(function["arguments"])) for function in functions]
    texts = [("text", part.get("text")) for part in content]
    texts += [("thought", part.get("thinking")) for part in content]
    texts.append(("plan", body["message"].get("tool_plan")))
    return Spoken(_said(texts), tools, [body["finish_reason"]], body["usage"], (body["id"], None))


def _ollama_events(events: list[Any]) -> Spoken:
    texts = [("text", e.get("response") or e.get("message", {}).get("content")) for e in events]
    last = events[-1]
    counts = {key: value for key, value in last.items() if key.endswith(("_count", "_duration"))}
    return Spoken(_said(texts), [], [last.get("done_reason")], counts, (None, last["model"]))


def _ollama_body(body: Any) -> Spoken:
    return _ollama_events([body])


def _titan_events(events: list[Any]) -> Spoken:
    texts = [("text", event["outputText"]) for event in events]
    return Spoken(_said(texts), [], [events[-1].get("completionReason")], None, (None, None))


def _titan_body(body: Any) -> Spoken:
    texts = [("text", result["outputText"]) for result in body["results"]]
    ends = [result.get("completionReason") for result in body["results"]]
    return Spoken(_said(texts), [], ends, None, (None, None))


# Those whose last event holds all


def _last_response(events: list[Any]) -> Any:
    return [event["response"] for event in events if isinstance(event.get("response"), dict)][-1]


def _last_run(events: list[Any]) -> Any:
    return [event for event in events if event.get("object") == "thread.run"][-1]


def _as_it_is(body: Any) -> Any:
    return body


def _run_itself(body: Any) -> Any:
    """Return the run: what the stream says of its messages and steps is beside it."""
    return {key: value for key, value in body.items() if key not in {"messages", "steps"}}


Reader = Callable[[Any], Any]
_READERS: dict[str, tuple[Reader, Reader]] = {
    "/responses": (_last_response, _as_it_is),
    "/v1/messages": (_message_events, _message_body),
    "/converse-stream": (_converse_events, _converse_body),
    ":streamGenerateContent": (_gemini_events, _gemini_body),
    "/v2/chat": (_cohere_events, _cohere_body),
    "/v1/chat": (_last_response, _as_it_is),
    "/api/chat": (_ollama_events, _ollama_body),
    "/api/generate": (_ollama_events, _ollama_body),
    "/invoke-with-response-stream": (_titan_events, _titan_body),
    "/runs": (_last_run, _run_itself),
}


def _readers(recording: Recording) -> tuple[Reader, Reader]:
    if recording.provider == "writer":  # its /v1/chat is a chat completion's
        return _chat_events, _chat_body
    for end, readers in _READERS.items():
        if recording.endpoint.endswith(end):
            return readers
    return _chat_events, _chat_body
