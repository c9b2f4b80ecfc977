"""The hook on aiohttp: `ClientSession._request`, which all its ways of asking come to.

google-genai sends its async calls there, and so do apps of their own. What httpx sends through
aiohttp, as LiteLLM does, was seen further out. A cassette of vcrpy's takes the method's place and
keeps the original, so its own is hooked, too.
"""

import functools
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from llm_audit.capture.attempt import Head, How
from llm_audit.capture.by_hand import Follower
from llm_audit.capture.calls import Request, begin
from llm_audit.capture.patches import Hook, Method
from llm_audit.capture.sending import async_hook_of
from llm_audit.capture.tee import Watched, watched_kind
from llm_audit.wire.apis import matched

_LIBRARY = "aiohttp"
# What a reader is given as its exception where the app closes or releases the response.
_CLOSED = ("ClientConnectionError", "Connection closed")
_readers: dict[int, Watched] = {}  # by id: a reader has slots, and goes before its id does
# The app's serializer, what it was given and what it made of that, until the request is made of it.
_made: ContextVar[tuple[Any, Any, Any] | None] = ContextVar("llm_audit_made", default=None)


def _begin(
    session: Any,
    method: str,
    str_or_url: Any,
    *,
    headers: Any = None,
    data: Any = None,
    json: Any = None,
    **_: Any,
) -> Follower | None:
    url = urlsplit(str(str_or_url))
    said = matched(method.upper(), url.path)
    if said is None:
        return None
    if not url.netloc:
        url = urlsplit(str(session._build_url(str_or_url)))  # noqa: SLF001  (with the session's base)
    own = headers or {}
    own = {} if iter(own) is own else dict(own)  # what can be read but once is aiohttp's to read
    pairs = [*session.headers.items(), *own.items()]
    named = {str(name).lower(): str(value) for name, value in pairs}
    if json is not None:
        data = _serialised(session, json)
        named.setdefault("content-type", "application/json")
    return begin(Request.to(url, _LIBRARY, said, named, data))


def _serialised(session: Any, json: Any) -> Any:
    """Return what the app's serializer makes of it, and hand that to the request, too."""
    in_bytes = getattr(session, "_json_serialize_bytes", None)  # of aiohttp 3.14
    dumps = in_bytes or session.json_serialize
    made = dumps(json)
    _made.set((dumps, json, made))
    return made


def _payload(original: Method) -> Method:
    def __init__(self: Any, value: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        made = _made.get()
        if made is not None:
            _made.set(None)
            if made[0] is kwargs.get("dumps") and made[1] is value:
                kwargs["dumps"] = lambda _: made[2]
        original(self, value, *args, **kwargs)

    return __init__


def _answered(attempt: Follower, response: Any) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    # aiohttp has taken the compression off what it hands to the reader
    headers.pop("content-encoding", None)
    head = Head(response.status, headers)
    reader = response.content
    if type(reader).__name__ == "EmptyStreamReader":  # one for all
        attempt.answered(head, b"")
        return
    if response._body is not None:  # noqa: SLF001  (read already, by a middleware say)
        attempt.answered(head, response._body)  # noqa: SLF001
        return
    attempt.begins(head)
    for chunk in reader._buffer:  # noqa: SLF001  (what came with the head)
        attempt.take(chunk)
    if reader.is_eof():
        attempt.ends(How.LAST_BYTE)
        return
    kind: type = type(reader)
    reader.__class__ = watched_kind(kind, _parts)  # first: it takes itself out of the table
    _readers[id(reader)] = Watched(attempt)


def _parts(kind: Any) -> dict[str, Any]:
    """Return the methods of a reader by which it is given what comes."""

    def feed_data(self: Any, data: bytes, *args: Any) -> Any:
        if data and (holder := _readers.get(id(self))):
            holder.attempt.take(data)
        return kind.feed_data(self, data, *args)

    def feed_eof(self: Any) -> None:
        kind.feed_eof(self)
        if holder := _readers.get(id(self)):
            holder.attempt.ends(How.LAST_BYTE)

    def set_exception(self: Any, exc: BaseException, *args: Any) -> None:
        kind.set_exception(self, exc, *args)
        if holder := _readers.get(id(self)):
            _broken_off(holder.attempt, exc)

    def __del__(self: Any) -> None:  # noqa: N807
        _readers.pop(id(self), None)  # which drops it

    return {
        "__slots__": (),
        "feed_data": feed_data,
        "feed_eof": feed_eof,
        "set_exception": set_exception,
        "__del__": __del__,
    }


def _broken_off(attempt: Follower, error: BaseException) -> None:
    if (type(error).__name__, str(error)) != _CLOSED:
        attempt.raised(error)
    else:  # who reads closes the response when that is cancelled, or takes too long
        attempt.closed((TimeoutError,))


_hooked = async_hook_of(_begin, _answered)


def _cassettes(original: Method) -> Method:
    def vcr_request(*args: Any, **kwargs: Any) -> Method:
        request: Method = original(*args, **kwargs)
        return functools.wraps(request)(_hooked(request))

    return vcr_request


HOOKS = (
    Hook("aiohttp.client", "ClientSession", "_request", _hooked),
    Hook("vcr.stubs.aiohttp_stubs", "", "vcr_request", _cassettes),
    Hook("aiohttp.payload", "JsonPayload", "__init__", _payload),
    Hook("aiohttp.payload", "JsonBytesPayload", "__init__", _payload, is_optional=True),
)
