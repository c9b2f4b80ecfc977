"""What servers of one's own stream: llama.cpp, Triton, SGLang, vLLM, LM Studio."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, add_text, fields, items, joined, says_all_again
from llm_audit.wire.frames import DONE

_LISTS = ("tokens", "completion_probabilities")


def assemble_llama_cpp(events: Iterable[Event]) -> Assembled:
    """Return the completion whose pieces these are; the last has its counts and settings."""
    body: dict[str, Any] = {}
    error = None
    for _, data in events:
        if not isinstance(data, dict):
            continue
        error = data.get("error") or error
        add_text(body, "content", data.get("content"))
        for name in _LISTS:
            for item in items(data.get(name)):
                add_item(body, name, item)
        known = ("content", "error", *_LISTS)
        body.update({name: value for name, value in data.items() if name not in known})
    complete = body.get("stop") is True
    return Assembled(joined(body), complete, finished=complete, error=error)


def assemble_triton(events: Iterable[Event]) -> Assembled:
    """Return the output that pieces make; nothing marks the last."""
    body, error = _of_texts(events, "text_output")
    return Assembled(body, complete=False, finished=bool(body) and not error, error=error)


def assemble_sglang(events: Iterable[Event]) -> Assembled:
    """Return the text that pieces make; of several answers the pieces stay what they are."""
    found = list(events)
    done = any(data == DONE for _, data in found)
    body, error = _of_texts(found, "text")
    reason = fields(body.get("meta_info")).get("finish_reason")
    if len({fields(data).get("index") for _, data in found if data != DONE}) > 1:
        body = {}
    return Assembled(body, complete=done, finished=done or bool(reason), error=error)


def assemble_vllm(events: Iterable[Event]) -> Assembled:
    """Return the last piece, which has all; nothing marks it."""
    body: dict[str, Any] = {}
    for _, data in events:
        body.update(fields(data))
    error = body.get("error")
    return Assembled(body, complete=False, finished=bool(body) and not error, error=error)


def _of_texts(events: Iterable[Event], text: str) -> tuple[dict[str, Any], Any]:
    """Return what pieces make that add to a text, or say it all again; and the error in them."""
    pieces = [data for _, data in events if isinstance(data, dict)]
    error = next((piece["error"] for piece in pieces if piece.get("error")), None)
    body: dict[str, Any] = {}
    for piece in pieces:
        body.update({name: value for name, value in piece.items() if name != "error"})
    texts = [piece[text] for piece in pieces if isinstance(piece.get(text), str)]
    if texts and not says_all_again(texts):
        body[text] = "".join(texts)
    return body, error


def assemble_lmstudio(events: Iterable[Event]) -> Assembled:
    """Return the answer in the last event; of a stream broken off it is put together."""
    body: dict[str, Any] = {}
    output: list[dict[str, Any]] = []
    complete, error = False, None
    for name, data in events:
        said = fields(data)
        kind = str(said.get("type") or name)
        if kind == "chat.end":
            complete = True
            body = fields(said.get("result")) or body
        elif kind == "chat.start":
            body.update({key: value for key, value in said.items() if key != "type"})
        elif kind == "error":
            error = said.get("error") or said
        else:
            _add(output, *kind.rsplit(".", 1), said=said)
    if output and not body.get("output"):
        body["output"] = [joined(item) for item in output]
    return Assembled(body, complete, finished=complete, error=error)


def _add(output: list[dict[str, Any]], of: str, what: str = "", *, said: Mapping[str, Any]) -> None:
    if of not in {"message", "reasoning", "tool_call"}:
        return  # how far loading the model is, say
    if what == "start" or not output or output[-1]["type"] != of:
        output.append({"type": of})
    add_text(output[-1], "content", said.get("content"))
    if of == "tool_call":
        output[-1].update({name: value for name, value in said.items() if name != "type"})
