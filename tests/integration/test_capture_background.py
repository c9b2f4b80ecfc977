"""What is answered in the background becomes the outcome of the call that asked for it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from scripted_provider import Answer, Provider, captured_provider
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger, response_of
from llm_audit.recorder.process import open_calls
from llm_audit.testing import RecordedCalls

USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
OUTPUT = [
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "In Paris.", "annotations": []}],
    }
]


def response(status: str, **more: Any) -> dict[str, Any]:
    """Return a response as OpenAI has it in the background."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "background": True,
        "status": status,
        "model": "gpt-5-2026",
        "output": [],
        "error": None,
        "incomplete_details": None,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        **more,
    }


QUEUED = response("queued")
COMPLETED = response("completed", output=OUTPUT, usage=USAGE)


def event(kind: str, body: dict[str, Any]) -> bytes:
    """Return an event of a streamed response."""
    data = {"type": f"response.{kind}", "sequence_number": 0, "response": body}
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.fixture
def provider(llm_audit_records: RecordedCalls) -> Iterator[Provider]:
    """Serve, and record what the clients ask."""
    assert len(llm_audit_records) == 0
    with captured_provider() as served:
        yield served


@pytest.fixture
def client(provider: Provider) -> Iterator[openai.OpenAI]:
    """Give a client of OpenAI's."""
    with openai.OpenAI(api_key="sk-1", base_url=f"{provider.url}/v1", max_retries=2) as made:
        yield made


def ends(calls: RecordedCalls) -> list[tuple[str, str | None]]:
    """Return how each call ended."""
    return [(str(call.status), call.ended_by) for call in calls]


def test_a_result_ends_the_call_that_asked_for_it(
    provider: Provider, client: openai.OpenAI, llm_audit_records: RecordedCalls
) -> None:
    """It is fetched again and again, after errors, too; the first that is final counts."""
    provider.refuse(429, retry_after_ms="1")
    provider.answers += [Answer(body=one) for one in (QUEUED, response("in_progress"))]
    asked = client.responses.create(model="gpt-5", input="Where?", background=True)
    call = llm_audit_records[0]
    waiting = ("INCOMPLETE", "in_background", "resp_1", None)
    assert (call.status, call.ended_by, call.response_id, call.response_message) == waiting

    client.responses.retrieve(asked.id)
    provider.refuse(404)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(asked.id)
    for page in (b"<html>Log in first</html>", b"", b'{"status": "completed"}'):
        provider.answers.append(Answer(body=page))
        httpx2.get(f"{provider.url}/v1/responses/{asked.id}")
    assert ends(llm_audit_records) == [("INCOMPLETE", "in_background")]

    provider.answers += [Answer(body=COMPLETED)] * 2
    for _ in range(2):
        assert client.responses.retrieve(asked.id).output_text == "In Paris."
    (call,) = llm_audit_records
    assert (call.status, call.ended_by, call.total_tokens) == ("SUCCESS", None, 5)
    assert (call.input, call.request_params) == ("Where?", {"background": True})
    assert response_of(call) == COMPLETED
    assert [one.status for one in call.attempts] == [429, 200]
    assert llm_audit.stats()["ended_twice"] == 0


@pytest.mark.parametrize(
    ("final", "expected"),
    [
        (
            response("failed", error={"code": "server_error", "message": "No."}),
            ("ERROR", "response"),
        ),
        (response("cancelled"), ("CANCELLED", "response")),
        (
            response("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            ("SUCCESS", None),
        ),
    ],
)
def test_every_final_state_is_an_outcome(
    final: dict[str, Any],
    expected: tuple[str, str | None],
    provider: Provider,
    client: openai.OpenAI,
    llm_audit_records: RecordedCalls,
) -> None:
    """Also where the answer to a cancel says it."""
    provider.answers += [Answer(body=QUEUED), Answer(body=final)]
    asked = client.responses.create(model="gpt-5", input="Where?", background=True)
    if final["status"] == "cancelled":
        client.responses.cancel(asked.id)
    else:
        client.responses.retrieve(asked.id)

    assert ends(llm_audit_records) == [expected]


@pytest.mark.parametrize("how", ["closed", "broken"])
def test_a_stream_is_read_on(
    how: str, provider: Provider, client: openai.OpenAI, llm_audit_records: RecordedCalls
) -> None:
    """A stream of what is made in the background is left, or breaks, and is fetched later."""
    begun = (event("created", QUEUED), event("in_progress", response("in_progress")))
    provider.stream((*begun, b": more\n\n"), ends=how != "broken")
    stream = client.responses.create(model="gpt-5", input="Where?", background=True, stream=True)
    next(iter(stream))
    if how == "closed":
        stream.close()
    else:
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    assert ends(llm_audit_records) == [
        ("INCOMPLETE", "stream_closed") if how == "closed" else ("ERROR", "exception")
    ]

    provider.stream((event("in_progress", response("in_progress")), event("completed", COMPLETED)))
    list(client.responses.retrieve("resp_1", stream=True, starting_after=1))
    (call,) = llm_audit_records
    assert (call.status, call.ended_by, call.error_type) == ("SUCCESS", None, None)
    assert response_of(call) == COMPLETED
    assert call.streamed


def test_what_nobody_here_has_asked_for_is_no_call(
    provider: Provider, client: openai.OpenAI, llm_audit_records: RecordedCalls
) -> None:
    """Another process has asked, or the answer was there at once."""
    provider.answers += [Answer(body=COMPLETED)] * 3
    client.responses.retrieve("resp_1")
    client.responses.create(model="gpt-5", input="Where?")
    client.responses.retrieve("resp_1")

    assert ends(llm_audit_records) == [("SUCCESS", None)]


def test_the_app_may_tell_the_outcome_itself(
    provider: Provider, client: openai.OpenAI, llm_audit_records: RecordedCalls
) -> None:
    """As one does that a webhook calls; what is fetched later says nothing new."""
    provider.answers += [Answer(body=one) for one in (QUEUED, COMPLETED)]
    asked = client.responses.create(model="gpt-5", input="Where?", background=True)
    LLMLogger.complete(llm_audit_records[0].id, response=COMPLETED)
    client.responses.retrieve(asked.id)

    assert ends(llm_audit_records) == [("SUCCESS", None)]
    assert response_of(llm_audit_records[0]) == COMPLETED
    assert llm_audit.stats()["ended_twice"] == 0


def test_whatever_is_made_in_the_background(
    llm_audit_records: RecordedCalls, provider: Provider
) -> None:
    """Each API that has results to fetch names its states in its own way."""
    batch = {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"}
    predicted = {"version": "v", "input": {"prompt": "x"}}
    of_anthropic = {"requests": [{"custom_id": "a", "params": {"model": "m", "messages": []}}]}
    for path, body, key, states in (
        ("/v1/videos", {"model": "sora", "prompt": "x"}, "status", "queued completed"),
        ("/v1/threads/t/runs", {"assistant_id": "a"}, "status", "queued completed"),
        ("/v1/batches", batch, "status", "validating in_progress finalizing completed"),
        ("/v1/messages/batches", of_anthropic, "processing_status", "in_progress ended"),
        ("/v1/predictions", predicted, "status", "starting processing succeeded"),
        (
            *("/v1beta/interactions", {"model": "m", "input": "x", "background": True}),
            *("status", "in_progress completed"),
        ),
    ):
        first, *later = (
            {"id": f"{path}_1"[1:].replace("/", "."), key: one} for one in states.split()
        )
        provider.answers += [Answer(body=one) for one in (first, *later)]
        httpx2.post(provider.url + path, json=body)
        assert ends(llm_audit_records)[-1] == ("INCOMPLETE", "in_background"), path
        for said in later:
            assert ends(llm_audit_records)[-1] == ("INCOMPLETE", "in_background"), (path, said)
            httpx2.get(f"{provider.url}{path}/{said['id']}")
        assert ends(llm_audit_records)[-1] == ("SUCCESS", None), path


@pytest.mark.parametrize("elsewhere", [False, True])
def test_in_the_database_nothing_of_the_first_answer_is_left(
    recording: Recording,
    calls: Calls,
    *,
    elsewhere: bool,
) -> None:
    """Whether the process that asked fetches the result, or another one tells it."""
    recording()
    with (
        captured_provider() as provider,
        openai.OpenAI(api_key="k", base_url=f"{provider.url}/v1") as client,
    ):
        provider.answers += [Answer(body=one) for one in (QUEUED, COMPLETED)]
        client.responses.create(model="gpt-5", input="Where?", background=True)
        assert llm_audit.flush(PATIENCE)
        (waiting,) = calls.find()
        assert (waiting["ended_by"], waiting["response_id"]) == ("in_background", "resp_1")
        if elsewhere:
            open_calls().clear()
            for nothing in (QUEUED, response("completed", id="resp_2"), {}, None, "resp_1"):
                assert llm_audit.record_result(nothing) is None
            retrieved = openai.types.responses.Response.construct(**COMPLETED)
            assert llm_audit.record_result(retrieved) == waiting["_id"]
        else:  # who does not know that it is recorded tells it all the same
            llm_audit.record_result(client.responses.retrieve("resp_1"))
            assert llm_audit.stats()["ended_twice"] == 0
        assert llm_audit.flush(PATIENCE)
        assert llm_audit.record_result(COMPLETED) is None
    (call,) = calls.find()

    assert (call["status"], call.get("ended_by")) == ("SUCCESS", None)
    assert (call["total_tokens"], call["finish_reason"]) == (5, "completed")
    assert call["completed_at"] > waiting["completed_at"]
    assert call["latency_ms"] > waiting["latency_ms"]
