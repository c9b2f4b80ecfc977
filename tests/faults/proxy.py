"""A TCP proxy before MongoDB, such as one that spoils the answers to writes it has executed.

It understands as much of MongoDB's wire protocol as it needs: a message begins with its length, its
number and the number of the message that it answers, each an int32, and a command is the first
key of the first document of an OP_MSG (https://www.mongodb.com/docs/manual/reference/
mongodb-wire-protocol/). What the driver asks to watch the server passes through unharmed.
"""

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from llm_audit import embedded

HOST = "127.0.0.1"
WRITES = {"insert", "update", "bulkWrite"}
OP_MSG = 2013
DELAY_SECONDS = 0.1

_header = struct.Struct("<iiii")
_BODY = 16 + 4 + 1 + 4 + 1  # header, flags, kind of section, length of the document, type of key

Spoil = Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]]
AnyProxy = TypeVar("AnyProxy", bound="Forwarding")
_BROKEN = (ConnectionError, asyncio.IncompleteReadError)


async def cut(answer: bytes, client: asyncio.StreamWriter) -> bool:
    """Keep the answer back and close the connection."""
    del answer
    client.transport.abort()
    return False


async def cut_in_the_middle(answer: bytes, client: asyncio.StreamWriter) -> bool:
    """Close the connection when half the answer is through."""
    client.write(answer[: len(answer) // 2])
    await client.drain()
    client.close()
    return False


async def half_close(answer: bytes, client: asyncio.StreamWriter) -> bool:
    """Keep the answer back and say nothing more, but go on listening."""
    del answer
    client.write_eof()
    return True


async def delay(answer: bytes, client: asyncio.StreamWriter) -> bool:
    """Hold the answer back for a while."""
    await asyncio.sleep(DELAY_SECONDS)
    client.write(answer)
    return True


async def one_byte_at_a_time(answer: bytes, client: asyncio.StreamWriter) -> bool:
    """Let the answer through in packets of one byte."""
    for position in range(len(answer)):
        client.write(answer[position : position + 1])
        await client.drain()
        await asyncio.sleep(0)
    return True


class Forwarding:
    """Forwards to a server, message by message.

    Args:
        server: The server.
    """

    def __init__(self, server: embedded.Mongod) -> None:
        self._server = server
        self._port = 0
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The connection string, which leads nowhere but here."""
        who = f"{embedded.USER}:{self._server.secret}"
        options = f"authSource={embedded.USERS}&directConnection=true"
        return f"mongodb://{who}@{HOST}:{self._port}/?{options}"

    async def serve(self, ready: threading.Event, done: asyncio.Event) -> None:
        """Serve until told that it is done."""
        server = await asyncio.start_server(self._accept, HOST, 0)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await done.wait()
        server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _forward(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        from_server, to_server = await asyncio.open_connection(HOST, self._server.port)
        asked: dict[int, bytes] = {}  # by the number of the message
        ways = (
            self._forward_requests(from_client, to_server, to_client, asked),
            self._forward_answers(from_server, to_client, asked),
        )
        try:
            _, others = await asyncio.wait(
                [asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED
            )
            for other in others:
                other.cancel()
        finally:
            to_client.close()
            to_server.close()

    async def _forward_requests(
        self,
        client: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        to_client: asyncio.StreamWriter,
        asked: dict[int, bytes],
    ) -> None:
        with suppress(*_BROKEN):
            async for number, _, message in _messages(client):
                answer = self.answer(message)
                if answer is not None:
                    to_client.write(answer)
                    await to_client.drain()
                    continue
                asked[number] = message
                server.write(message)
                await server.drain()

    async def _forward_answers(
        self,
        server: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        asked: dict[int, bytes],
    ) -> None:
        with suppress(*_BROKEN):
            async for _, answered, message in _messages(server):
                if not await self.hand_on(asked.pop(answered, b""), message, client):
                    return

    def answer(self, request: bytes) -> bytes | None:
        """Answer a request in the server's place, or return None to ask the server."""
        del request

    async def hand_on(self, request: bytes, answer: bytes, client: asyncio.StreamWriter) -> bool:
        """Hand the server's answer on; return whether the connection goes on."""
        del request
        client.write(answer)
        await client.drain()
        return True


class Proxy(Forwarding):
    """Spoils every so many answers to writes.

    Args:
        server: The server.
        spoil: What is done to an answer; it returns whether the connection goes on.
        every: How many writes there are to one that is spoiled.

    Attributes:
        spoiled: How many answers were spoiled.
    """

    def __init__(self, server: embedded.Mongod, spoil: Spoil, every: int) -> None:
        super().__init__(server)
        self.spoiled = 0
        self._spoil = spoil
        self._every = every
        self._writes = 0

    async def hand_on(self, request: bytes, answer: bytes, client: asyncio.StreamWriter) -> bool:
        """Spoil it, if it is the turn of this one."""
        if request and _command(request) in WRITES and self._is_to_be_spoiled():
            return await self._spoil(answer, client)
        return await super().hand_on(request, answer, client)

    def _is_to_be_spoiled(self) -> bool:
        self._writes += 1
        if self._writes % self._every:
            return False
        self.spoiled += 1
        return True


async def _messages(stream: asyncio.StreamReader) -> AsyncIterator[tuple[int, int, bytes]]:
    while True:
        header = await stream.readexactly(_header.size)
        length, number, answered, _ = _header.unpack(header)
        yield number, answered, header + await stream.readexactly(length - _header.size)


def _command(message: bytes) -> str:
    if _header.unpack_from(message)[3] != OP_MSG:
        return ""  # the first greeting
    return message[_BODY : message.index(b"\0", _BODY)].decode()


@contextmanager
def proxy(server: embedded.Mongod, spoil: Spoil, *, every: int = 3) -> Iterator[Proxy]:
    """Run a proxy that spoils answers until the block is left."""
    with running(Proxy(server, spoil, every)) as it:
        yield it


@contextmanager
def running(it: AnyProxy) -> Iterator[AnyProxy]:
    """Run a proxy in a thread of its own until the block is left."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(loop, it, ready, done), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield it
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


def _serve(
    loop: asyncio.AbstractEventLoop, it: Forwarding, ready: threading.Event, done: asyncio.Event
) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:  # ends what is left of connections
        runner.run(it.serve(ready, done))
