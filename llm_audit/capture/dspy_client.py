"""The hooks on DSPy's own transport, by which it sends since 3.4, and no longer through LiteLLM."""

from typing import Any
from urllib.parse import urlsplit

from llm_audit.capture.attempt import Head
from llm_audit.capture.by_hand import Follower
from llm_audit.capture.calls import Request, begin
from llm_audit.capture.patches import Hook
from llm_audit.capture.sending import async_hook_of, hook_of
from llm_audit.capture.tee import Watched, watching, watching_async
from llm_audit.wire.apis import matched

_LIBRARY = "dspy"


def _begin(_: Any, request: Any) -> Follower | None:
    url = urlsplit(request.url)
    said = matched(request.method.upper(), url.path)
    if said is None:
        return None
    headers = {name.lower(): value for name, value in request.headers}
    return begin(Request.to(url, _LIBRARY, said, headers, request.body))


def _begins(attempt: Follower, response: Any) -> Watched:
    headers = {name.lower(): value for name, value in response.headers}
    headers.pop("content-encoding", None)  # the transport takes it off
    attempt.begins(Head(response.status, headers))
    return Watched(attempt)


def _answered(attempt: Follower, response: Any) -> None:
    chunks = response._chunks  # noqa: SLF001
    response._chunks = watching(lambda: chunks, _begins(attempt, response))  # noqa: SLF001


def _answered_async(attempt: Follower, response: Any) -> None:
    chunks = response._chunks  # noqa: SLF001
    response._chunks = watching_async(lambda: chunks, _begins(attempt, response))  # noqa: SLF001


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
