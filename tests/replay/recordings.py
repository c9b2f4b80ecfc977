"""The recorded calls, as a server can play them."""

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from recorded_traffic import TRAFFIC, recorded_calls
from replay.server import JSON, Answer

EVENTS = "application/vnd.amazon.eventstream"
_KINDS = {"sse": "text/event-stream", "ndjson": "application/x-ndjson", "aws-eventstream": EVENTS}
_SILENCE = b"\0\0" * 24000  # for the sound that the recording has left out
_KEPT = ("x-amzn-", "x-request-id", "request-id", "openai-", "retry-after")


@dataclass(frozen=True)
class Recording:
    """A call that was recorded.

    Attributes:
        call: As the recordings have it.
    """

    call: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Of the recording."""
        return str(self.call["id"])

    @property
    def provider(self) -> str:
        """Who was asked."""
        return str(self.call["provider"])

    @property
    def endpoint(self) -> str:
        """The path, with names for what differs from call to call."""
        return str(self.call["endpoint"])

    @property
    def method(self) -> str:
        """Of HTTP."""
        return str(self.call["method"])

    @cached_property
    def path(self) -> str:
        """The path of the URL."""
        return urlsplit(self.call["url"]).path

    @cached_property
    def query(self) -> str:
        """What stands behind the path of the URL."""
        return urlsplit(self.call["url"]).query

    @property
    def request(self) -> Any:
        """The body that was sent, if it was JSON."""
        return self.call["request"]

    @property
    def is_stream(self) -> bool:
        """Whether the answer came in pieces."""
        return bool(self.call.get("stream_format"))

    @property
    def is_sound(self) -> bool:
        """Whether the answer is no text."""
        return bool(self.call.get("body_omitted_bytes"))

    @property
    def response(self) -> Any:
        """The body that was answered, if it came in one piece."""
        return self.call["response"]

    @property
    def events(self) -> list[Any]:
        """What a stream said, piece by piece, read as simply as can be."""
        return list(_events(self.call))

    @cached_property
    def answer(self) -> Answer:
        """What the server is to play."""
        kind = _KINDS.get(self.call.get("stream_format") or "", JSON)
        headers = {
            name: value
            for name, value in self.call["resp_headers"].items()
            if name.startswith(_KEPT)
        }
        if self.call.get("eventstream"):
            frames = [aws_frame(frame) for frame in self.call["eventstream"]]
            return Answer(frames, 200, headers, kind, is_stream=True)
        if self.is_stream:
            pieces = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", self.call["sse"].encode())
            if kind == _KINDS["ndjson"]:
                pieces = self.call["sse"].encode().splitlines(keepends=True)
            pieces = [piece for piece in pieces if piece]
            return Answer(pieces, self.call["status"], headers, kind, is_stream=True)
        if self.is_sound:
            return Answer([_SILENCE], 200, headers, "audio/pcm")
        body = b"" if self.response is None else json.dumps(self.response).encode()
        return Answer([body], self.call["status"], headers)


def recordings() -> Iterator[Recording]:
    """Yield all of them; none where they are not beside the project."""
    if TRAFFIC.is_dir():
        yield from map(Recording, recorded_calls())


def aws_frame(frame: Mapping[str, Any]) -> bytes:
    """Return an event as AWS sends it, with both of its checksums."""
    said = frame["payload"]
    if "bytes_decoded" in said:
        inner = json.dumps(said["bytes_decoded"]).encode()
        said = {"bytes": base64.b64encode(inner).decode()}
    payload = json.dumps(said).encode()
    message_type = frame.get("message_type", "event")
    name = ":event-type" if message_type == "event" else ":exception-type"
    kind = frame.get("event_type") or frame.get("exception_type", "")
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\7" + struct.pack("!H", len(value)) + value.encode()
        for key, value in (
            (name, kind),
            (":content-type", JSON),
            (":message-type", message_type),
        )
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack("!I", binascii.crc32(prelude))
    message = prelude + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))


def _events(call: Mapping[str, Any]) -> Iterator[Any]:
    for frame in call.get("eventstream") or ():
        payload = frame["payload"]
        yield payload.get("bytes_decoded") or {frame["event_type"]: payload}
    for line in re.split("\r?\n", call["sse"] or ""):
        data = line.removeprefix("data:").strip()
        if data.startswith("{"):
            yield json.loads(data)
