"""The lines of a batch's files become calls by one line of Python."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from local_time import local_time

import llm_audit
from llm_audit import request_of
from llm_audit.batches import Batch, NoCallError, Requests, call_of
from llm_audit.ids import created_at
from llm_audit.testing import RecordedCalls

CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_796_000_000, "choices": []}
ASKED = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [1]}}
RESULT = {"id": "r", "custom_id": "a", "response": {"status_code": 200, "body": CHAT}}
EXPIRED = {"custom_id": "b", "result": {"type": "expired"}}
AT = datetime(2026, 11, 29, tzinfo=UTC)


def test_lines_become_calls(llm_audit_records: RecordedCalls) -> None:
    """As text, bytes or what JSON makes of them; the context's tags and type are theirs."""
    with llm_audit.audit_context(tags=["nightly"], call_type="SUMMARIZATION"):
        recorded = llm_audit.record_batch(
            [json.dumps(RESULT), json.dumps(EXPIRED).encode(), "no JSON", ASKED],
            [ASKED],
            batch_id="batch_1",
            submitted_by="0",
            at=AT,
        )

    assert recorded.refused == {
        "it is no result of a batch": 1,
        "it is a request, not what became of one": 1,
    }
    calls = {call.id: call for call in llm_audit_records}
    assert recorded.call_ids == sorted(calls, reverse=True)  # the first was answered later
    for call in llm_audit_records:
        assert (call.tags, call.call_type) == (["nightly"], "SUMMARIZATION")
        assert (call.parent_call_id, call.metadata["batch_id"]) == ("0", "batch_1")
    first, second = (calls[call_id] for call_id in recorded.call_ids)
    assert request_of(first) == ASKED["body"]
    assert (second.status, second.error_type, second.created_at) == ("TIMEOUT", "expired", AT)
    assert llm_audit.record_batch([RESULT], [ASKED]).call_ids == [first.id]
    assert len(llm_audit_records) == 2


def test_an_id_is_of_what_became_of_a_request() -> None:
    """The same line is the same call, whatever else is known; others are others."""
    nothing = Requests()

    def id_of(line: dict[str, Any], batch: Batch = Batch()) -> str:  # noqa: B008
        return call_of(line, nothing, batch).call_id

    known = Batch("batch_1", at=AT, provider="azure")
    assert id_of(RESULT) == id_of(RESULT, known)
    ids = {
        id_of(RESULT),
        id_of({**RESULT, "id": "s"}),
        id_of(EXPIRED, known),
        id_of({**EXPIRED, "custom_id": "c"}, known),
        id_of({**EXPIRED, "result": {"type": "canceled"}}, known),
        id_of(EXPIRED, known._replace(batch_id="batch_2")),
    }
    assert len(ids) == 6
    assert created_at(id_of(RESULT)) == datetime.fromtimestamp(1_796_000_000, UTC)
    with pytest.raises(NoCallError, match="when the batch was submitted"):
        id_of(EXPIRED)


ODD: tuple[Any, ...] = (None, 5, "x", [], {}, [1], {"type": 5}, {"error": 5}, {"body": 5})
ODD += ({"status_code": "x", "body": {"created": 2**70}}, {"body": {"created": float("nan")}})


def test_a_request_is_given_back_whatever_its_path_is() -> None:
    """Of an API that nobody knows as well, and of a whole URL."""
    for url in ("/v1/chat/completions", "https://host/v1/chat/completions", "v1/novelties", "?"):
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "llm": 1}
        requests = Requests()
        requests.add({**ASKED, "url": url, "body": body})
        call = call_of(RESULT, requests, Batch())
        assert request_of(call.fields) == body, url
        assert call.fields["model"] == "m"


def test_a_time_without_an_offset_is_utc() -> None:
    """Whoever brings the results in, and where: the same lines make the same calls."""
    answer = {"candidates": [], "responseId": "r"}
    for name in ("", "Z", "+00:00"):
        line = {"key": "a", "response": answer, "processed_time": f"2026-11-29T08:00:00{name}"}
        ids = set()
        for zone in ("UTC0", "JST-9", "PST8"):
            with local_time(zone):
                ids.add(call_of(line, Requests(), Batch()).call_id)
        assert [created_at(call_id) for call_id in ids] == [datetime(2026, 11, 29, 8, tzinfo=UTC)]


def test_odd_lines() -> None:
    """None makes more of it than a refusal."""
    refused: dict[str, Any] = {}
    for name in ("custom_id", "key", "recordId", "requests"):
        for inner in ("response", "result", "error", "modelInput", "request", "params", "body"):
            for one in ODD:
                for other in ODD:
                    line = {name: one, inner: other, "url": one, "processed_time": one}
                    requests = Requests()
                    requests.add(line)
                    try:
                        call_of(line, requests, Batch(at=AT))
                    except NoCallError as why:
                        refused[str(why)] = line
    assert not [line for why, line in refused.items() if "cannot be read" in why]
