"""Texts that follow each other: watsonx, Hugging Face, Aleph Alpha, Cloudflare."""

from collections.abc import Iterable
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly import openai_chat
from llm_audit.wire.assembly.pieces import add_item, add_text, items, joined
from llm_audit.wire.frames import DONE

_TEXT = "generated_text"


def assemble_watsonx(events: Iterable[Event]) -> Assembled:
    """Return watsonx' answer: its text joined, its counts as they were last."""
    body: dict[str, Any] = {}
    result: dict[str, Any] = {}
    error = None
    for _, data in events:
        if not isinstance(data, dict):
            continue
        error = data.get("errors") or error
        body.update(data)
        for piece in items(data.get("results")):
            if isinstance(piece, dict):
                add_text(result, _TEXT, piece.get(_TEXT))
                result.update({k: v for k, v in piece.items() if k != _TEXT and v is not None})
    if result:
        body["results"] = [joined(result)]
    ended = result.get("stop_reason") not in (None, "not_finished", "NOT_FINISHED")
    return Assembled(body, complete=ended, finished=ended, error=error)


def assemble_generation(events: Iterable[Event]) -> Assembled:
    """Return the answer of Hugging Face's text generation: its last piece has the whole text."""
    body: dict[str, Any] = {}
    complete, error = False, None
    for _, data in events:
        if not isinstance(data, dict):
            continue
        error = data.get("error") or error
        token = data.get("token")
        if isinstance(data.get(_TEXT), str):
            body.update({k: v for k, v in data.items() if k not in {"token", "index"}})
            complete = True
        elif isinstance(token, dict) and not token.get("special"):
            add_text(body, _TEXT, token.get("text"))
    return Assembled(joined(body), complete, finished=complete, error=error)


def assemble_alephalpha(events: Iterable[Event]) -> Assembled:
    """Return Aleph Alpha's completions, each of its own pieces; a summary of all is the last."""
    body: dict[str, Any] = {}
    completions: dict[int, dict[str, Any]] = {}
    complete, error = False, None
    for name, data in events:
        if not isinstance(data, dict):
            continue
        kind = str(data.get("type") or name)
        said = {key: value for key, value in data.items() if key not in {"type", "index"}}
        if kind == "completion_summary":
            body.update(said)
            complete = True
        elif kind in {"stream_chunk", "stream_summary"}:
            index = data.get("index")
            whole = completions.setdefault(index if type(index) is int else 0, {})
            if "model_version" in said:
                body["model_version"] = said.pop("model_version")
            for key, value in said.items():
                _add(whole, key, value)
        else:
            error = data.get("error") or data
    if completions:
        body["completions"] = [joined(completions[index]) for index in sorted(completions)]
    return Assembled(body, complete, finished=complete, error=error)


def _add(whole: dict[str, Any], key: str, value: Any) -> None:
    if key in {"completion", "raw_completion"}:
        add_text(whole, key, value)
    elif isinstance(value, list):
        for item in value:
            add_item(whole, key, item)
    elif value is not None:
        whole[key] = value


def assemble_cloudflare(events: Iterable[Event]) -> Assembled:
    """Return the answer of Workers AI, which some models give in the words of OpenAI."""
    found = list(events)
    if any(isinstance(data, dict) and "choices" in data for _, data in found):
        return openai_chat.assemble(found)
    result: dict[str, Any] = {}
    complete, error = False, None
    for _, data in found:
        if not isinstance(data, dict):
            complete = complete or data == DONE
            continue
        error = data.get("error") or data.get("errors") or error
        add_text(result, "response", data.get("response"))
        for call in items(data.get("tool_calls")):
            add_item(result, "tool_calls", call)
        known = _OF_CLOUDFLARE
        result.update({key: value for key, value in data.items() if key not in known})
    body = {"result": joined(result)} if result else {}
    return Assembled(body, complete, finished=complete, error=error)


# `p` is random text against who counts bytes.
_OF_CLOUDFLARE = frozenset({"p", "response", "tool_calls", "error", "errors"})
