"""DashScope: pieces that add to what came before, or say it all again, as was asked for."""

from collections.abc import Iterable, Iterator
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import fields, grow, items, joined, says_all_again

_TEXT = {"type": "text"}
_UNFINISHED = (None, "", "null")


def assemble(events: Iterable[Event]) -> Assembled:
    """Return the answer that pieces make."""
    pieces = [data for _, data in events if isinstance(data, dict)]
    error = next((piece for piece in pieces if piece.get("code") and "output" not in piece), None)
    said = [piece for piece in pieces if piece is not error]
    body: dict[str, Any] = {}
    for piece in said:
        body.update({name: value for name, value in piece.items() if value is not None})
    if not all(map(says_all_again, _texts(said))):
        body["output"] = _added(said)
    reasons = list(_reasons(fields(body.get("output"))))
    finished = bool(reasons) and all(reason not in _UNFINISHED for reason in reasons)
    return Assembled(body, complete=finished, finished=finished, error=error)


def _texts(pieces: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield what each part of the first answer was, piece by piece."""
    outputs = [fields(piece.get("output")) for piece in pieces]
    messages = [_message(output) for output in outputs]
    yield [str(output.get("text") or "") for output in outputs]
    for name in ("content", "reasoning_content"):
        yield [_text(message.get(name)) for message in messages]
    calls = [items(message.get("tool_calls")) for message in messages]
    functions = [fields(fields(call[0] if call else None).get("function")) for call in calls]
    yield [str(function.get("arguments") or "") for function in functions]


def _message(output: dict[str, Any]) -> dict[str, Any]:
    choices = items(output.get("choices"))
    return fields(fields(choices[0] if choices else None).get("message"))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(fields(part).get("text") or "") for part in items(content))


def _added(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    output: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        for name, value in fields(piece.get("output")).items():
            if name == "text":
                grow(output, {name: value})
            elif name != "choices":
                output[name] = value
        for place, choice in enumerate(items(fields(piece.get("output")).get("choices"))):
            _add_choice(choices.setdefault(place, {}), fields(choice))
    if choices:
        output["choices"] = [_plain(joined(choices[place])) for place in sorted(choices)]
    whole: dict[str, Any] = joined(output)
    return whole


def _add_choice(whole: dict[str, Any], choice: dict[str, Any]) -> None:
    message = fields(choice.get("message"))
    content = message.get("content")
    if isinstance(content, list):  # texts among them are one
        texts = [{**part, **_TEXT} if _is_text(part) else part for part in content]
        message = {**message, "content": texts}
    grow(whole.setdefault("message", {}), message)
    whole.update({name: value for name, value in choice.items() if name != "message"})


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.keys() == {"text"}


def _plain(choice: dict[str, Any]) -> dict[str, Any]:
    """Take the type off that texts were given to be joined."""
    for part in items(fields(choice.get("message")).get("content")):
        if isinstance(part, dict) and _TEXT.items() <= part.items():
            del part["type"]
    return choice


def _reasons(output: dict[str, Any]) -> Iterator[Any]:
    for choice in items(output.get("choices")) or [output]:
        yield fields(choice).get("finish_reason")
