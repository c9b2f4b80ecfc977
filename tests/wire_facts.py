"""What streams say, put together by other means: plainly, and only what matters of it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from wire_traffic import Exchange

from llm_audit.wire.frames import DONE


def pieces_of(one: Exchange) -> list[Any]:
    """Return the JSON of a stream's pieces."""
    if one.call.get("eventstream"):
        return [
            {event["event_type"]: event["payload"].get("bytes_decoded", event["payload"])}
            for event in one.call["eventstream"]
        ]
    lines = [line.rstrip("\r") for line in one.call["sse"].split("\n")]
    if one.call["stream_format"] == "ndjson":
        return [json.loads(line) for line in lines if line.strip()]
    data = [line[5:].strip() for line in lines if line.startswith("data:")]
    return [json.loads(text) for text in data if text != DONE]


def of_chat(pieces: list[Any]) -> Iterator[Any]:
    choices = [choice for piece in pieces for choice in piece.get("choices") or ()]
    deltas = [choice.get("delta") or {} for choice in choices]
    yield "".join(text(delta.get("content")) for delta in deltas)
    yield "".join(choice.get("text") or "" for choice in choices) or "".join(
        piece.get("value", "") for piece in pieces
    )
    for name in ("refusal", "reasoning", "reasoning_content"):
        yield "".join(delta.get(name) or "" for delta in deltas)
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    yield [call["id"] for call in calls if call.get("id")]
    yield "".join((call.get("function") or {}).get("arguments") or "" for call in calls)
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    yield reasons[-1] if reasons else None
    usages = [piece["usage"] for piece in pieces if piece.get("usage")]
    yield usages[-1] if usages else None


def text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(text(part.get("text") or part.get("thinking")) for part in content)
    return content or ""


def facts_of_chat(response: Any) -> Iterator[Any]:
    choice = response["choices"][0] if response["choices"] else {}
    message = choice.get("message") or {}
    yield text(message.get("content"))
    yield choice.get("text") or ""
    for name in ("refusal", "reasoning", "reasoning_content"):
        yield message.get(name) or ""
    calls = message.get("tool_calls") or []
    yield [call["id"] for call in calls if call.get("id")]
    yield "".join(call["function"].get("arguments") or "" for call in calls)
    yield choice.get("finish_reason")
    yield response.get("usage")


def of_responses(pieces: list[Any]) -> Iterator[Any]:
    yield pieces[-1]["response"]


def of_messages(pieces: list[Any]) -> Iterator[Any]:
    deltas = [piece["delta"] for piece in pieces if piece["type"] == "content_block_delta"]
    for name in ("text", "thinking", "signature"):
        yield "".join(delta.get(name, "") for delta in deltas)
    starts = [piece["content_block"] for piece in pieces if piece["type"] == "content_block_start"]
    yield [(block["type"], block.get("id"), block.get("name")) for block in starts]
    inputs: dict[int, str] = {}
    for piece in pieces:
        if "partial_json" in (piece.get("delta") or {}):
            inputs[piece["index"]] = inputs.get(piece["index"], "") + piece["delta"]["partial_json"]
    yield [json.loads(written or "{}") for written in inputs.values()]
    ending = next(piece for piece in pieces if piece["type"] == "message_delta")
    yield ending["delta"]["stop_reason"], ending["usage"]["output_tokens"]


def facts_of_messages(response: Any) -> Iterator[Any]:
    blocks = response["content"]
    for name in ("text", "thinking", "signature"):
        yield "".join(block.get(name) or "" for block in blocks)
    yield [(block["type"], block.get("id"), block.get("name")) for block in blocks]
    yield [block["input"] for block in blocks if "input" in block]
    yield response["stop_reason"], response["usage"]["output_tokens"]


def of_gemini(pieces: list[Any]) -> Iterator[Any]:
    candidates = [one for piece in pieces for one in piece.get("candidates") or ()]
    parts = [part for one in candidates for part in (one.get("content") or {}).get("parts") or ()]
    for thought in (False, True):
        yield "".join(p.get("text", "") for p in parts if bool(p.get("thought")) == thought)
    yield [part["functionCall"] for part in parts if "functionCall" in part]
    yield [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]
    yield [part for part in parts if not {"text", "functionCall", "thoughtSignature"} & part.keys()]
    yield pieces[-1].get("usageMetadata")
    yield [one["finishReason"] for one in candidates if "finishReason" in one][-1:]


def of_cohere_v2(pieces: list[Any]) -> Iterator[Any]:
    messages = [(piece.get("delta") or {}).get("message") or {} for piece in pieces]
    yield "".join(message.get("tool_plan", "") for message in messages)
    yield "".join(
        message["content"].get("text", "")
        for message in messages
        if isinstance(message.get("content"), dict)
    )
    calls = [m["tool_calls"] for m in messages if isinstance(m.get("tool_calls"), dict)]
    yield [call["id"] for call in calls if "id" in call]
    yield "".join(call["function"]["arguments"] for call in calls)
    yield pieces[-1]["delta"]


def facts_of_cohere_v2(response: Any) -> Iterator[Any]:
    message = response["message"]
    yield message.get("tool_plan", "")
    yield "".join(part.get("text", "") for part in message.get("content", ()))
    yield [call["id"] for call in message.get("tool_calls", ())]
    yield "".join(call["function"]["arguments"] for call in message.get("tool_calls", ()))
    yield {name: response[name] for name in ("finish_reason", "usage")}


def of_ollama(pieces: list[Any]) -> Iterator[Any]:
    yield "".join((piece.get("message") or {}).get("content", "") for piece in pieces)
    yield "".join(piece.get("response", "") for piece in pieces)
    yield pieces[-1]["done"], pieces[-1]["eval_count"]


def of_converse(pieces: list[Any]) -> Iterator[Any]:
    deltas = [piece["contentBlockDelta"] for piece in pieces if "contentBlockDelta" in piece]
    yield "".join(one["delta"].get("text", "") for one in deltas)
    yield "".join(one["delta"].get("reasoningContent", {}).get("text", "") for one in deltas)
    starts = [piece["contentBlockStart"] for piece in pieces if "contentBlockStart" in piece]
    yield [start["start"]["toolUse"]["name"] for start in starts if "toolUse" in start["start"]]
    inputs = "".join(one["delta"].get("toolUse", {}).get("input", "") for one in deltas)
    yield len(inputs) > 0
    yield next(piece["messageStop"]["stopReason"] for piece in pieces if "messageStop" in piece)
    metadata = pieces[-1]["metadata"]
    yield metadata["metrics"], metadata.get("usage")


def facts_of_converse(response: Any) -> Iterator[Any]:
    blocks = response["output"]["message"]["content"]
    reasons = [block.get("reasoningContent", {}).get("reasoningText", {}) for block in blocks]
    yield "".join(block.get("text", "") for block in blocks)
    yield "".join(reason.get("text", "") for reason in reasons)
    yield [block["toolUse"]["name"] for block in blocks if "toolUse" in block]
    yield any(block["toolUse"]["input"] for block in blocks if "toolUse" in block)
    yield response["stopReason"]
    yield response["metrics"], response.get("usage")


def of_titan(pieces: list[Any]) -> Iterator[Any]:
    yield "".join(piece["chunk"]["outputText"] for piece in pieces)
    yield pieces[0]["chunk"]["inputTextTokenCount"]


def of_run(pieces: list[Any]) -> Iterator[Any]:
    runs = [piece for piece in pieces if piece["object"] == "thread.run"]
    yield runs[-1]
    yield "".join(
        part["text"].get("value", "")
        for piece in pieces
        if piece["object"] == "thread.message.delta"
        for part in piece["delta"]["content"]
    )


def facts_of_run(response: Any) -> Iterator[Any]:
    yield {k: v for k, v in response.items() if k not in {"messages", "steps"}}
    yield "".join(
        part["text"]["value"] for message in response["messages"] for part in message["content"]
    )


PIECES: dict[str, Callable[[list[Any]], Iterator[Any]]] = {
    **dict.fromkeys(("openai.chat", "openai.completions"), of_chat),
    "openai.responses": of_responses,
    "openai.runs": of_run,
    "anthropic.messages": of_messages,
    "google.generate_content": of_gemini,
    "cohere.chat": of_cohere_v2,
    "cohere.v1": lambda pieces: iter([pieces[-1]["response"]]),
    **dict.fromkeys(("ollama.chat", "ollama.generate"), of_ollama),
    "bedrock.converse": of_converse,
    "bedrock.invoke": of_titan,
}
FACTS: dict[str, Callable[[Any], Iterator[Any]]] = {
    **dict.fromkeys(("openai.chat", "openai.completions"), facts_of_chat),
    "openai.runs": facts_of_run,
    "anthropic.messages": facts_of_messages,
    "google.generate_content": lambda response: of_gemini([response]),
    "cohere.chat": facts_of_cohere_v2,
    **dict.fromkeys(("ollama.chat", "ollama.generate"), lambda response: of_ollama([response])),
    "bedrock.converse": facts_of_converse,
    "bedrock.invoke": lambda body: iter(
        [body["results"][0]["outputText"], body["inputTextTokenCount"]]
    ),
}


def facts_of(one: Exchange, response: Any) -> Iterator[Any]:
    """Return the same of what was put together; Responses and Cohere's v1 have a whole one."""
    assert one.asked is not None
    return FACTS.get(one.asked.api.api, lambda whole: iter([whole]))(response)
