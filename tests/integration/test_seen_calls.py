"""Calls that were seen on the wire, in MongoDB: read by whoever ships them, whatever they hold."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from children import child
from waiting import PATIENCE, Calls, Recording, until

import llm_audit
from llm_audit import SyncLLMCallRepository, exchange, request_of, response_of
from llm_audit.settings import get_settings
from llm_audit.wire.apis import Asked, confirmed, matched

PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 60_000
PART = {"type": "image_url", "image_url": {"url": PICTURE}}
REQUEST = {"model": "gpt-5", "messages": [{"role": "user", "content": [PART]}], "seed": 7}
ANSWER = {
    "model": "gpt-5-1",
    "choices": [{"message": {"role": "assistant", "content": "Here", "images": [PART]}}],
}
# Sees the request of a call, and is killed before its answer comes.
KILLED = """
import os, signal
from llm_audit import exchange
from llm_audit.wire.apis import confirmed, matched

body = b'{"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}'
row = confirmed(matched("POST", "/v1/chat/completions"), "api.openai.com", body)
url = "https://api.openai.com/v1/chat/completions"
print(exchange.begin(exchange.Sent("httpx", row, url, body, "application/json")), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def the_api(body: bytes) -> Asked:
    found = matched("POST", "/v1/chat/completions")
    row = found and confirmed(found, "api.openai.com", body)
    assert row
    return row


def see(request: Any, answer: Any) -> str:
    """Have a call seen from its request to its answer."""
    body, came = json.dumps(request).encode(), json.dumps(answer).encode()
    row, url = the_api(body), "https://api.openai.com/v1/chat/completions"
    call_id = exchange.begin(exchange.Sent("httpx", row, url, body, "application/json", "openai"))
    received = exchange.Received(row, came, 200, "application/json")
    exchange.end(call_id, received, time.monotonic_ns())
    return call_id


def test_media_of_bodies_go_to_gridfs(recording: Recording, calls: Calls) -> None:
    """Long base64 is there once, and with it request and answer are what they were."""
    recording(strict=False)
    ids = [see(REQUEST, ANSWER) for _ in range(3)]
    assert llm_audit.flush(PATIENCE)

    files = calls.database["fs.files"]
    assert files.count_documents({}) == 1
    for call_id in ids:
        stored = calls.find_one({"_id": call_id})
        assert stored
        assert len(json.dumps(stored, default=str)) < 10_000
        call = SyncLLMCallRepository(calls).get(call_id, with_media=True)
        assert call
        assert (request_of(call), response_of(call)) == (REQUEST, ANSWER)
    spool = Path(get_settings().spool_dir)
    assert len({file.stat().st_ino for file in spool.rglob("*.blob")}) == 1
    assert llm_audit.shutdown(PATIENCE)
    assert [*spool.rglob("*.blob")] == []


def test_what_was_sent_is_there_though_its_process_was_killed(
    recording: Recording, calls: Calls
) -> None:
    """Its request was on the disk before it left: who adopts the journal reads it."""
    with child(KILLED, recording(strict=False)) as killed:
        output, _ = killed.communicate()
    call_id = output.strip()
    assert llm_audit.recover(PATIENCE)
    until(lambda: calls.count_documents({"_id": call_id, "status": "ABANDONED"}) == 1)
    found = calls.find_one({"_id": call_id})
    assert found
    assert found["messages"] == [{"role": "user", "content": "Hi"}]
    assert (found["model"], found["captured_by"]) == ("gpt-5", "httpx")


@pytest.mark.parametrize("megabytes", [4, 12])
def test_the_longest_requests_are_recorded(
    recording: Recording, calls: Calls, megabytes: int
) -> None:
    """What is more than a document holds moves to GridFS, whoever has read it."""
    recording(strict=False)
    request = {"model": "m", "messages": [{"role": "user", "content": "long " * 2**18 * megabytes}]}
    call_id = see(request, {**ANSWER, "choices": []})
    assert llm_audit.flush(PATIENCE)

    call = SyncLLMCallRepository(calls).get(call_id, with_media=True)
    assert call
    assert call.status == "SUCCESS"
    assert request_of(call) == request
    assert calls.count_documents({"_id": call_id}) == 1
