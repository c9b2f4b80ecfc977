"""What came back, read: a body of JSON, or a stream put together; whole or broken off."""

import json
from typing import Any, NamedTuple

from llm_audit.wire.apis import Asked


class Answer(NamedTuple):
    """What came back.

    Attributes:
        response: The body as JSON; of a stream that which would have come in one piece. A text if
            it is no JSON; None if there is nothing to keep.
        complete: Whether it came to its end.
        streamed: Whether it came in pieces.
        error: What a stream says that went wrong, as it came.
        notes: What is to be said of it.
    """

    response: Any
    complete: bool
    streamed: bool = False
    error: Any = None
    notes: tuple[str, ...] = ()


def read_answer(
    asked: Asked,
    body: bytes,
    content_type: str | None = None,
    content_encoding: str | None = None,
) -> Answer:
    """Return what an answer says; no bytes make this raise.

    Args:
        asked: What `confirmed` returned.
        body: As it came, perhaps broken off.
        content_type: As the header has it.
        content_encoding: The same, if the body is still compressed.
    """
    del asked, content_type, content_encoding  # streams follow
    return Answer(json.loads(body), complete=True)
