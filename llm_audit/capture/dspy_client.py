"""The hooks on DSPy's own transport, by which it sends since 3.4, and no longer through LiteLLM."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

from llm_audit.capture.attempt import Attempt, Head, How
from llm_audit.capture.by_hand import ByHand
from llm_audit.capture.calls import Request, begin
from llm_audit.capture.patches import Hook
from llm_audit.capture.sending import async_hook_of, hook_of
from llm_audit.capture.tee import Watched
from llm_audit.wire.apis import matched

_LIBRARY = "dspy"


def _begin(_: Any, request: Any) -> Attempt | ByHand | None:
    url = urlsplit(request.url)
    said = matched(request.method.upper(), url.path)
    if said is None:
        return None
    headers = {name.lower(): value for name, value in request.headers}
    return begin(Request.to(url, _LIBRARY, said, headers, request.body))


def _begins(attempt: Attempt | ByHand, response: Any) -> Watched:
    headers = {name.lower(): value for name, value in response.headers}
    headers.pop("content-encoding", None)  # the transport takes it off
    attempt.begins(Head(response.status, headers))
    return Watched(attempt)


def _answered(attempt: Attempt | ByHand, response: Any) -> None:
    watched = _begins(attempt, response)
    response._chunks = _read(response._chunks, watched)  # noqa: SLF001


def _answered_async(attempt: Attempt | ByHand, response: Any) -> None:
    watched = _begins(attempt, response)
    response._chunks = _read_async(response._chunks, watched)  # noqa: SLF001


def _read(chunks: Iterator[bytes], watched: Watched) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            watched.attempt.take(chunk)
            yield chunk
    except Exception as error:
        watched.attempt.raised(error)
        raise
    watched.attempt.ends(How.LAST_BYTE)


async def _read_async(chunks: AsyncIterator[bytes], watched: Watched) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            watched.attempt.take(chunk)
            yield chunk
    except Exception as error:
        watched.attempt.raised(error)
        raise
    watched.attempt.ends(How.LAST_BYTE)


_TRANSPORTS = "dspy._vendor.lm15.transports"
HOOKS = (
    Hook(f"{_TRANSPORTS}._sync", "StdlibTransport", "stream", hook_of(_begin, _answered)),
    Hook(
        f"{_TRANSPORTS}._async",
        "StdlibAsyncTransport",
        "_do_stream",
        async_hook_of(_begin, _answered_async),
    ),
)
