"""What is kept of a stream, however its pieces come: all of it, up to a bound."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

import llm_audit
from llm_audit.capture import attempt
from llm_audit.testing import RecordedCalls

URL = "https://api.mistral.ai/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


class Stream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """Yields some pieces."""

    def __init__(self, pieces: list[bytes | bytearray]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            yield piece
            if type(piece) is bytearray:
                piece[:] = b"\0" * len(piece)  # as who reads into a buffer does

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def read(pieces: list[bytes | bytearray], *, waiting: bool) -> bytes:
    """Ask once; return what the app has read."""
    headers = {"content-type": "text/event-stream"}

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=headers, stream=Stream(pieces))

    async def ask() -> bytes:
        async with (
            httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client,
            client.stream("POST", URL, json=ASK) as response,
        ):
            return b"".join([bytes(piece) async for piece in response.aiter_raw()])

    if waiting:
        return asyncio.run(ask())
    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as client,
        client.stream("POST", URL, json=ASK) as response,
    ):
        return b"".join(map(bytes, response.iter_raw()))


def test_a_stream_is_kept_up_to_a_bound(
    llm_audit_records: RecordedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece counts for what it takes, so that many small ones fill no memory, either."""
    body = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n' * 40
    luck = random.Random(0)
    llm_audit.instrument()
    for most, waiting in itertools.product((100, 1_500, 10**6), (False, True)):
        monkeypatch.setattr(attempt, "KEPT_MAX_BYTES", most)
        for longest in (1, 30, 5_000):
            pieces: list[bytes | bytearray] = []
            at = 0
            while at < len(body):
                length = luck.randint(1, longest)
                kind = luck.choice((bytes, bytes, bytearray))
                pieces.append(kind(body[at : at + length]))
                at += length
            assert read([type(one)(one) for one in pieces], waiting=waiting) == body
            call, case = llm_audit_records[-1], (most, waiting, longest)
            notes = [note for note in call.encoding_notes if note.startswith("response: ")]
            taken = [*itertools.accumulate(len(one) + attempt.PIECE_BYTES for one in pieces)]
            kept = sum(map(len, pieces[: 1 + sum(sofar < most for sofar in taken)]))
            if kept >= len(body):
                assert not notes, case
                assert call.response_message == {"content": "Hello" * 40}, case
            else:
                said = f"response: {len(body)} bytes, of which the first {kept} are kept"
                assert notes == [said], case
    llm_audit.uninstrument()
