"""What goes wrong with a call, on the way or in the app, and what its record has to say of it."""

import asyncio
import gc
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import openai
from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
from replay import bodies as b
from replay.recordings import aws_frame
from replay.server import Answer, ReplayServer, failure, redirect
from replay.ways import async_gpt, bedrock, claude, gemini, gpt
from urllib3.exceptions import ProtocolError

LONG_STREAM = b.chat_stream(30)
CUT = replace(LONG_STREAM, cut_after=5)
HELD = replace(LONG_STREAM, held_after=5)
SILENT = replace(b.CHAT, held_after=0)  # after the headers
UNENDED = replace(LONG_STREAM, pieces=LONG_STREAM.pieces[:5])
FAILED_INSIDE = b.sse(
    b.chunk({"content": "word 0 "}), {"error": {"message": "overloaded", "type": "server_error"}}
)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        name: What the table shows.
        ask: Takes the server; may be a coroutine function.
        answers: What the server plays.
        status: That the record has.
        ended_by: The same.
        kept: What the record holds of the answer.
        attempts: How many it counts.
        http_status: That the record has.
    """

    name: str
    ask: Callable[[ReplayServer], Any]
    answers: tuple[Answer, ...]
    status: str
    ended_by: str | None = None
    kept: str = ""
    attempts: int = 0
    http_status: int | None = None


FAULTS: list[Fault] = []
Asker = Callable[[ReplayServer], Any]


def fault(name: str, *answers: Answer, status: str, **said: Any) -> Callable[[Asker], Asker]:
    """Add a function to what goes wrong."""

    def add(ask: Asker) -> Asker:
        FAULTS.append(Fault(name, ask, answers, status, **said))
        return ask

    return add


# On the way


@fault("a stream is cut", CUT, status="ERROR", ended_by="exception", kept="word 0")
def _(server: ReplayServer) -> None:
    with suppress(openai.APIConnectionError):
        list(gpt(server.url).chat.completions.create(**b.ASK, stream=True))


@fault("a stream is cut, async", CUT, status="ERROR", ended_by="exception", kept="word 0")
async def _(server: ReplayServer) -> None:
    with suppress(openai.APIConnectionError):
        async for _ in await async_gpt(server.url).chat.completions.create(**b.ASK, stream=True):
            pass


@fault("an answer is cut", replace(b.CHAT, cut_after=0), status="ERROR", ended_by="exception")
def _(server: ReplayServer) -> None:
    with suppress(openai.APIConnectionError):
        gpt(server.url).chat.completions.create(**b.ASK)


@fault("nobody listens", b.CHAT, status="ERROR", ended_by="exception")
def _(server: ReplayServer) -> None:
    with suppress(openai.APIConnectionError):
        gpt(server.url, base_url="http://127.0.0.1:9/v1").chat.completions.create(**b.ASK)


@fault("the answer is too slow", SILENT, status="TIMEOUT", ended_by="exception")
def _(server: ReplayServer) -> None:
    with suppress(openai.APITimeoutError):
        gpt(server.url, timeout=0.5).chat.completions.create(**b.ASK)


@fault("the answer is too slow, async", SILENT, status="TIMEOUT", ended_by="exception")
async def _(server: ReplayServer) -> None:
    with suppress(openai.APITimeoutError):
        await async_gpt(server.url, timeout=0.5).chat.completions.create(**b.ASK)


@fault("a stream is too slow", HELD, status="TIMEOUT", ended_by="exception", kept="word 0")
def _(server: ReplayServer) -> None:
    with suppress(openai.APIConnectionError):
        list(gpt(server.url, timeout=0.5).chat.completions.create(**b.ASK, stream=True))


@fault("a stream stops without its last word", UNENDED, status="INCOMPLETE", kept="word 0")
def _(server: ReplayServer) -> None:
    list(gpt(server.url).chat.completions.create(**b.ASK, stream=True))


@fault("a stream says that it failed", FAILED_INSIDE, status="ERROR", kept="word 0")
def _(server: ReplayServer) -> None:
    with suppress(openai.APIError):
        list(gpt(server.url).chat.completions.create(**b.ASK, stream=True))


@fault("400", failure(400), status="ERROR", http_status=400)
def _(server: ReplayServer) -> None:
    with suppress(openai.BadRequestError):
        gpt(server.url, max_retries=2).chat.completions.create(**b.ASK)


@fault("429 of a stream, not tried again", failure(429), status="ERROR", http_status=429)
def _(server: ReplayServer) -> None:
    with suppress(openai.RateLimitError):
        gpt(server.url).chat.completions.create(**b.ASK, stream=True)


@fault("429, then 200", failure(429), b.CHAT, status="SUCCESS", attempts=2, kept="Hello!")
def _(server: ReplayServer) -> None:
    gpt(server.url, max_retries=2).chat.completions.create(**b.ASK)


@fault("429, then a stream", failure(429), LONG_STREAM, status="SUCCESS", attempts=2, kept="word 9")
async def _(server: ReplayServer) -> None:
    client = async_gpt(server.url, max_retries=2)
    async for _ in await client.chat.completions.create(**b.ASK, stream=True):
        pass


@fault("529, then 200", failure(529), b.MESSAGES, status="SUCCESS", attempts=2, kept="Hello!")
def _(server: ReplayServer) -> None:
    claude(server.url).with_options(max_retries=2).messages.create(**b.ASK_CLAUDE)


@fault("500 each time", failure(500), status="ERROR", attempts=3, http_status=500)
def _(server: ReplayServer) -> None:
    with suppress(openai.InternalServerError):
        gpt(server.url, max_retries=2).chat.completions.create(**b.ASK)


@fault("500, async", failure(500), status="ERROR", http_status=500)
async def _(server: ReplayServer) -> None:
    with suppress(openai.InternalServerError):
        await async_gpt(server.url).chat.completions.create(**b.ASK)


@fault("a redirect", redirect("/v1/elsewhere"), b.CHAT, status="SUCCESS", kept="Hello!")
def _(server: ReplayServer) -> None:
    gpt(server.url).chat.completions.create(**b.ASK)


@fault("no JSON", replace(b.CHAT, pieces=[b"<html>"]), status="INCOMPLETE", ended_by="broken_off")
def _(server: ReplayServer) -> None:
    with suppress(openai.OpenAIError, ValueError):
        gpt(server.url).chat.completions.create(**b.ASK)


_THROTTLED = failure(429, {"message": "slow down"})
_BROKEN_OFF = replace(b.CONVERSE_STREAM, cut_after=2)
_FAILED_FRAME = {
    "message_type": "exception",
    "exception_type": "throttlingException",
    "payload": {"message": "slow down"},
}
_FAILED_EVENTS = replace(
    b.CONVERSE_STREAM, pieces=[*b.CONVERSE_STREAM.pieces[:3], aws_frame(_FAILED_FRAME)]
)


@fault("bedrock throttles, then answers", _THROTTLED, b.CONVERSE, status="SUCCESS", attempts=2)
def _(server: ReplayServer) -> None:
    bedrock(server.url, attempts=2).converse(**b.ASK_BEDROCK)


@fault("bedrock throttles", _THROTTLED, status="ERROR", http_status=429)
def _(server: ReplayServer) -> None:
    with suppress(ClientError):
        bedrock(server.url).converse(**b.ASK_BEDROCK)


@fault("a stream of bedrock is cut", _BROKEN_OFF, status="ERROR", kept="Hel")
def _(server: ReplayServer) -> None:
    with suppress(ProtocolError):  # of urllib3, as it is
        list(bedrock(server.url).converse_stream(**b.ASK_BEDROCK)["stream"])


@fault("an answer of bedrock's is cut", replace(b.TITAN, cut_after=0), status="ERROR")
def _(server: ReplayServer) -> None:
    with suppress(BotoCoreError):
        bedrock(server.url).invoke_model(**b.ASK_TITAN)["body"].read()


@fault("a stream of bedrock says that it failed", _FAILED_EVENTS, status="ERROR", kept="Hello!")
def _(server: ReplayServer) -> None:
    with suppress(EventStreamError):
        list(bedrock(server.url).converse_stream(**b.ASK_BEDROCK)["stream"])


_GEMINI_CUT = replace(b.GEMINI_STREAM, cut_after=1)


@fault("a stream of gemini is cut, aiohttp", _GEMINI_CUT, status="ERROR", kept="Hel")
async def _(server: ReplayServer) -> None:
    async with gemini(server.url).aio as client:
        with suppress(Exception):
            async for _ in await client.models.generate_content_stream(**b.ASK_GEMINI):
                pass


# In the app


@fault("cancelled before the answer", SILENT, status="CANCELLED", ended_by="exception")
async def _(server: ReplayServer) -> None:
    asked = asyncio.ensure_future(async_gpt(server.url).chat.completions.create(**b.ASK))
    await asyncio.to_thread(server.has_received.wait)
    asked.cancel()
    await asyncio.wait([asked])


@fault("cancelled in a stream", HELD, status="CANCELLED", ended_by="exception", kept="word 0")
async def _(server: ReplayServer) -> None:
    begun = asyncio.Event()

    async def ask() -> None:
        async for chunk in await async_gpt(server.url).chat.completions.create(
            **b.ASK, stream=True
        ):
            if chunk.choices[0].delta.content:  # the first piece says only who speaks
                begun.set()

    asked = asyncio.ensure_future(ask())
    await begun.wait()
    asked.cancel()
    await asyncio.wait([asked])


@fault("cancelled by a timeout of the app's", HELD, status="CANCELLED", ended_by="exception")
async def _(server: ReplayServer) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as deadline:
            client = async_gpt(server.url)
            async for _ in await client.chat.completions.create(**b.ASK, stream=True):
                deadline.reschedule(asyncio.get_running_loop().time())


@fault("left by break, closed", LONG_STREAM, status="INCOMPLETE", ended_by="stream_closed")
def _(server: ReplayServer) -> None:
    with gpt(server.url).chat.completions.create(**b.ASK, stream=True) as stream:
        next(iter(stream))


@fault("left by break, dropped", LONG_STREAM, status="INCOMPLETE", ended_by="stream_closed")
def _(server: ReplayServer) -> None:
    for _ in gpt(server.url).chat.completions.create(**b.ASK, stream=True):
        break
    gc.collect()


@fault("left by break, async, closed", LONG_STREAM, status="INCOMPLETE", ended_by="stream_closed")
async def _(server: ReplayServer) -> None:
    stream = await async_gpt(server.url).chat.completions.create(**b.ASK, stream=True)
    async for _ in stream:
        break
    await stream.close()


@fault("never iterated", LONG_STREAM, status="INCOMPLETE", ended_by="stream_dropped")
def _(server: ReplayServer) -> None:
    gpt(server.url).chat.completions.create(**b.ASK, stream=True)
    gc.collect()


@fault("never iterated, async", LONG_STREAM, status="INCOMPLETE", ended_by="stream_dropped")
async def _(server: ReplayServer) -> None:
    await async_gpt(server.url).chat.completions.create(**b.ASK, stream=True)
    gc.collect()


@fault("closed before it is read", LONG_STREAM, status="INCOMPLETE", ended_by="stream_closed")
def _(server: ReplayServer) -> None:
    gpt(server.url).chat.completions.create(**b.ASK, stream=True).close()


@fault("an exception of the app's", LONG_STREAM, status="INCOMPLETE", ended_by="stream_closed")
def _(server: ReplayServer) -> None:
    with (
        suppress(ZeroDivisionError),
        gpt(server.url).chat.completions.create(**b.ASK, stream=True) as s,
    ):
        for _ in s:
            raise ZeroDivisionError


@fault("read on in another thread", LONG_STREAM, status="SUCCESS", kept="word 29")
def _(server: ReplayServer) -> None:
    stream = gpt(server.url).chat.completions.create(**b.ASK, stream=True)
    next(stream)
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    reader.join()


@fault("left before [DONE]", b.CHAT_STREAM, status="INCOMPLETE", kept="word 2")
def _(server: ReplayServer) -> None:
    stream = gpt(server.url).chat.completions.create(**b.ASK, stream=True)
    for chunk in stream:
        if chunk.choices[0].finish_reason:
            break
    stream.close()


@fault("a slow stream that goes on", HELD, status="SUCCESS", kept="word 29")
def _(server: ReplayServer) -> None:
    for _ in gpt(server.url).chat.completions.create(**b.ASK, stream=True):
        server.go_on.set()
