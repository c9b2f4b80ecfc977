"""Streams made up: pieces of an API's, and what is read of them."""

import json
from typing import Any

from llm_audit.wire.answers import Answer, read_answer
from llm_audit.wire.apis import ROWS, Asked

ROW = {row.api: row for row in ROWS}
SSE, AWS = "text/event-stream", "application/vnd.amazon.eventstream"


def streamed(api: str, *pieces: Any, done: bool = False) -> Answer:
    """Read a stream of these pieces; a text is written as it is."""
    texts = [piece if isinstance(piece, str) else json.dumps(piece) for piece in pieces]
    body = "".join(f"data: {text}\n\n" for text in (*texts, *(["[DONE]"] if done else [])))
    return read_answer(Asked((ROW[api],)), body.encode(), SSE)
