"""What a call says, with the messages in it that say nothing."""

from collections.abc import Iterator, Mapping, Sequence

from llm_audit.cli.connection import Call
from llm_audit.queries.messages import (
    ASSISTANT,
    SYSTEM,
    TEXT,
    USER,
    Part,
    read_answers,
    read_request,
)


def request_of(call: Call) -> Iterator[Part]:
    """Yield everything that a call's request says, in order; an empty message is an empty text.

    Args:
        call: A document as read from MongoDB.
    """
    for name, role in (("system_prompt", SYSTEM), ("messages", USER), ("input", USER)):
        said = call.get(name)
        for message in said if isinstance(said, list) else [] if said is None else [said]:
            yield from read_request({name: message}) or [_nothing(message, role)]


def answers_of(call: Call) -> Iterator[Sequence[Part]]:
    """Yield what a call's response says, then each of its other choices; empty ones as above."""
    first, *others = read_answers(call)
    message = call.get("response_message")
    yield first or ([] if message is None else [_nothing(message, ASSISTANT)])
    for choice in others:
        yield choice or [_nothing(None, ASSISTANT)]


def _nothing(message: object, role: str) -> Part:
    own = message.get("role") if isinstance(message, Mapping) else None
    return Part(role=own if isinstance(own, str) else role, type=TEXT, content="")
