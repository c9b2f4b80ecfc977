"""The hook on httpx and httpx2: `Client.send` and `AsyncClient.send`.

There one request of an SDK passes once, whatever it is sent through: redirects, proxies and
transports are below it, retries above.
"""

import functools
from typing import Any

from llm_audit.capture.attempt import Attempt, Head
from llm_audit.capture.by_hand import ByHand
from llm_audit.capture.calls import Request, begin, is_inside, sending
from llm_audit.capture.faults import harmless, note_fault
from llm_audit.capture.patches import Hook, Method
from llm_audit.capture.tee import of_httpx, watch
from llm_audit.recorder.captured import Captured
from llm_audit.wire.apis import asked


def _sync(module: str, original: Method) -> Method:
    def send(*args: Any, **kwargs: Any) -> Any:
        attempt = _begin(module, args, kwargs)
        if attempt is None:
            return original(*args, **kwargs)
        try:  # a time limit may strike as soon as that is set
            sending.set(attempt)
            response = original(*args, **kwargs)
        except BaseException as error:
            attempt.raised(error)
            raise
        finally:
            attempt.is_sent = True
            sending.set(None)
        _answered(attempt, response)
        return response

    return send


def _async(module: str, original: Method) -> Method:
    async def send(*args: Any, **kwargs: Any) -> Any:
        attempt = _begin(module, args, kwargs)
        if attempt is None:
            return await original(*args, **kwargs)
        try:  # a time limit may strike as soon as that is set
            sending.set(attempt)
            response = await original(*args, **kwargs)
        except BaseException as error:
            attempt.raised(error)
            raise
        finally:
            attempt.is_sent = True
            sending.set(None)
        _answered(attempt, response)
        return response

    return send


@harmless
def _begin(module: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Attempt | ByHand | None:
    if not Captured.clients or is_inside():
        return None
    request = args[1] if len(args) > 1 else kwargs.get("request")
    if request is None:  # the client will say so
        return None
    url = request.url
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    said = asked(request.method, path)
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


def _answered(attempt: Attempt | ByHand, response: Any) -> None:
    try:
        _watch(attempt, response)
    except BaseException as fault:  # noqa: BLE001  (whatever has become of the response)
        note_fault(fault)
        attempt.unseen()


def _watch(attempt: Attempt | ByHand, response: Any) -> None:
    head = Head(response.status_code, response.headers)
    try:
        body = response.content
    except Exception as error:  # the same
        if type(error).__name__ != "ResponseNotRead":
            raise
        attempt.begins(head)
        watch(response.stream, attempt, of_httpx)
    else:
        attempt.answered(head, body)


HOOKS = tuple(
    Hook(module, owner, "send", functools.partial(make, module))
    for module in ("httpx", "httpx2")
    for owner, make in (("Client", _sync), ("AsyncClient", _async))
)
