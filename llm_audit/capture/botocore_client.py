"""The hook on botocore, boto3's engine: `Endpoint.make_request`, one for each call.

There the request is signed and sent, and the answer comes, as bytes; in `_make_api_call` around it
they are the SDK's objects, which lack what this version of the SDK does not know. Attempts are seen
below, where each is sent.

aiobotocore's endpoint is made of it and answers later: what it asks is seen on aiohttp.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from llm_audit.capture.attempt import Head, How
from llm_audit.capture.by_hand import Follower
from llm_audit.capture.calls import Request, begin
from llm_audit.capture.patches import Hook, Method
from llm_audit.capture.sending import hook_of
from llm_audit.capture.tee import close_of, watch, watched, watching
from llm_audit.runtime import clock
from llm_audit.wire.apis import matched

_LIBRARY = "botocore"
_tries: ContextVar[list[dict[str, Any]] | None] = ContextVar("llm_audit_tries", default=None)


def _call(original: Method) -> Method:
    captured = hook_of(_begin, _answered)(original)

    def make_request(*args: Any, **kwargs: Any) -> Any:
        outer = _tries.get()  # within a call, credentials may be asked for
        try:
            _tries.set([])
            return captured(*args, **kwargs)
        finally:
            _tries.set(outer)

    return make_request


@functools.lru_cache(maxsize=16)
def _is_async(kind: type) -> bool:
    return inspect.iscoroutinefunction(getattr(kind, "_send_request", None))


def _send(original: Method) -> Method:
    def send(*args: Any, **kwargs: Any) -> Any:
        tries = _tries.get()
        if tries is None:
            return original(*args, **kwargs)
        began_ns = clock.monotonic_ns()
        told: dict[str, Any] = {}
        try:
            response = original(*args, **kwargs)
            told["status"] = response.status_code
        except BaseException as error:
            told["error"] = type(error).__name__
            raise
        finally:
            told["duration_ms"] = round((clock.monotonic_ns() - began_ns) / 1_000_000, 3)
            tries.append(told)
        return response

    return send


def _begin(
    endpoint: Any,
    operation_model: Any,  # noqa: ARG001  (as of `make_request`)
    request_dict: Any,
) -> Follower | None:
    if _is_async(endpoint.__class__):
        return None
    url = urlsplit(request_dict["url"])
    said = matched(request_dict["method"], url.path)
    if said is None:
        return None
    given = dict(request_dict["headers"]).items()
    headers = {name.lower(): _text(value) for name, value in given}
    request = Request.to(url, _LIBRARY, said, headers, request_dict["body"])
    return begin(request._replace(tries=_tries.get()))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _answered(attempt: Follower, answer: Any) -> None:
    response, _ = answer
    headers = {name.lower(): value for name, value in response.headers.items()}
    head = Head(response.status_code, headers)
    if response._content is None:  # noqa: SLF001  (what botocore has not read is the app's)
        attempt.begins(head)
        watch(response.raw, attempt, _of_urllib3)
    else:
        attempt.answered(head, response.content)


def _of_urllib3(kind: Any) -> dict[str, Any]:
    """Return the methods of urllib3's response that tell of what is read."""
    return {
        "stream": _stream(kind),
        "read": _telling(kind.read, lambda data, _: data, _is_read),
        "readinto": _telling(kind.readinto, _read_into, _is_read_into),
        "close": close_of(kind),
    }


def _stream(kind: Any) -> Method:
    def stream(self: Any, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        holder = watched(self)
        return watching(lambda: holder.reading(kind.stream(self, *args, **kwargs)), holder)

    return stream


def _telling(
    original: Method,
    data_of: Callable[[Any, tuple[Any, ...]], bytes],
    is_last: Callable[[Any, tuple[Any, ...]], bool],
) -> Method:
    """Return what takes the place of a method that reads; others of the stream may call it.

    Args:
        original: The method.
        data_of: Returns what it has read, given its result and its arguments.
        is_last: Tells by the same whether that was the end.
    """

    @functools.wraps(original)
    def telling(self: Any, *args: Any, **kwargs: Any) -> Any:
        holder = watched(self)
        if holder.is_reading:
            return original(self, *args, **kwargs)
        holder.is_reading = True
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            holder.attempt.raised(error)
            raise
        finally:
            holder.is_reading = False
        given = (*args, *kwargs.values())
        holder.attempt.take(data_of(result, given))
        if is_last(result, given):
            holder.attempt.ends(How.LAST_BYTE)
        return result

    return telling


def _is_read(data: bytes, args: tuple[Any, ...]) -> bool:
    """Tell whether there is no more: all was asked for, or nothing has come."""
    asked_for = args[0] if args else None
    return asked_for is None or asked_for < 0 or (asked_for > 0 and not data)


def _is_read_into(count: int, args: tuple[Any, ...]) -> bool:
    return not count and len(args[0]) > 0


def _read_into(count: int, args: tuple[Any, ...]) -> bytes:
    return bytes(memoryview(args[0])[:count])


HOOKS = (
    Hook("botocore.endpoint", "Endpoint", "make_request", _call),
    Hook("botocore.endpoint", "Endpoint", "_send", _send),
)
