"""What is seen on the wire becomes a call: its request, its answer, and how that ended."""

import json
import time
from typing import Any

import pytest

from llm_audit import audit_context, exchange, response_of
from llm_audit.given import sent
from llm_audit.testing import RecordedCalls
from llm_audit.wire.apis import Asked, confirmed, matched

URL = "https://api.openai.com/v1/chat/completions"
REQUEST = {
    "model": "gpt-5",
    "messages": [{"role": "user", "content": "Where is the Louvre?"}],
    "temperature": 0.5,
    "seed": 7,
}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5-2026-01-01",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "In Paris."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
}


def the_api(body: bytes | None, url: str = URL) -> Asked:
    """Return what a request asks."""
    host, _, path = url.removeprefix("https://").partition("/")
    found = matched("POST", f"/{path}")
    assert found
    chosen = confirmed(found, host, body)
    assert chosen
    return chosen


def begin(request: Any = REQUEST, **given: Any) -> tuple[str, Asked]:
    body = json.dumps(request).encode()
    row = the_api(body)
    known = {"captured_by": "httpx2", "endpoint": URL, "provider": "openai", **given}
    return exchange.begin(exchange.Sent(asked=row, body=body, **known)), row


def end(
    call_id: str, row: Asked, answer: Any = ANSWER, error: BaseException | None = None, **given: Any
) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    known = {"status": 200, "content_type": "application/json", **given}
    exchange.end(call_id, exchange.Received(row, body, **known), time.monotonic_ns(), error)


def test_a_call_is_what_was_sent_and_received(llm_audit_records: RecordedCalls) -> None:
    """It has the fields that a call recorded by hand has, and says who has seen it."""
    with audit_context(user_id=7, tags=["demo"]):
        call_id, row = begin()
    end(call_id, row, headers=[(b"X-Request-Id", b"req_1"), (b"set-cookie", b"secret")])
    call = llm_audit_records[0]

    assert (call.id, call.status, call.provider) == (call_id, "SUCCESS", "openai")
    assert (call.captured_by, call.endpoint, call.user_id) == ("httpx2", URL, "7")
    assert (call.tags, call.provider_request_id, call.total_tokens) == (["demo"], "req_1", 13)
    assert call.response_message == ANSWER["choices"][0]["message"]
    assert call.latency_ms is not None
    assert response_of(call) == ANSWER
    assert call.encoding_notes == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"answer": {"error": {"message": "Slow down", "type": "requests"}}, "status": 429},
            ("ERROR", "response", "requests", "Slow down", 429),
        ),
        (
            {"answer": b"<html>Bad gateway</html>", "status": 504, "content_type": "text/html"},
            ("TIMEOUT", "response", None, "<html>Bad gateway</html>", 504),
        ),
        (  # AWS has the error's name in a header only
            {
                "answer": {"message": "Too many tokens"},
                "status": 429,
                "headers": [("x-amzn-ErrorType", "ThrottlingException:http://internal/coral")],
            },
            ("ERROR", "response", "ThrottlingException", "Too many tokens", 429),
        ),
        (
            {
                "answer": {"__type": "com.aws#ModelError", "message": "no"},
                "status": 424,
                "headers": [(b"X-Amzn-Errortype", b"ModelErrorException")],
            },
            ("ERROR", "response", "com.aws#ModelError", "no", 424),
        ),
        (
            {
                "answer": b"",
                "status": 503,
                "headers": {"x-amzn-errortype": "ServiceUnavailableException"}.items(),
            },
            ("ERROR", "response", "ServiceUnavailableException", None, 503),
        ),
        (
            {"answer": b"", "status": None, "error": TimeoutError("slow")},
            ("TIMEOUT", "exception", "TimeoutError", "slow", None),
        ),
    ],
)
def test_how_a_call_ends(
    given: dict[str, Any], expected: tuple[Any, ...], llm_audit_records: RecordedCalls
) -> None:
    """An answer says by its status that it is none; an exception says what it is."""
    end(*begin(), **given)
    call = llm_audit_records[0]

    found = (call.status, call.ended_by, call.error_type, call.error_message, call.http_status)
    assert found == expected


def test_the_model_that_is_asked_is_the_bodys_own() -> None:
    """A tool may have one, too; a long body is not looked through for the one that counts."""
    used = [{"type": "tool_use", "input": {"model": "T-1"}}]
    for long in ("", "x" * 9_000):
        for before, after in ((used, long), (long, used), ([used, long], [long, used])):
            for request in (
                {"messages": before, "model": "m", "tools": after},
                {"model": "m", "messages": before, "tools": after},
                {"messages": before, "tools": after, "model": "m"},
                {"messages": [before, long], "model": "m", "tools": [long]},
                {"messages": [long], "model": "m", "tools": [long, after]},
            ):
                body = json.dumps(request).encode()
                assert sent.model_in(the_api(body), body) == "m", request


def test_what_a_client_tried_is_one_call(llm_audit_records: RecordedCalls) -> None:
    """Each request of a client that asks again is an attempt of the same call."""
    attempts = [{"status": 429, "duration_ms": 2.5, "body": {"error": "x"}}, {"error": "E"}]
    end(*begin(), attempts=attempts, time_to_first_token_ms=3.5)
    call = llm_audit_records[0]

    assert [one.model_dump(exclude_unset=True) for one in call.attempts] == attempts
    assert call.time_to_first_token_ms == 3.5
