"""What was sent -> the fields of a call's start, and back."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from llm_audit.wire.apis import Asked


def read_request(
    asked: Asked, body: bytes | None, content_type: str | None = None
) -> dict[str, Any]:
    """Return the fields of a call's start that the body of its request says.

    Args:
        asked: What `confirmed` returned.
        body: As it was sent; None if it could not be read.
        content_type: As the header has it.

    Returns:
        Those of `call_type`, `model`, `messages`, `input`, `system_prompt`, `tools`, `tool_choice`,
        `temperature`, `max_tokens` that there are; `request_params`, which holds all the rest;
        `encoding_notes`, if there is something to say.
    """
    del content_type  # forms follow
    return {"request_params": json.loads(body or b"{}"), "model": asked.model}


def request_of(call: Mapping[str, Any] | BaseModel) -> Any:
    """Put the request of a captured call together again, as it was sent.

    Args:
        call: An `LLMCall`, or its document. If large content of it is in GridFS, read the call with
            that: `LLMCallRepository.get(call_id, with_media=True)`.

    Returns:
        The body of the request; None if the call was not captured.
    """
    return dict(call).get("request_params")  # the other fields follow
