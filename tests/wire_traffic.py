"""What was on the wire of recorded calls: the bytes of their requests and answers."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zlib import crc32

from recorded_traffic import recorded_calls

from llm_audit.wire.apis import Asked, confirmed, matched

EVENT, EXCEPTION = "event", "exception"


class Exchange(NamedTuple):
    """A recorded call, and what was on its wire."""

    call: dict[str, Any]
    asked: Asked | None
    request: bytes | None
    answer: bytes
    content_type: str | None

    @property
    def is_stream(self) -> bool:
        """Whether it was answered in pieces."""
        return self.call["stream_format"] is not None


def exchanges() -> Iterator[Exchange]:
    """Yield every recorded call with the bytes that it stands for."""
    for call in recorded_calls():
        url = urlsplit(call["url"])
        request = request_bytes(call)
        found = matched(call["method"], url.path)
        if found is not None and found.result_of is None:
            found = confirmed(found, url.hostname or "", request)
        headers = call["resp_headers"] or {}
        yield Exchange(call, found, request, answer_bytes(call), headers.get("content-type"))


def request_bytes(call: dict[str, Any]) -> bytes | None:
    if call["request"] is not None:
        return json.dumps(call["request"], ensure_ascii=False).encode()
    text = call.get("request_text")
    return None if text is None else text.encode()


def answer_bytes(call: dict[str, Any]) -> bytes:
    if call["sse"] is not None:
        return call["sse"].encode()
    if call.get("eventstream"):
        return b"".join(_recorded_message(event) for event in call["eventstream"])
    if call["response"] is None:
        return (call.get("body_text") or "").encode()
    return json.dumps(call["response"], ensure_ascii=False).encode()


def aws_message(name: str, payload: object, kind: str = EVENT) -> bytes:
    """Return a message of an AWS event stream."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    headers = b"".join(
        struct.pack(">B", len(key))
        + key.encode()
        + struct.pack(">BH", 7, len(value))
        + value.encode()
        for key, value in (
            (f":{kind}-type", name),
            (":content-type", "application/json"),
            (":message-type", kind),
        )
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(content), len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + content
    return message + struct.pack(">I", crc32(message))


def _recorded_message(event: dict[str, Any]) -> bytes:
    payload = dict(event["payload"])
    if "bytes_decoded" in payload:
        inner = json.dumps(payload.pop("bytes_decoded")).encode()
        payload["bytes"] = base64.b64encode(inner).decode()
    return aws_message(event["event_type"], payload, event["message_type"])
