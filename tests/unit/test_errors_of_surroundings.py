"""What an app's database, broker or web framework raises is not taken for the provider's word."""

import openai
import pymongo.errors
import pytest
import redis.exceptions
import urllib3.exceptions
from httpx2 import Request, Response

from llm_audit.given.failures import error_fields

ANSWER = {"headers": {"x-request-id": "req_7"}, "request": Request("POST", "https://a.example")}
BUSY = openai.RateLimitError("slow down", response=Response(429, **ANSWER), body=None)  # type: ignore[arg-type]
SLOW = openai.APITimeoutError(ANSWER["request"])  # type: ignore[arg-type]


class HTTPException(Exception):  # noqa: N818  (Starlette's name)
    """What a web framework makes an answer of."""

    __module__ = "starlette.exceptions"

    def __init__(self, status_code: int) -> None:
        super().__init__("upstream failed")
        self.status_code = status_code


class RefusedError(HTTPException):
    """An app's own kind of it."""


class ParseError(Exception):
    """An app's own exception, with a code of its own."""

    code = 404


class APIConnectionError(Exception):
    """LiteLLM's, which has a status though no server answered."""

    status_code = 500


def because(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        pymongo.errors.ServerSelectionTimeoutError("no server"),
        pymongo.errors.OperationFailure("in text", 504, {"errmsg": "with content"}),
        because(pymongo.errors.NetworkTimeout("slow"), TimeoutError()),
        because(RuntimeError("not saved"), pymongo.errors.ExecutionTimeout("slow", 50)),
        because(redis.exceptions.TimeoutError("slow"), TimeoutError()),
        HTTPException(504),
        RefusedError(408),
        ParseError("no JSON"),
        APIConnectionError("refused"),
        urllib3.exceptions.NewConnectionError(None, "refused"),  # type: ignore[arg-type]
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_is_an_error_of_the_app(error: Exception) -> None:
    """Neither its timeout nor its code is the call's, nor is its text the provider's body."""
    status, fields = error_fields(error)

    assert status == "ERROR"
    assert fields["error_type"] == type(error).__name__
    assert not fields.keys() & {"http_status", "provider_request_id", "error_details"}


def test_what_an_app_answers_is_read_through() -> None:
    """An answer of the app's own is about the provider's that it was made from."""
    status, fields = error_fields(because(HTTPException(502), BUSY))
    assert (status, fields["http_status"], fields["provider_request_id"]) == ("ERROR", 429, "req_7")
    assert fields["error_type"] == "HTTPException"

    assert error_fields(because(RefusedError(503), SLOW))[0] == "TIMEOUT"
