"""What an exception says of the provider's error, whatever client raised it."""

import asyncio
import enum
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import anthropic
import httpx2
import openai
import pytest

from llm_audit.given.failures import error_fields
from llm_audit.providers.errors import BODY_MAX_CHARACTERS

REQUEST = httpx2.Request("POST", "https://api.example/v1", headers={"authorization": "secret"})
HEADERS = {"x-request-id": "req_7", "retry-after": "30", "set-cookie": "secret"}
THROTTLED = {"error": {"type": "rate_limit_error", "code": "slow_down", "message": "busy"}}


def said(error: BaseException) -> tuple[Any, ...]:
    """Return status, HTTP status, request id and details of an exception."""
    status, fields = error_fields(error)
    names = ("http_status", "provider_request_id", "error_details")
    return (str(status), *(fields.get(name) for name in names))


def answer(status: int, body: object = None, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json=body, headers=HEADERS | headers, request=REQUEST)


def status_error(status: int, body: Any = THROTTLED) -> openai.APIStatusError:
    return openai.APIStatusError("failed", response=answer(status, body), body=body)


class Like(Exception):  # noqa: N818
    """Stands for the exception of a client that is not installed here."""

    def __init__(self, text: str = "failed", **attributes: Any) -> None:
        super().__init__(text)
        vars(self).update(attributes)


class RpcError(Like):
    """As gRPC's clients raise it: its attributes are methods."""

    def __init__(self, name: str, **metadata: str) -> None:
        codes: Any = enum.Enum("StatusCode", {name: (4, name.lower())})  # type: ignore[misc]
        self._code = codes[name]
        self._metadata = tuple(metadata.items())

    def code(self) -> Any:
        """As gRPC has it."""
        return self._code

    def details(self) -> str:
        """As gRPC has it."""
        return "as text"

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """As gRPC has it."""
        return self._metadata


AWS = {
    "Error": {"Code": "ThrottlingException", "Message": "Too many tokens"},
    "ResponseMetadata": {
        "RequestId": "req_7",
        "HTTPStatusCode": 429,
        "HTTPHeaders": {"retry-after": "30"},
    },
}
GOOGLE = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"}],
    }
}
PLAIN_HEADERS = {"X-Request-Id": "req_7", "Retry-After": "30"}


@pytest.mark.parametrize(
    ("error", "code", "body"),
    [
        (status_error(429), "slow_down", THROTTLED),
        (
            anthropic.APIStatusError("x", response=answer(429), body=THROTTLED),
            "rate_limit_error",
            THROTTLED,
        ),
        (
            httpx2.HTTPStatusError("x", request=REQUEST, response=answer(429, THROTTLED)),
            "slow_down",
            THROTTLED,
        ),
        (Like(response=AWS), "ThrottlingException", {"Error": AWS["Error"]}),
        (
            Like(code=429, status="RESOURCE_EXHAUSTED", details=GOOGLE, response=answer(429)),
            "RESOURCE_EXHAUSTED",
            GOOGLE,
        ),
        (
            Like(status_code=429, body=json.dumps(THROTTLED), raw_response=answer(429)),
            "slow_down",
            THROTTLED,
        ),
        (Like(status_code=429, body=THROTTLED, headers=PLAIN_HEADERS), "slow_down", THROTTLED),
        (Like(status=429, message="x", headers=PLAIN_HEADERS), None, None),
    ],
    ids=["openai", "anthropic", "httpx", "boto3", "google", "mistral", "cohere", "aiohttp"],
)  # fmt: skip
def test_a_clients_exception_is_read(error: Exception, code: str | None, body: object) -> None:
    """Status, request id, code, body, and when to try again; but no other header."""
    *figures, details = said(error)

    assert figures == ["ERROR", 429, "req_7"]
    assert details == {
        name: value
        for name, value in {"code": code, "retry_after": 30.0, "body": body}.items()
        if value is not None
    }
    assert "secret" not in str(error_fields(error))


def test_grpc_is_read() -> None:
    """What others have as attributes are methods there, and headers are metadata."""
    error = RpcError("UNAVAILABLE", **{"x-request-id": "req_7"})
    assert said(error) == ("ERROR", None, "req_7", {"code": "UNAVAILABLE"})


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("retry-after", "2", 2.0),
        ("retry-after-ms", "1500", 1.5),
        ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"),
        ("retry-after", "inf", "inf"),
    ],
)
def test_when_to_try_again(header: str, value: str, expected: object) -> None:
    """Seconds as a number; a date stays what it is."""
    error = Like(status_code=503, headers={header: value})
    assert said(error)[3] == {"retry_after": expected}


def handling(handled: Exception, error: Exception) -> Exception:
    """Return an exception as if it was raised while another was handled."""
    error.__context__ = handled
    return error


def test_a_wrapper_is_read_through() -> None:
    """What an exception was raised from, holds or repeats says what it does not say itself."""
    failed = status_error(500)
    overloaded = Like("overloaded, request req_9", status_code=529)

    assert said(from_cause(Like("mine"), failed))[1:3] == (500, "req_7")
    assert said(handling(failed, ValueError(failed)))[1:3] == (500, "req_7")
    assert said(ExceptionGroup("all", [failed]))[1:3] == (500, "req_7")
    assert said(handling(overloaded, RuntimeError(f"LLM: {overloaded}")))[1] == 529
    # a fault of the handler's own is not about what it handled
    assert said(handling(failed, KeyError("model")))[1] is None
    assert said(handling(Like("x"), KeyError("xy")))[1] is None
    # nor is an answer about the failure before it
    assert said(from_cause(Like("again", status_code=400), failed))[1:3] == (400, None)


def from_cause(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def named(name: str, base: type[BaseException] = Exception) -> Any:
    return type(name, (base,), {})("x")


TIMEOUTS = [
    *(status_error(408), status_error(504), Like(code=504, response=None)),
    Like(status=524, headers=None),
    *(RpcError("DEADLINE_EXCEEDED"), Like(code=500, status="DEADLINE_EXCEEDED")),
    Like(response={"Error": {"Code": "ModelTimeoutException"}}),
    Like(response={"Error": {"Code": "RequestTimeout"}}),
    status_error(500, {"error": {"type": "timeout_error"}}),
    *(TimeoutError(), openai.APITimeoutError(REQUEST), httpx2.PoolTimeout("x")),
    *(named("ModelTimeoutException"), named("RunTimedOut"), named("Timeout", BaseException)),
    named("Mine", type("ReadTimeoutError", (Exception,), {})),
    from_cause(openai.APIConnectionError(request=REQUEST), httpx2.ReadTimeout("x")),
    from_cause(Like("mine"), from_cause(Like("inner"), TimeoutError())),
    from_cause(Like("mine"), status_error(504)),
]
OTHERS = [
    status_error(429, {"error": {"type": "timeout_error"}}),
    status_error(500, {"error": {"message": "upstream request timeout"}}),
    Like("the request timed out", status_code=502),
    openai.APIConnectionError(request=REQUEST),
    RpcError("CANCELLED"),
    from_cause(status_error(429), TimeoutError()),  # of an attempt before
    from_cause(Like("mine"), asyncio.CancelledError()),
    Like("x", timeout=5, request=SimpleNamespace(timeout=5)),
]


def test_timeouts_are_told_by_meaning() -> None:
    """By status, code and class, also of the cause; never by a text for people."""
    assert [repr(e) for e in TIMEOUTS if said(e)[0] != "TIMEOUT"] == []
    assert [repr(e) for e in OTHERS if said(e)[0] != "ERROR"] == []


def test_what_ends_code_is_no_providers_error() -> None:
    """A cancellation is one whatever was handled before; an exit code is no HTTP status."""
    cancelled = asyncio.CancelledError()
    cancelled.__context__ = cancelled.__cause__ = status_error(504)
    assert said(cancelled) == ("CANCELLED", None, None, None)
    assert said(SystemExit(504)) == ("INCOMPLETE", None, None, None)


class Hostile(Exception):  # noqa: N818
    """Everything about it raises, or never ends."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__" or (name.startswith("__") and name != "__cause__"):
            return super().__getattribute__(name)
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError


def endless() -> Iterator[tuple[str, str]]:
    while True:
        yield ("a", "b")


def test_nothing_that_an_exception_does_hurts() -> None:
    """Properties that raise, chains and bodies that hold themselves, endless headers, mocks."""
    ring = Like("one")
    from_cause(from_cause(ring, Like("two")).__cause__, ring)  # type: ignore[arg-type]
    long = Like("0")
    for number in range(1000):
        long = from_cause(Like(str(number)), long)  # type: ignore[assignment]
    body: dict[str, Any] = {"error": {"code": "x"}}
    body["again"] = body
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    unread = httpx2.Response(500, stream=httpx2.ByteStream(b"x"), request=REQUEST)
    mock = Like(response=MagicMock(), body=MagicMock(), status_code=MagicMock(), code=MagicMock())

    for error in (Hostile(), ring, long, mock, from_cause(Like(), Hostile())):
        assert said(error)[:3] == ("ERROR", None, None), error
    assert said(Like(body=body))[3]["code"] == "x"
    assert said(Like(body={"deep": deep}))[0] == "ERROR"
    assert said(Like(response=unread))[1] == 500
    assert said(Like(headers=SimpleNamespace(items=endless)))[0] == "ERROR"


def test_a_long_body_is_cut() -> None:
    """A page of a proxy, or a large object, keeps its beginning."""
    for body in ("<html>" + "x" * BODY_MAX_CHARACTERS, {"a": ["x"] * BODY_MAX_CHARACTERS}):
        kept = said(Like(status_code=502, body=body))[3]["body"]
        assert len(kept) < BODY_MAX_CHARACTERS + 50
        assert kept.endswith(" characters)")
