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

from llm_audit.capture.attempt import Attempt, Head, How
from llm_audit.capture.by_hand import ByHand
from llm_audit.capture.calls import Request, begin, is_inside, sending
from llm_audit.capture.faults import harmless, note_fault
from llm_audit.capture.patches import Hook, Method
from llm_audit.capture.tee import close_of, watch, watched
from llm_audit.recorder.captured import Captured
from llm_audit.runtime import clock
from llm_audit.wire.apis import asked

_LIBRARY = "botocore"
_ERRORS = 300  # as botocore counts
_tries: ContextVar[list[dict[str, Any]] | None] = ContextVar("llm_audit_tries", default=None)


def _call(original: Method) -> Method:
    def make_request(*args: Any, **kwargs: Any) -> Any:
        attempt = None if _is_async(args[0].__class__) else _begin(args, kwargs)
        if attempt is None:
            return original(*args, **kwargs)
        tries: list[dict[str, Any]] = []
        try:  # a time limit may strike as soon as that is set
            sending.set(attempt)
            _tries.set(tries)
            answer = original(*args, **kwargs)
        except BaseException as error:
            attempt.tried(tries)
            attempt.raised(error)
            raise
        finally:
            attempt.is_sent = True
            sending.set(None)
            _tries.set(None)
        attempt.tried(tries)
        _answered(attempt, answer, args[1] if len(args) > 1 else kwargs["operation_model"])
        return answer

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


@harmless
def _begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Attempt | ByHand | None:
    if not Captured.clients or is_inside():
        return None
    request = args[2] if len(args) > 2 else kwargs["request_dict"]  # noqa: PLR2004
    url = urlsplit(request["url"])
    said = asked(request["method"], url.path)
    if said is None:
        return None
    body = request["body"]
    body = body.encode() if isinstance(body, str) else body
    headers = {name.lower(): _text(value) for name, value in dict(request["headers"]).items()}
    host = url.hostname or ""
    endpoint = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    kept = bytes(body) if isinstance(body, bytes | bytearray) else None
    return begin(Request(_LIBRARY, said, host, endpoint, headers, kept))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _answered(attempt: Attempt | ByHand, answer: Any, operation: Any) -> None:
    try:
        _watch(attempt, answer[0], operation)
    except BaseException as fault:  # noqa: BLE001  (whatever has become of the response)
        note_fault(fault)
        attempt.unseen()


def _watch(attempt: Attempt | ByHand, response: Any, operation: Any) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    head = Head(response.status_code, headers)
    streams = operation.has_event_stream_output or operation.has_streaming_output
    if streams and response.status_code < _ERRORS:
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
        attempt = holder.attempt
        try:
            for chunk in holder.reading(kind.stream(self, *args, **kwargs)):
                attempt.take(chunk)
                yield chunk
        except GeneratorExit:
            raise  # who leaves it closes it, or drops it
        except BaseException as error:
            attempt.raised(error)
            raise
        attempt.ends(How.LAST_BYTE)

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
    Hook("botocore.httpsession", "URLLib3Session", "send", _send),
)
