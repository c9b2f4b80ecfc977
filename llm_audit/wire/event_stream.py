"""AWS event stream: binary messages of a length, headers, a payload and checksums.

Each begins with its length and that of its headers, 4 bytes each, and their CRC32; the CRC32 of
the whole message ends it. See
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream
"""

import base64
import binascii
from struct import error as StructError  # noqa: N812
from struct import unpack_from
from typing import Any, NamedTuple
from zlib import crc32

from llm_audit.wire.api import Event
from llm_audit.wire.frames import Frames, Room, is_sse, of_lines, of_sse, parsed

EXCEPTION = "exception"
_PASSED_ON = "PayloadPart"
_PRELUDE, _CHECKSUM = 12, 4
_MAX_MESSAGE = 24 * 2**20  # botocore takes no longer ones
# What a header's value takes, by its type: true, false, a number of 1 to 8 bytes, bytes and text
# with a length before them, a time, a UUID.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


def of_event_stream(body: bytes, *, texts: bool = False) -> Frames:
    """Return the events of an AWS event stream.

    What is an exception has that in its name before its type, as `exception:throttlingException`.
    The payload of InvokeModel's streams is what its base64 holds. What SageMaker passes on is read
    as the stream that its container sends, whose pieces may end anywhere.

    Args:
        body: As it came. Reading ends where a message is broken off, or a checksum is wrong.
        texts: Whether what is in base64 is a text, not JSON.
    """
    events: list[Event] = []
    passed_on: list[bytes] = []
    at, room, is_cut, odd_headers = 0, Room(), False, 0
    while message := _message(body, at):
        if not room.takes(message.payload):
            is_cut = True
            break
        if message.headers.get(":event-type") == _PASSED_ON:
            passed_on.append(message.payload)
        else:
            events.append(_event(message.headers, message.payload, texts=texts))
        odd_headers += not message.headers_are_known
        at = message.end
    rest = len(body) - at
    if passed_on:
        inner = _of_container(b"".join(passed_on))
        events, rest, is_cut = [*inner.events, *events], inner.rest + rest, is_cut or inner.is_cut
    return Frames(events, rest, is_cut, odd_headers)


def _of_container(stream: bytes) -> Frames:
    return of_sse(stream) if is_sse(stream) else of_lines(stream)


class _Message(NamedTuple):
    headers: dict[str, str]
    headers_are_known: bool
    payload: bytes
    end: int


def _message(body: bytes, at: int) -> _Message | None:
    """Return the message at a place; None if no whole one is there."""
    if at + _PRELUDE + _CHECKSUM > len(body):
        return None
    length, header_length, checksum = unpack_from(">III", body, at)
    end = at + length
    if crc32(body[at : at + 8]) != checksum or end > len(body) or length > _MAX_MESSAGE:
        return None
    start = at + _PRELUDE
    payload_at, payload_end = start + header_length, end - _CHECKSUM
    if (
        payload_at > payload_end
        or crc32(body[at:payload_end]) != unpack_from(">I", body, payload_end)[0]
    ):
        return None
    headers, are_known = _headers(body[start:payload_at])
    return _Message(headers, are_known, body[payload_at:payload_end], end)


def _headers(data: bytes) -> tuple[dict[str, str], bool]:
    """Return the headers that are texts, and whether all are of a known type.

    After one that is not, nobody knows where the next begins.
    """
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name = data[at + 1 : name_end].decode(errors="replace")
            kind = data[name_end]
            at = name_end + 1
            if kind in {_BYTES, _TEXT}:
                (size,) = unpack_from(">H", data, at)
                if kind == _TEXT:
                    found[name] = data[at + 2 : at + 2 + size].decode(errors="replace")
                at += 2 + size
            else:
                at += _SIZES[kind]
    except (IndexError, KeyError, StructError):  # the checksums were right: they were sent so
        return found, False
    return found, True


def _event(headers: dict[str, str], payload: bytes, *, texts: bool) -> Event:
    kind = headers.get(":message-type", "event")
    data = _payload(payload, texts=texts)
    if kind == "event":
        return Event(headers.get(":event-type", ""), data)
    name = headers.get(":exception-type") or headers.get(":error-code") or kind
    if not isinstance(data, dict):
        data = {"message": headers.get(":error-message") or data}
    return Event(f"{EXCEPTION}:{name}", data)


def _payload(payload: bytes, *, texts: bool) -> Any:
    try:
        data = parsed(payload)
        if isinstance(data, dict) and isinstance(inner := data.get("bytes"), str):
            content = base64.b64decode(inner)
            if texts:
                return {**data, "bytes": content.decode(errors="replace")}
            data = parsed(content)
    except (ValueError, binascii.Error):
        return payload.decode(errors="replace")
    return data
