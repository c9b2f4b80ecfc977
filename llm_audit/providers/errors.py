"""What the exceptions of providers' clients say of a failure, beyond their text.

No client is imported: tables say where the attributes of their exceptions lead. Of the headers only
those named here are read, so nothing secret gets into a record; a body only where the client has
read it already, so nothing waits for a server.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import islice
from typing import Any

from llm_audit.encoding.safe_text import safe_repr
from llm_audit.errors import let_through
from llm_audit.providers.fields import native
from llm_audit.providers.shapes import ANY, shape_of

BODY_MAX_CHARACTERS = 20_000
NAME_MAX_CHARACTERS = 200  # of an id or a code: what is longer is something else
_HEADERS_MAX = 200
_STATUSES = range(100, 600)
_ANSWERED = range(200, 300)
_REFUSED_FROM = 400
_RATE_LIMITED = 429
_TIMEOUT_STATUSES = frozenset({408, 504, 522, 524})  # the last two are Cloudflare's
_TIMEOUT = re.compile(r"timed?out|deadlineexceeded|timelimitexceeded")

# Paths from an exception: attributes, or keys of mappings, a dot for each level down; those within
# `body` are for the decoded body. The first that leads to what it has to be is taken.
_STATUS = (
    "status_code",  # openai, anthropic, groq, mistralai, cohere, litellm, pydantic-ai
    *("response.status_code", "raw_response.status_code"),  # httpx, httpx2, requests
    "response.ResponseMetadata.HTTPStatusCode",  # boto3
    *("http_status", "body.code", "body.error.code"),  # the last two in a stream, as OpenRouter's
)
# Anything may have a code: these count only beside one of _ANSWERS. aiohttp; google-genai, urllib.
_STATUS_OF_ANSWERS = ("status", "code")
_ANSWERS = ("response", "headers")
_REQUEST_ID = (
    *("request_id", "_request_id", "body.request_id"),
    "response.ResponseMetadata.RequestId",
)
_HEADERS = (
    *("response.headers", "raw_response.headers", "headers", "litellm_response_headers"),
    "response.ResponseMetadata.HTTPHeaders",
    *("trailing_metadata", "initial_metadata"),  # gRPC
)
REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "x-amzn-requestid"),
    *("x-amz-request-id", "x-goog-request-id", "mistral-correlation-id", "x-correlation-id"),
    *("x-generation-id", "x-debug-trace-id"),
)
_CODES = (
    *("response.Error.Code", "provider_error_code", "error_code", "code", "status"),
    *("grpc_status_code", "provider_error_type", "type"),
    *("body.error.status", "body.error.code", "body.error.type", "body.code", "body.type"),
)
_BODIES = (
    *("body", "json_body", "http_body", "details"),  # the last is google-genai's
    *("response._content", "raw_response._content", "response._body"),  # what has been read
)
_METHODS = frozenset({"code", "trailing_metadata", "initial_metadata"})  # gRPC's
# Packages whose exceptions speak of the app's surroundings: of its database and its broker, and of
# what it answers itself.
_STORES = (
    *("pymongo.", "redis.", "kombu.", "amqp.", "sqlalchemy.", "psycopg.", "psycopg2.", "asyncpg."),
    *("aiosqlite.", "sqlite3.", "MySQLdb.", "pymysql.", "elasticsearch.", "cassandra."),
)
_WEB_FRAMEWORKS = (
    *("starlette.", "fastapi.", "werkzeug.", "flask.", "quart.", "django.", "rest_framework."),
    *("ninja.", "litestar.", "sanic.", "falcon.", "tornado.web.", "aiohttp.web_exceptions."),
)
# LiteLLM gives the first a status all the same; the second is aiohttp's, of an answer cut short
_UNANSWERED = frozenset({"APIConnectionError", "BadHttpMessage"})
_REFUSED = "NewConnectionError"  # urllib3's, which derives it from a timeout
_COMPLETIONS = ("completion", "last_completion", "raw_message")  # openai, instructor, langchain
_ANSWERED_TEXTS = ("llm_output", "generated_content")  # langchain's parsers, litellm


class ErrorSeen:
    """An exception of any client, or of none, and what it says.

    Args:
        error: The exception; whatever its attributes are, nothing is raised.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error
        # what ends the process has a code of its own
        self._source = error if isinstance(error, Exception) else None
        self._body = _decoded(_all_at(self._source, _BODIES), _at(self._source, "response"))
        self.http_status = next(filter(None, map(status_in, self._statuses())), None)

    def fields(self) -> dict[str, Any]:
        """Return what a call's outcome records of the provider's error.

        Returns:
            Those of these fields that were found:
            `http_status`: an int.
            `provider_request_id`: a str.
            `error_details`: a dict with `code`, the error's name for machines; `retry_after`,
            seconds, or the date as the provider wrote it; `body`, of the response, in at most
            20,000 characters.
        """
        headers = _headers(self._source)
        ids = (*self._all(_REQUEST_ID), *map(headers.get, REQUEST_ID_HEADERS))
        details = {
            "code": next(self._codes(), None),
            "retry_after": self._retry_after(headers),
            "body": bounded(self._body),
        }
        found = {
            "http_status": self.http_status,
            "provider_request_id": next(filter(None, map(_name, ids)), None),
            "error_details": {name: said for name, said in details.items() if said is not None},
        }
        return {name: said for name, said in found.items() if said}

    def is_timeout(self) -> bool:
        """Tell whether time was up: by class, status or code, never by a text for people."""
        classes = (cls.__name__ for cls in type(self.error).__mro__)
        return isinstance(self.error, TimeoutError) or means_timeout(
            self.http_status, (*classes, *self._codes())
        )

    def completion(self) -> tuple[object, object]:
        """Return the response that the exception carries, and its usage; None for what is not.

        What was answered is not what was wanted, but was billed: openai's LengthFinishReasonError,
        a response that does not validate, what instructor gives up after.
        """
        for path in _COMPLETIONS:
            if (found := _at(self._source, path)) is not None:
                return found, _at(self._source, "total_usage")
        if isinstance(
            _at(self._source, "response.parts"), list | tuple
        ):  # of a run of pydantic-ai that was cut off
            return _at(self._source, "response"), _at(self._source, "usage")
        for path in _ANSWERED_TEXTS:
            if type(text := _at(self._source, path)) is str and text:
                return {"message": {"role": "assistant", "content": text}}, None
        if self.http_status in _ANSWERED and type(self._body) is dict:
            answered = shape_of(self._body) is not ANY
            return self._body if answered else None, None
        return None, None

    def _statuses(self) -> Iterator[Any]:
        unanswered = any(cls.__name__ in _UNANSWERED for cls in type(self.error).__mro__)
        if unanswered and _at(self._source, "response") is None:
            return
        yield from self._all(_STATUS)
        if any(_has(self._source, name) for name in _ANSWERS):
            yield from self._all(_STATUS_OF_ANSWERS)

    def _all(self, paths: Iterable[str]) -> Iterator[Any]:
        return _all_at(self._source, paths, self._body)

    def _codes(self) -> Iterator[str]:
        found = ((said, _name(said)) for said in self._all(_CODES))
        return (code for said, code in found if code and status_in(said) is None)

    def _retry_after(self, headers: Mapping[str, str]) -> float | str | None:
        infos = _at(self._body, "error.details")
        delays = [_at(info, "retryDelay") for info in infos] if type(infos) is list else []
        return retry_after_in(headers, _at(self._source, "retry_after"), *delays)


def retry_after_in(headers: Mapping[str, str], *otherwise: object) -> float | str | None:
    """Return when to ask again: seconds, or the date as the provider wrote it.

    Args:
        headers: Of the response, their names in small letters.
        otherwise: What else may say so, in this order.
    """
    if (milliseconds := _seconds(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    for said in (headers.get("retry-after"), *otherwise):
        if (seconds := _seconds(said)) is not None:
            return seconds
        if name := _name(said):
            return name
    return None


def means_timeout(http_status: int | None, names: Iterable[str]) -> bool:
    """Tell whether an HTTP status, or the name of a class or a code, says that time was up."""
    if http_status is not None and http_status in _TIMEOUT_STATUSES:
        return True
    if http_status == _RATE_LIMITED:
        return False
    return any(_TIMEOUT.search(re.sub(r"[\W_]", "", name).lower()) for name in names)


def is_refused(status: int | None) -> bool:
    """Tell whether a status of HTTP says that there is no answer."""
    return status is not None and status >= _REFUSED_FROM


def status_in(value: object) -> int | None:
    """Return an HTTP status, also one in digits; None for anything else."""
    kind = type(value)
    if issubclass(kind, str) and str(value).isdecimal() and len(str(value)) == len("500"):
        value = int(str(value))
    elif kind is bool or not issubclass(kind, int):
        return None
    return int(value) if value in _STATUSES else None  # type: ignore[call-overload]


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        try:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
            if name in _METHODS and callable(value):
                value = value()
        except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
            let_through(error)
            return None
    return value


def _has(value: object, name: str) -> bool:
    try:
        return hasattr(value, name)
    except BaseException as error:  # noqa: BLE001  (a foreign object may raise anything)
        let_through(error)
        return True


def _all_at(error: Exception | None, paths: Iterable[str], body: object = None) -> Iterator[Any]:
    for path in paths:
        before, _, within = path.partition("body.")
        yield _at(error, path) if before or not within else _at(body, within)


def _name(value: object) -> str | None:
    """Return an id or a code as a str; gRPC's codes are enums, whose names are what is meant."""
    if isinstance(value, Enum) and not isinstance(value, int | str):
        value = value.name
    if not issubclass(type(value), str):
        return None
    text = str.__str__(value)
    return text if text and len(text) <= NAME_MAX_CHARACTERS else None


def _seconds(value: object) -> float | None:
    """Return a number of seconds; Google writes `30s`."""
    text = str.__str__(value).removesuffix("s") if issubclass(type(value), str) else value
    if issubclass(type(text), str | int | float) and type(text) is not bool:
        try:
            seconds = float(text)  # type: ignore[arg-type]
        except (ValueError, OverflowError) as error:
            let_through(error)
            return None
        return seconds if math.isfinite(seconds) else None
    return None


def _headers(error: Exception | None) -> dict[str, str]:
    """Return a response's headers, or gRPC's metadata, by their names in small letters."""
    found: dict[str, str] = {}
    for given in _all_at(error, _HEADERS):
        try:
            pairs = given.items() if hasattr(given, "items") else given or ()
            for name, value in islice(pairs, _HEADERS_MAX):
                if issubclass(type(name), str) and issubclass(type(value), str):
                    found.setdefault(name.lower(), value)
        except BaseException as fault:  # noqa: BLE001  (a foreign object may raise anything)
            let_through(fault)
    return found


def _decoded(bodies: Iterable[Any], boto: object) -> object:
    """Return the first body that there is, JSON as what it holds; None if there is none."""
    if isinstance(boto, dict) and "Error" in boto:
        return {name: value for name, value in boto.items() if name != "ResponseMetadata"}
    for given in bodies:
        body = given
        if issubclass(type(given), bytes | bytearray):
            body = bytes(given).decode("utf-8", "replace")
        elif callable(getattr(type(given), "model_dump", None)):
            body = native(given)
        if isinstance(body, str) and body.strip():
            return _from_json(body)
        if isinstance(body, dict | list) and body:
            return body
    return None


def _from_json(text: str) -> object:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        let_through(error)
        return text
    return found if isinstance(found, dict | list) else text


def bounded(body: object) -> object:
    """Return a body, or the beginning of its text if that is long."""
    if body is None:
        return None
    text = as_text(body)
    return body if len(text) <= BODY_MAX_CHARACTERS else shortened(text)


def shortened(text: str) -> str:
    """Return a text, or its beginning, and how long it is."""
    if len(text) <= BODY_MAX_CHARACTERS:
        return text
    return f"{text[:BODY_MAX_CHARACTERS]}… ({len(text)} characters)"


def as_text(said: object) -> str:
    """Return a text as it is, and anything else as JSON."""
    if isinstance(said, str):
        return said
    try:
        return json.dumps(said, default=safe_repr, ensure_ascii=False)
    except BaseException as error:  # noqa: BLE001  (it may hold itself, or anything)
        let_through(error)
        return safe_repr(said)


def is_of_a_store(error: BaseException) -> bool:
    """Tell whether an exception is of a database or a broker."""
    return _is_from(_STORES, error)


def is_of_the_call(error: BaseException) -> bool:
    """Tell whether an exception may say what the provider answered, or that it did not in time."""
    names = (cls.__name__ for cls in type(error).__mro__)
    return _REFUSED not in names and not _is_from((*_STORES, *_WEB_FRAMEWORKS), error)


def _is_from(packages: tuple[str, ...], error: BaseException) -> bool:
    modules = (cls.__dict__.get("__module__") for cls in type(error).__mro__)
    return any(type(name) is str and f"{name}.".startswith(packages) for name in modules)
