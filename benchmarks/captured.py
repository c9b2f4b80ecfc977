"""The calls that are captured: openai's client on a server that is a function of this process.

python -m benchmarks.captured times llm-audit     # answers lines of its input with times, as JSON
python -m benchmarks.captured kinds llm-audit     # prints what was recorded of each kind
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
from pydantic import BaseModel

from benchmarks.rivals import RIVALS, Seen, llm_audit_read
from benchmarks.sample import REQUEST

CHUNKS = 50
CALLS = 5  # one after the other
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": REQUEST["messages"]}
_NAMED = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o"}
_USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
_ANSWERED = " ".join(f"word {n}" for n in range(CHUNKS))


class Name(BaseModel):
    """What `parse` is asked for."""

    name: str


def _whole(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = {**_NAMED, "object": "chat.completion", "choices": choices, "usage": _USAGE}
    return _json(body)


def _json(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()  # as providers write it


def _piece(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    said = {**_NAMED, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: %b\n\n" % _json(said)


WHOLE = _whole(_ANSWERED)
NAMED = _whole('{"name": "word 0"}')
PIECES = [
    *(_piece({"content": f"word {n} "}) for n in range(CHUNKS - 1)),
    _piece({}, "stop", usage=_USAGE),
    b"data: [DONE]\n\n",
]
VECTOR = _json(
    {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
)


class Provider(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream of an answer.

    Args:
        pieces: Its pieces.
        fails: Whether it breaks off after the fifth.
    """

    def __init__(self, pieces: list[bytes], *, fails: bool = False) -> None:
        self.pieces = pieces
        self.fails = fails

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces[: 5 if self.fails else None]
        if self.fails:
            raise httpx2.RemoteProtocolError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0)  # so that it can be cancelled
            yield piece


class Answers:
    """What the provider answers next, and with which status."""

    body: bytes = WHOLE
    fails = False
    statuses: tuple[int, ...] = ()

    @classmethod
    def handle(cls, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        if cls.statuses:
            status, *rest = cls.statuses
            cls.statuses = tuple(rest)
            return httpx2.Response(status, headers={"retry-after-ms": "1"}, content=b"{}")
        if b'"stream":true' in request.content:
            headers = {"content-type": "text/event-stream"}
            return httpx2.Response(200, headers=headers, stream=Provider(PIECES, fails=cls.fails))
        headers = {"content-type": "application/json"}
        return httpx2.Response(200, headers=headers, content=cls.body)

    @classmethod
    async def ahandle(cls, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        return cls.handle(request)


def new_client() -> openai.OpenAI:
    """Return a client of that server."""
    transport = httpx2.MockTransport(Answers.handle)
    return openai.OpenAI(api_key="sk-none", http_client=httpx2.Client(transport=transport))


def _async_client() -> openai.AsyncOpenAI:
    transport = httpx2.MockTransport(Answers.ahandle)
    client = httpx2.AsyncClient(transport=transport)
    return openai.AsyncOpenAI(api_key="sk-none", http_client=client)


def times(name: str) -> None:
    """Say for each line of the input how long calls take, and streams."""
    RIVALS[name]()
    client = new_client()

    def call() -> None:
        client.chat.completions.create(**ASK)

    def stream() -> None:
        for _ in client.chat.completions.create(**ASK, stream=True):
            pass

    for _ in range(20):
        call()
        stream()
    print("ready", flush=True)
    for _ in sys.stdin:
        with _transaction(name):
            print(json.dumps([*_taken(call), *_taken(stream)]), flush=True)
    os._exit(0)  # what the others would still say of servers that are not there, nobody needs


def _transaction(name: str) -> Any:
    """Return what Sentry's spans are part of."""
    if name != "Sentry":
        return nullcontext()
    import sentry_sdk

    return sentry_sdk.start_transaction(name="bench")


def _taken(act: Callable[[], None]) -> tuple[float, float, float]:
    """Return what it takes in microseconds.

    Returns:
        Of the processor, in this thread: the quickest of several in a row. By the clock: the same.
        Of the processor: the first of them, as others have been at work before it.
    """
    cpu: list[float] = []
    clock: list[float] = []
    for _ in range(CALLS):
        began, began_cpu = time.perf_counter_ns(), time.thread_time_ns()
        act()
        cpu.append((time.thread_time_ns() - began_cpu) / 1000)
        clock.append((time.perf_counter_ns() - began) / 1000)
    return min(cpu), min(clock), cpu[0]


# The kinds of calls


def _dropped(client: openai.OpenAI) -> None:
    client.chat.completions.create(**ASK, stream=True)
    gc.collect()


def _left(client: openai.OpenAI) -> None:
    with client.chat.completions.create(**ASK, stream=True) as stream:
        next(stream)


def _cut(client: openai.OpenAI) -> None:
    Answers.fails = True
    with suppress(openai.APIConnectionError):
        list(client.chat.completions.create(**ASK, stream=True))
    Answers.fails = False


def _parsed(client: openai.OpenAI) -> None:
    Answers.body = NAMED
    client.chat.completions.parse(**ASK, response_format=Name)
    Answers.body = WHOLE


def _embedded(client: openai.OpenAI) -> None:
    Answers.body = VECTOR
    client.embeddings.create(model="text-embedding-3-small", input="word 0")
    Answers.body = WHOLE


def _lines(client: openai.OpenAI) -> None:
    ask = client.chat.completions.with_streaming_response.create
    with ask(**ASK, stream=True) as response:
        list(response.iter_lines())


def _retried(client: openai.OpenAI) -> None:
    Answers.statuses = (429,)
    client.chat.completions.create(**ASK)


def _cancelled(_: openai.OpenAI) -> None:
    async def ask() -> None:
        client, begun = _async_client(), asyncio.Event()

        async def read() -> None:
            async for _ in await client.chat.completions.create(**ASK, stream=True):
                begun.set()

        reading = asyncio.ensure_future(read())
        await begun.wait()
        reading.cancel()
        await asyncio.wait([reading])

    asyncio.run(ask())


KINDS: dict[str, Callable[[openai.OpenAI], Any]] = {
    "create": lambda client: client.chat.completions.create(**ASK),
    "a stream": lambda client: list(client.chat.completions.create(**ASK, stream=True)),
    "`parse`": _parsed,
    "`with_raw_response`, a stream": lambda client: list(
        client.chat.completions.with_raw_response.create(**ASK, stream=True).parse()
    ),
    "`with_streaming_response`, its lines": _lines,
    "`client.post`": lambda client: client.post(
        "/chat/completions", body=ASK, cast_to=dict[str, Any]
    ),
    "embeddings": _embedded,
    "429, then an answer": _retried,
    "a stream that is cut": _cut,
    "a stream left by `break`, closed": _left,
    "a stream never iterated": _dropped,
    "a stream that is cancelled": _cancelled,
}


def kinds(name: str) -> None:
    """Print what was recorded of each kind of call, as JSON."""
    os.environ["BENCH_LOOKS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        read = llm_audit_read(Path(folder))
        with read if name == "llm-audit" else nullcontext(RIVALS[name]()) as look:
            client = new_client()
            found: dict[str, list[Seen]] = {}
            for kind, ask in KINDS.items():
                with _transaction(name), suppress(Exception):
                    ask(client)
                gc.collect()
                found[kind] = look()
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"times": times, "kinds": kinds}[sys.argv[1]](sys.argv[2])
