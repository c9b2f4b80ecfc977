"""What was said in a call, divided for a page: the history, what is new, and the answers."""

from collections.abc import Sequence
from typing import NamedTuple

from llm_audit.display.pretty import pretty
from llm_audit.display.said import answers_in, request_in
from llm_audit.providers.blocks import ASSISTANT, CALL, REASONING, RESPONSE, SYSTEM, TEXT
from llm_audit.providers.messages import Part
from llm_audit.queries.pairing import Paired, pair
from llm_audit.queries.steps import Document

LONGEST = 8_000  # characters that are shown at once


class Block(NamedTuple):
    """One thing that was said, ready to be shown.

    Attributes:
        kind: text, reasoning, tool_call, tool_call_response or another, as the provider says it.
        role: Who said it.
        text: What, as text.
        rest: How many characters more there are.
        name: The tool's.
        responses: What the tool gave back, if it was asked for here.
        is_error: Whether a response says that the tool failed.
    """

    kind: str
    role: str
    text: str
    rest: int = 0
    name: str | None = None
    responses: Sequence["Block"] = ()
    is_error: bool = False


class Exchange(NamedTuple):
    """A call's request and its answers.

    Attributes:
        system: Instructions.
        history: What was said before this turn.
        new: What is new in this turn.
        answers: One for each choice.
    """

    system: Sequence[Block]
    history: Sequence[Block]
    new: Sequence[Block]
    answers: Sequence[Sequence[Block]]


def exchange_of(call: Document) -> Exchange:
    """Return what was said in a call.

    Args:
        call: A document as read from MongoDB.
    """
    request, *answers = pair(list(request_in(call)), *map(list, answers_in(call)))
    system = [one for one in request if one.part.role == SYSTEM]
    others = [one for one in request if one.part.role != SYSTEM]
    first = _first_new(others)
    return Exchange(
        [block_of(one) for one in system],
        [block_of(one) for one in others[:first]],
        [block_of(one) for one in others[first:]],
        [[block_of(one) for one in answer] for answer in answers],
    )


def _first_new(said: Sequence[Paired]) -> int:
    """Return where this turn begins: after the last answer, or with the tools it had asked for."""
    after = next((n for n in range(len(said), 0, -1) if said[n - 1].part.role == ASSISTANT), 0)
    while after and said[after - 1].responses:
        after -= 1
    return after


def block_of(paired: Paired) -> Block:
    """Return one thing that was said, ready to be shown."""
    part = paired.part
    responses = [_response(response) for response in paired.responses]
    if part.type == CALL:
        text, rest = _cut(pretty(part.arguments))
        return Block(CALL, part.role, text, rest, part.name, responses)
    if part.type == RESPONSE:
        return _response(part)
    said = part.content if part.type in (TEXT, REASONING) else pretty(part.content)
    text, rest = _cut(str(said))
    return Block(part.type, part.role, text, rest)


def _response(part: Part) -> Block:
    text, rest = _cut(pretty(part.response))
    return Block(RESPONSE, part.role, text, rest, part.name, is_error=part.is_error)


def _cut(text: str) -> tuple[str, int]:
    return text[:LONGEST], max(0, len(text) - LONGEST)
