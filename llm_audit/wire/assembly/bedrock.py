"""Bedrock: Converse, and what each family of models streams by InvokeModel."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly import anthropic, cohere, openai_chat
from llm_audit.wire.assembly.pieces import add_item, fields, grow, joined
from llm_audit.wire.event_stream import EXCEPTION
from llm_audit.wire.frames import parsed

_PADDING = "p"  # random text against who counts bytes
_METRICS = "amazon-bedrock-invocationMetrics"
_EVENTS = frozenset(
    {
        *("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop"),
        *("messageStop", "metadata"),
    }
)


def assemble_converse(events: Iterable[Event]) -> Assembled:
    """Return the answer that ConverseStream's events make."""
    body: dict[str, Any] = {}
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    complete, error = False, None
    for name, data in events:
        if not isinstance(data, dict):
            continue
        said = {key: value for key, value in data.items() if key != _PADDING}
        index = said.pop("contentBlockIndex", 0)
        index = index if type(index) is int else 0
        if name == "messageStart":
            message.update(said)
        elif name in {"contentBlockStart", "contentBlockDelta"}:
            piece = said.get("start" if name == "contentBlockStart" else "delta")
            if isinstance(piece, dict):
                _add(blocks.setdefault(index, {}), piece)
        elif name in {"messageStop", "metadata"}:
            body.update(said)
            complete = complete or name == "metadata"
        elif name.startswith(EXCEPTION):
            error = {"type": name.partition(":")[2], **said}
    content = [_finished(blocks[index]) for index in sorted(blocks)]
    if message or content:
        body["output"] = {"message": {**message, "content": content}}
    return Assembled(body, complete, finished="stopReason" in body, error=error)


def _add(block: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if name == "reasoningContent" and isinstance(value, dict):
            own = block.setdefault(name, {})
            text = {k: v for k, v in value.items() if k in {"text", "signature"}}
            grow(own, {k: v for k, v in value.items() if k not in text})
            if text:
                grow(own.setdefault("reasoningText", {}), text)
        elif name == "citation":
            own = block.setdefault("citationsContent", {})
            add_item(own, "citations", value)
        else:
            grow(block, {name: value})


def _finished(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block as Converse has it: input of a tool as JSON, cited text in its place."""
    whole: dict[str, Any] = joined(block)
    tool = whole.get("toolUse")
    if isinstance(tool, dict) and isinstance(text := tool.get("input", ""), str):
        try:
            tool["input"] = parsed(text) if text else {}
        except ValueError:  # broken off, so it stays the text that it is
            tool["input"] = text
    cited = whole.get("citationsContent")
    if isinstance(cited, dict) and isinstance(text := whole.get("text"), str):
        cited["content"] = [{"text": text}]
        del whole["text"]
    return whole


def assemble_invoke(events: Iterable[Event]) -> Assembled:
    """Return the answer that a model's own events make, whichever family it is of."""
    found = list(events)
    error = next((_error(event) for event in found if event.name.startswith(EXCEPTION)), None)
    pieces = [event for event in found if not event.name.startswith(EXCEPTION)]
    whole = _of_family(pieces)
    metrics = [piece.data[_METRICS] for piece in pieces if _METRICS in fields(piece.data)]
    if metrics and isinstance(whole.response, dict):
        whole.response[_METRICS] = metrics[-1]
    if error is None:
        return whole._replace(complete=whole.complete or bool(metrics))
    return whole._replace(error=error, complete=False)


def _error(event: Event) -> dict[str, Any]:
    return {"type": event.name.partition(":")[2], **fields(event.data)}


def _of_family(pieces: list[Event]) -> Assembled:
    first = next((fields(piece.data) for piece in pieces if piece.data), {})
    if first.get("type") in ("message_start", "ping") or "completion" in first:
        return anthropic.assemble(pieces)
    if not _EVENTS.isdisjoint(first):  # Nova
        return assemble_converse(_unwrapped(pieces))
    if "choices" in first:
        return openai_chat.assemble(pieces)
    if "event_type" in first or "is_finished" in first:
        return cohere.assemble_v1(pieces)
    if "outputText" in first:
        return _of_titan(pieces)
    return _of_texts(pieces)


def _unwrapped(pieces: list[Event]) -> Iterator[Event]:
    for piece in pieces:
        for name, data in fields(piece.data).items():
            if name in _EVENTS:
                yield Event(name, data)


def _of_titan(pieces: list[Event]) -> Assembled:
    """Return Titan's answer, which has the counts of its results in them."""
    body: dict[str, Any] = {}
    result: dict[str, Any] = {}
    for piece in pieces:
        for name, value in fields(piece.data).items():
            if name == "outputText":
                grow(result, {name: value})
            elif value is None or name == "index":
                continue
            elif name == "totalOutputTextTokenCount":
                result["tokenCount"] = value
            elif name == "completionReason":
                result[name] = value
            else:
                body[name] = value
    finished = bool(result.get("completionReason")) or "tokenCount" in result
    return Assembled({**body, "results": [joined(result)]}, finished, finished)


def _of_texts(pieces: list[Event]) -> Assembled:
    """Return the answer of Llama, of Mistral and of others whose pieces are texts with counts."""
    body: dict[str, Any] = {}
    output: dict[str, Any] = {}
    for piece in pieces:
        for name, value in fields(piece.data).items():
            if name == "outputs" and isinstance(value, list):
                grow(output, fields(value[0] if value else None))
            elif isinstance(value, str) and name != "stop_reason":
                grow(body, {name: value})
            elif value is not None or name not in body:
                body[name] = value
    whole: dict[str, Any] = joined({**body, "outputs": [output]} if output else body)
    finished = bool((output or body).get("stop_reason"))
    return Assembled(whole, finished, finished)
