"""The hook on httpx and httpx2: `Client.send` and `AsyncClient.send`.

There one request of an SDK passes once, whatever it is sent through: redirects, proxies and
transports are below it, retries above.
"""

import functools
from typing import Any

from llm_audit.capture.attempt import Head
from llm_audit.capture.by_hand import Follower
from llm_audit.capture.calls import Request, begin
from llm_audit.capture.patches import Hook, Method
from llm_audit.capture.sending import async_hook_of, hook_of
from llm_audit.capture.tee import closed_again, of_httpx, watch
from llm_audit.wire.apis import matched


def _begin(
    module: str,
    client: Any,  # noqa: ARG001  (as of `send`)
    request: Any = None,
    **_: Any,
) -> Follower | None:
    if request is None:  # the client will say so
        return None
    url = request.url
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    said = matched(request.method, path)
    if said is None:
        return None
    endpoint = f"{url.scheme}://{url.netloc.decode('ascii')}{path}"
    headers = request.headers
    return begin(Request(module, said, url.host, endpoint, headers, _body_of(request)))


def _body_of(request: Any) -> bytes | None:
    """Return the body of a request if it is in memory: what is streamed is the client's to read."""
    try:
        body: bytes = request.content
    except Exception as error:  # each library has a class of its own
        if type(error).__name__ == "RequestNotRead":
            return None
        raise
    return body


def _answered(attempt: Follower, response: Any) -> None:
    head = Head(response.status_code, response.headers)
    try:
        body = response.content
    except Exception as error:  # as above
        if type(error).__name__ != "ResponseNotRead":
            raise
        attempt.begins(head)
        watch(response.stream, attempt, of_httpx)
    else:
        attempt.answered(head, body)


def _close(original: Method) -> Method:
    """Return the hook on `Response.close`: closed again, what a loop has closed shows why."""

    def close(self: Any) -> None:
        was_closed = getattr(self, "is_closed", False)
        original(self)
        if was_closed:
            closed_again(self)

    return close


HOOKS = (
    *(
        Hook(module, owner, "send", make(functools.partial(_begin, module), _answered))
        for module in ("httpx", "httpx2")
        for owner, make in (("Client", hook_of), ("AsyncClient", async_hook_of))
    ),
    *(Hook(module, "Response", "close", _close) for module in ("httpx", "httpx2")),
)
