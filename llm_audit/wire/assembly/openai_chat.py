"""OpenAI's chat completions and legacy completions, and those of all who speak them."""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import grow, items, joined
from llm_audit.wire.frames import DONE

_FIRST_STANDS = frozenset({"id", "object", "created", "model"})
_NO_PART = frozenset({"choices", "obfuscation"})  # random text against who counts bytes
_GROWING = frozenset({"text", "logprobs", "message", "token_ids"})
_CHUNK = ".chunk"
_BARE = "value"  # all that a piece of Writer's completions has: nothing tells its end


def assemble(events: Iterable[Event]) -> Assembled:
    """Return the completion that chunks make: by choice, and in these by tool call."""
    body: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    done, bare, error = False, False, None
    for name, chunk in events:
        if chunk == DONE:
            done = True
        elif isinstance(chunk, dict) and chunk.keys() == {_BARE}:
            bare = True
            _add_choice(choices, {"text": chunk[_BARE]})
        elif isinstance(chunk, dict) and "error" in {name, str(chunk.get("object"))}:
            error = chunk.get("error") or chunk
        elif isinstance(chunk, dict):
            error = chunk.get("error") or error
            _add_fields(body, chunk)
            for choice in items(chunk.get("choices")):
                if isinstance(choice, dict):
                    _add_choice(choices, choice)
    kind = body.get("object")
    if isinstance(kind, str):
        body["object"] = kind.removesuffix(_CHUNK)
    whole = [_finished(choices[index]) for index in sorted(choices)]
    says_nothing = bare and not error
    finished = done or says_nothing or (bool(whole) and all(map(_finish_reason, whole)))
    return Assembled(body | {"choices": whole}, complete=done, finished=finished, error=error)


def _finish_reason(choice: dict[str, Any]) -> Any:
    return choice.get("finish_reason")


def _add_fields(body: dict[str, Any], chunk: Mapping[str, Any]) -> None:
    """Add what a chunk says beside its choices; what it says of all of it, it says at the end."""
    for key, value in chunk.items():
        old = body.get(key)
        if key in _NO_PART or (value is None and old is not None):
            continue
        if key in _FIRST_STANDS:
            body[key] = old or value
        elif key != "usage" and isinstance(value, dict) and isinstance(old, dict):
            old.update(value)
        else:
            body[key] = dict(value) if isinstance(value, dict) else value


def _add_choice(choices: dict[int, dict[str, Any]], choice: Mapping[str, Any]) -> None:
    index = choice.get("index")
    whole = choices.setdefault(index if type(index) is int else 0, {})
    delta = choice.get("delta")
    if isinstance(delta, dict) and delta:
        grow(whole.setdefault("message", {}), delta)
    for key, value in choice.items():
        if key == "delta" or (key == "message" and delta is not None):
            continue  # Writer says both
        if key in _GROWING:
            grow(whole, {key: value})
        elif value is not None or key not in whole:
            whole[key] = value


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = joined(choice)
    message = whole.get("message")
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if isinstance(calls, list) and all(isinstance(call, dict) for call in calls):
        calls.sort(key=lambda call: index if type(index := call.get("index")) is int else 0)
        for call in calls:
            call.pop("index", None)  # which only pieces have
    return whole
