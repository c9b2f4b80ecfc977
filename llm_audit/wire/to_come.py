"""Answers that say only that the result is still being made, with the id by which it is fetched."""

import re
from collections.abc import Mapping

from llm_audit.wire.apis import ROWS

_APIS = frozenset(row.api for row in ROWS if row.results)
_STATES = (
    *("queued", "in_progress"),  # OpenAI, Google's interactions, Anthropic's batches
    *("validating", "finalizing", "cancelling", "canceling"),  # batches
    *("starting", "processing"),  # Replicate
)
_KEYS = ("status", "processing_status")
_STATE = re.compile(rf'"(?:{"|".join(_KEYS)})"\s*:\s*"(?:{"|".join(_STATES)})"'.encode())
_BACKGROUND = re.compile(rb'"background"\s*:\s*true')


def is_to_come(api: str | None, response: object) -> bool:
    """Tell whether an answer is none yet.

    Args:
        api: Its name in the table.
        response: What was answered.
    """
    return api in _APIS and says_to_come(response)


def says_to_come(response: object) -> bool:
    """Tell the same of an answer that is of one of these APIs."""
    if not isinstance(response, Mapping):
        return False
    return any(response.get(key) in _STATES for key in _KEYS)


def may_be_to_come(api: str, body: bytes, encoding: str | None, *, streamed: bool) -> bool:
    """Tell whether an answer has to be read to know, by a look at its bytes.

    Args:
        api: As of `is_to_come`.
        body: As it came.
        encoding: By which it is compressed.
        streamed: Whether it came in pieces: all of these say at first that they are in progress,
            and what is not made in the background ends with them.
    """
    if api not in _APIS or not body:
        return False
    pattern = _BACKGROUND if streamed else _STATE
    return encoding is not None or pattern.search(body) is not None
