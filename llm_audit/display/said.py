"""Everything that was said in a call, in order, empty messages included."""

from collections.abc import Iterator, Sequence

from llm_audit.providers.blocks import ASSISTANT, SYSTEM, TEXT, USER, role_of
from llm_audit.providers.messages import Part, read_answers, read_request
from llm_audit.queries.steps import Document


def request_in(call: Document) -> Iterator[Part]:
    """Yield everything that a call's request says, in order; an empty message is an empty text.

    Args:
        call: A document as read from MongoDB.
    """
    for name, role in (("system_prompt", SYSTEM), ("messages", USER), ("input", USER)):
        said = call.get(name)
        for message in said if isinstance(said, list) else [] if said is None else [said]:
            yield from read_request({name: message}) or [_nothing(message, role)]


def answers_in(call: Document) -> Iterator[Sequence[Part]]:
    """Yield what a call's response says, then each of its other choices; empty ones as above."""
    first, *others = read_answers(call)
    message = call.get("response_message")
    yield first or ([] if message is None else [_nothing(message, ASSISTANT)])
    for choice in others:
        yield choice or [_nothing(None, ASSISTANT)]


def _nothing(message: object, role: str) -> Part:
    return Part(role=role_of(message, role), type=TEXT, content="")
