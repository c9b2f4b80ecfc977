"""A stream is cut into its pieces, wherever it breaks off and whatever it holds."""

import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import zstandard
from properties import given, st
from wire_traffic import EXCEPTION, aws_message

from llm_audit.wire import compressed, frames
from llm_audit.wire.answers import read_answer
from llm_audit.wire.api import Event
from llm_audit.wire.apis import matched
from llm_audit.wire.compressed import unpacked
from llm_audit.wire.event_stream import of_event_stream
from llm_audit.wire.frames import DONE, Frames, is_lines, of_array, of_lines, of_sse

DATA = st.dictionaries(st.text(max_size=3), st.text(max_size=8) | st.integers(), max_size=3)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=5).map(
    str.strip
)
EVENTS = st.lists(st.tuples(NAMES, DATA), max_size=4)
READERS: list[Callable[[bytes], Frames]] = [of_sse, of_lines, of_array, of_event_stream]


def sse(events: list[tuple[str, dict[str, Any]]], end: bytes = b"\n") -> bytes:
    return b"".join(
        (b"event: " + name.encode() + end if name else b"")
        + b"data: "
        + json.dumps(data, ensure_ascii=False).encode()
        + end * 2
        for name, data in events
    )


@given(EVENTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_server_sent_events(
    events: list[tuple[str, dict[str, Any]]], end: bytes, has_mark: bool
) -> None:
    """Line ends of every kind, a byte order mark, comments and other fields change nothing."""
    beside = b": ping" + end + b"id: 7" + end + b"retry: 10" + end + b"odd" + end + end
    body = (b"\xef\xbb\xbf" if has_mark else b"") + beside + sse(events, end) + beside

    assert of_sse(body) == Frames([Event(name, data) for name, data in events])


def test_data_of_several_lines_and_without_lines_between() -> None:
    """Lines of data are one text; if that is no JSON, each may be an event of its own."""
    for body, events in (
        (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        (b'data:{"a":1}\ndata:{"b":2}\n\n', [{"a": 1}, {"b": 2}]),
        (b'data: {"a":1}', [{"a": 1}]),
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', [{"a": 1}, DONE]),
        (b'data: {"a": "\xe2\x80\xa8\x85"}\n\n', []),  # no UTF-8
        ('data: {"a": "\u2028\x85"}\n\n'.encode(), [{"a": "\u2028\x85"}]),
        (b"data:\n\ndata\n\n", []),
    ):
        assert [event.data for event in of_sse(body).events] == events, body


@given(EVENTS, st.data())
def test_what_came_whole_before_a_stream_broke_off(
    events: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    """Cut anywhere, also within a character, a stream has the first of its pieces."""
    items = [item for _, item in events]
    messages = [aws_message(name, item) for name, item in events]
    for read, body in (
        (of_sse, sse(events)),
        (of_lines, b"\n".join(json.dumps(item, ensure_ascii=False).encode() for item in items)),
        (of_array, json.dumps(items, ensure_ascii=False, indent=1).encode()),
        (of_event_stream, b"".join(messages)),
    ):
        assert [event.data for event in read(body).events] == items
        some = body[: data.draw(st.integers(0, len(body)))]
        found = [event.data for event in read(some).events]
        assert found == items[: len(found)], (read, some)


@given(st.binary(max_size=200), st.sampled_from(READERS))
def test_any_bytes(body: bytes, read: Callable[[bytes], Frames]) -> None:
    """No bytes make the reading raise."""
    assert read(body).rest >= 0


def test_hostile_bytes() -> None:
    """Neither depth nor digits stop it, and what cannot be read is counted."""
    deep = b"[" * 100_000
    long = Event("", {"a": "1" * 5_000, "b": 1})
    assert of_lines(b'{"a": ' + b"1" * 5_000 + b', "b": 1}').events == [long]
    for read in (of_sse, of_lines, of_array):
        for piece in (deep, b'{"a":' * 50_000):
            body = b'data: {"a": 1}\n\ndata: ' + piece + b"\n\n" if read is of_sse else piece
            if read is of_array:
                body = b'[{"a": 1},' + piece
            elif read is of_lines:
                body = b'{"a": 1}\n' + piece + b"\n"
            assert read(body).events == [Event("", {"a": 1})]
            assert read(body).rest > 0


def test_messages_of_an_aws_event_stream() -> None:
    """Exceptions are told apart, base64 is read, and headers of every type are passed over."""
    inner = base64.b64encode(b'{"outputText": "Hi"}').decode()
    body = aws_message("chunk", {"bytes": inner, "p": "abc"})
    body += aws_message("throttlingException", {"message": "slow down"}, EXCEPTION)
    body += aws_message("odd", "no object", EXCEPTION)
    body += aws_message("chunk", {"bytes": "no base64"})
    assert of_event_stream(body).events == [
        Event("chunk", {"outputText": "Hi"}),
        Event("exception:throttlingException", {"message": "slow down"}),
        Event("exception:odd", {"message": "no object"}),
        Event("chunk", '{"bytes": "no base64"}'),
    ]

    values = b"".join(
        b"\x01a" + bytes([kind]) + value
        for kind, value in (
            *((0, b""), (1, b""), (2, b"\0"), (3, b"\0" * 2), (4, b"\0" * 4), (5, b"\0" * 8)),
            *((6, b"\0\x02ab"), (8, b"\0" * 8), (9, b"\0" * 16)),
            (7, b"\0\x01b"),
        )
    )
    asked_for = matched("POST", "/model/m/converse-stream")
    assert asked_for
    for headers, name, odd in (
        (values + b"\x0b:event-type\x07\0\x01x", "x", 0),
        (values + b"\x01a\x63", "", 1),  # a type that there is not
        (values + b"\x09cut", "", 1),
        (b"\x0b:event-type\x07\0\x01x" + b"\x01a\x06\0", "x", 1),
    ):
        prelude = (16 + len(headers) + 2).to_bytes(4) + len(headers).to_bytes(4)
        prelude += zlib.crc32(prelude).to_bytes(4)
        message = prelude + headers + b"{}"
        message += zlib.crc32(message).to_bytes(4)
        assert of_event_stream(message) == Frames([Event(name, {})], odd_headers=odd)
        read = read_answer(asked_for, message * 2, "application/vnd.amazon.eventstream")
        assert [note for note in read.notes if "headers" in note] == (
            ["response: 2 messages have headers of unknown types"] if odd else []
        )


def test_a_wrong_checksum_ends_the_reading() -> None:
    """What was before it is read, and how much was not is told."""
    first, second = aws_message("a", {"x": 1}), aws_message("b", {"x": 2})
    for at in range(len(second)):
        broken = bytearray(second)
        broken[at] ^= 1
        found = of_event_stream(first + bytes(broken))
        assert found == Frames([Event("a", {"x": 1})], len(second))


def test_compressed_bodies() -> None:
    """Whole, in several members, of both kinds of deflate, one in the other; or not compressed."""
    text = b'{"a": "' + b"x" * 1_000_000 + b'"}'
    raw = zlib.compressobj(wbits=-15)
    for body, name in (
        (gzip.compress(text), "gzip"),
        (gzip.compress(text), "X-GZIP"),
        (gzip.compress(text[:9]) + gzip.compress(text[9:]), "gzip"),
        (zlib.compress(text), "deflate"),
        (raw.compress(text) + raw.flush(), "deflate"),
        (zlib.compress(gzip.compress(text)), "gzip, deflate"),
        (brotli.compress(text), "br"),
        (zstandard.compress(text), "zstd"),
        (zstandard.compress(text[:9]) + zstandard.compress(text[9:]), "zstd"),
        (text, "identity"),
        (text, ""),
        (text, None),
    ):
        assert unpacked(body, name) == (text, None), name


@given(st.data())
def test_a_compressed_body_broken_off(data: st.DataObject) -> None:
    """As much as came is unpacked, and what follows a fault is left."""
    text = json.dumps([f"number {number}" for number in range(200)]).encode()
    body = gzip.compress(text)
    cut = data.draw(st.integers(0, len(body)))
    found = unpacked(body[:cut], "gzip")
    assert text.startswith(found.body)
    assert found.note is None
    at = data.draw(st.integers(0, len(body) - 1))
    broken = bytearray(body)
    broken[at] ^= data.draw(st.integers(1, 255))
    assert len(unpacked(bytes(broken), "gzip").body) <= len(text) * 300


def test_a_bomb_is_unpacked_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of a few KB does not fill the memory, and a note says what was left."""
    monkeypatch.setattr(compressed, "MAX_BYTES", 2**20)
    body = gzip.compress(bytes(2**24))
    for packed, name in ((body, "gzip"), (gzip.compress(body), "gzip, gzip")):
        found = unpacked(packed, name)
        assert len(found.body) == 2**20
        assert found.note is not None
        assert "cut" in found.note


def test_what_cannot_be_unpacked_is_as_it_came() -> None:
    """With a note: an unknown kind, bytes that are none of it, a module that is missing."""
    assert unpacked(b"abc", "lzma").body == b"abc"
    for name in ("lzma", "gzip", "br", "zstd"):
        assert unpacked(b"abcdefgh", name).note is not None, name


def test_members_that_hold_nothing_take_no_time_in_each_other() -> None:
    """Of very many empty members, or layers, so many are read, each without those after it."""
    most, empty = compressed.MEMBERS_MAX, gzip.compress(b"")
    for body, name, found in (
        (empty * (most - 1) + gzip.compress(b"abc"), "gzip", (b"abc", None)),
        (empty * (most + 1), "gzip", (b"", f"cut after {most:,} members")),
        (b"abc", "gzip, " * 1000, (b"abc", "compressed 1000 times, which is not undone")),
    ):
        assert unpacked(body, name) == found, (body[:50], name[:10])
    assert unpacked(gzip.compress(bytes(2**20)), "gzip", 10).body == bytes(10)


def test_of_a_stream_only_so_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines, items and messages are read up to a limit; those that hold nothing take no memory."""
    monkeypatch.setattr(frames, "LINES_MAX", 100)
    monkeypatch.setattr(frames, "VALUES_MAX", 1_000)
    for read, body, count, is_cut in (
        (of_sse, b"\n" * 2**18, 0, False),
        (of_sse, b":\n" * 2**17, 0, True),
        (of_sse, b"data\n" * 2**17, 0, True),
        (of_sse, b'data: {"a": 1}\n\n' + b"\r" * 2**18 + b"data:1\r\n\r\n", 2, False),
        (of_sse, b'data: "' + b"x" * 2**18 + b'"', 1, False),
        (of_lines, b"\r\n" * 2**17 + b"1", 1, False),
        (of_lines, b"1\n" * 2**17, 100, True),
        (of_lines, b"[{},{},{},{},{},{},{},{},{},{},{},{},{}]\n" * 90, 71, True),
        (of_array, b"[" + b"1," * 2**17, 100, True),
        (of_array, b"[" + b" " * 2**18 + b"1]", 1, False),
        (of_array, b"[" + b"{}," * 2**16 + b"]", 0, True),
        (of_event_stream, aws_message("a", 1) * 2**12, 100, True),
    ):
        tracemalloc.start()
        found = read(body)
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (len(found.events), found.is_cut) == (count, is_cut), (read, body[:20])
        assert taken < 3 * len(body) + 2**17, (read, body[:20])
    assert not is_lines(b"{\n" + b"\n" * 2**18)
