"""`llm-audit import` takes results of a batch as they were downloaded, and what was asked."""

import gzip
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE
from waiting import Calls

import llm_audit
from llm_audit import LLMLogger, request_of, response_of
from llm_audit.cli.files import importing_batches

Shell = Callable[..., Any]

AT = 1_796_000_000  # 30 November 2026
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 0, "total_tokens": 1_000}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": AT,
    "model": "gpt-4o-mini",
    "service_tier": "default",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}
EMBEDDING = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 1_000, "total_tokens": 1_000},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1_000, "output_tokens": 0, "service_tier": "batch"},
}
CANDIDATE = {"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP"}
GENERATED = {
    "candidates": [CANDIDATE],
    "modelVersion": "gemini-2.5-flash",
    "responseId": "g_1",
    "usageMetadata": {"promptTokenCount": 1_000, "totalTokenCount": 1_000},
}
REFUSED = {"type": "invalid_request_error", "message": "No.", "code": "bad"}


def chat(name: str) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": name}]}


ASKED_OPENAI = [
    *(
        {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": chat(name)}
        for name in "abcd"
    ),
    {
        "custom_id": "e",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "text-embedding-3-small", "input": "Hi"},
    },
]
OF_OPENAI = [
    {"id": "batch_req_2", "custom_id": "b", "response": {"status_code": 200, "body": CHAT}},
    {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 400, "body": {"error": REFUSED}},
        "error": None,
    },
    {
        "id": "batch_req_3",
        "custom_id": "c",
        "response": None,
        "error": {"code": "batch_expired", "message": "Late."},
    },
    {
        "id": "batch_req_4",
        "custom_id": "d",
        "response": None,
        "error": {"code": "batch_cancelled", "message": "Stopped."},
    },
    {
        "id": "batch_req_5",
        "custom_id": "e",
        "response": {"status_code": 200, "body": EMBEDDING},
        "error": None,
    },
]
ASKED_ANTHROPIC = [
    {
        "custom_id": name,
        "params": {
            "model": "claude-sonnet-4-5",
            "max_tokens": 5,
            "system": "Be kind.",
            "messages": [{"role": "user", "content": name}],
        },
    }
    for name in "abcd"
]
OF_ANTHROPIC = [
    {"custom_id": "b", "result": {"type": "succeeded", "message": MESSAGE}},
    {"custom_id": "a", "result": {"type": "errored", "error": {"type": "error", "error": REFUSED}}},
    {"custom_id": "c", "result": {"type": "expired"}},
    {"custom_id": "d", "result": {"type": "canceled"}},
]
ASKED_GEMINI = [
    {"key": name, "request": {"contents": [{"parts": [{"text": name}]}]}} for name in "ab"
]
OF_GEMINI = [
    {"key": "b", "response": GENERATED},
    {"key": "a", "error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}},
]
OF_VERTEX = [
    {
        "status": "",
        "processed_time": "2026-11-30T17:00:00.000+00:00",
        "request": {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
        "response": {**GENERATED, "responseId": "g_2"},
    }
]
OF_BEDROCK = [
    {
        "recordId": "b",
        "modelInput": {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": "b"}],
        },
        "modelOutput": {**MESSAGE, "id": "msg_2"},
    },
    {
        "recordId": "a",
        "modelInput": {"anthropic_version": "x", "messages": []},
        "error": {"errorCode": 400, "errorMessage": "No."},
    },
]


def lines(path: Path, items: Iterable[Any], *, packed: bool = False) -> Path:
    """Write a file of these lines; a text is written as it is."""
    texts = [item if isinstance(item, str) else json.dumps(item) for item in items]
    content = "\n".join(texts).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def told(calls: Calls) -> list[tuple[Any, ...]]:
    """Return what is known of each call, by its custom id."""
    names = ("status", "error_type", "error_message", "estimated_cost")
    found = [(call["metadata"].get("custom_id"), *map(call.get, names)) for call in calls.find()]
    return sorted(found, key=str)


def test_openais_files(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """Each line is a call with its request, its answer, its end, and what a batch costs."""
    results = lines(tmp_path / "results.jsonl", OF_OPENAI)
    requests = lines(tmp_path / "requests.jsonl.gz", ASKED_OPENAI, packed=True)
    given = ("--requests", requests, "--batch", "batch_1", "--submitted", "2026-11-29")

    ended = shell("import", results, *given)

    assert (ended.code, ended.errors.splitlines()[0]) == (
        *(0, "llm-audit: 5 calls imported, 0 there already, 0 refused."),
    )
    assert told(calls) == [
        ("a", "ERROR", "invalid_request_error", "No.", None),
        ("b", "SUCCESS", None, None, 0.000075),
        ("c", "TIMEOUT", "batch_expired", "Late.", None),
        ("d", "CANCELLED", "batch_cancelled", "Stopped.", None),
        ("e", "SUCCESS", None, None, None),  # no price of a batch is listed
    ]
    asked = {one["custom_id"]: one["body"] for one in ASKED_OPENAI}
    for call in calls.find():
        assert request_of(call) == asked[call["metadata"]["custom_id"]]
        assert (call["trace_id"], call["metadata"]["batch_id"]) == ("batch_1", "batch_1")
        assert call["provider"] == "openai"
        assert call["imported_from"].startswith("results.jsonl sha256:")
        assert "latency_ms" not in call
    [chat_call] = calls.find({"response_id": "chatcmpl-1"})
    assert response_of(chat_call) == CHAT
    assert chat_call["created_at"] == datetime.fromtimestamp(AT, UTC)
    assert [call["call_type"] for call in calls.find({"metadata.custom_id": "e"})] == ["EMBEDDING"]

    before = list(calls.find().sort("_id", 1))
    again = shell("import", results, *given)
    assert "0 calls imported, 5 there already, 0 refused" in again.errors
    assert list(calls.find().sort("_id", 1)) == before


def test_anthropics_results_and_their_submission(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """By the batch's id they are joined to the call that submitted it, which says when that was."""
    submission = LLMLogger.start(model="claude-sonnet-4-5", call_type="OTHER", trace_id="t")
    LLMLogger.complete(submission, response={"id": "msgbatch_1", "type": "message_batch"})
    assert llm_audit.flush(PATIENCE)
    results = lines(tmp_path / "results.jsonl", OF_ANTHROPIC)
    requests = lines(tmp_path / "requests.jsonl", [{"requests": ASKED_ANTHROPIC}])

    ended = shell("import", results, "--requests", requests, "--batch", "msgbatch_1", "--json")

    assert ended.code == 0, ended.errors
    assert json.loads(ended.output)["imported"] == 4
    calls.delete_one({"_id": submission})
    assert told(calls) == [
        ("a", "ERROR", "invalid_request_error", "No.", None),
        ("b", "SUCCESS", None, None, 0.0015),
        ("c", "TIMEOUT", "expired", None, None),
        ("d", "CANCELLED", "canceled", None, None),
    ]
    asked = {one["custom_id"]: one["params"] for one in ASKED_ANTHROPIC}
    for call in calls.find():
        assert request_of(call) == asked[call["metadata"]["custom_id"]]
        assert (call["trace_id"], call["parent_call_id"]) == ("t", submission)
    [message] = calls.find({"response_id": "msg_1"})
    assert response_of(message) == MESSAGE
    [refused] = calls.find({"status": "ERROR"})
    assert response_of(refused) == {"type": "error", "error": REFUSED}


@pytest.mark.parametrize(
    "files",
    [
        (OF_GEMINI, ASKED_GEMINI, "gemini"),
        (OF_VERTEX, [], "gemini"),
        (OF_BEDROCK, [], "bedrock"),
    ],
)
def test_those_of_others(
    files: tuple[list[Any], list[Any], str], shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """Gemini's, Vertex' and Bedrock's, of which the last two repeat what was asked."""
    results, requests, provider = files
    file = lines(tmp_path / "results", results)
    asked = lines(tmp_path / "requests", requests)
    options = ("--requests", asked) if requests else ()

    ended = shell("import", file, *options, "--submitted", "2026-11-29")

    assert ended.code == 0, ended.errors
    repeated = [one.get("request") or one.get("modelInput") for one in requests or results]
    found = list(calls.find())
    given_back = list(map(request_of, found))
    assert all(request in given_back for request in repeated)
    assert len(given_back) == len(repeated)
    answers = [one.get("response") or one.get("modelOutput") for one in results]
    got = [response_of(call) for call in found if call["status"] == "SUCCESS"]
    assert got == [answer for answer in answers if answer]
    assert {call["provider"] for call in found} == {provider}
    assert {call["error_message"] for call in found if call["status"] == "ERROR"} <= {"No."}
    assert all("model" in call for call in found if call["status"] == "SUCCESS")


def test_an_answer_that_is_a_text(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """It says what went wrong."""
    response = {"status_code": 502, "body": "<html>Bad gateway</html>"}
    file = lines(tmp_path / "errors", [{**OF_OPENAI[1], "response": response}])

    assert shell("import", file, "--submitted", "2026-11-29").code == 0

    [call] = calls.find()
    assert (call["status"], call["http_status"]) == ("ERROR", 502)
    assert call["error_message"] == "<html>Bad gateway</html>"


def test_one_bad_line_costs_that_line(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """It is refused by itself, with its reason; a request without an answer is no call."""
    bad = [
        *('{"custom_id": ', "[1]", '{"_id": "a", "status": "SUCCESS"}', "null"),
        ASKED_OPENAI[0],
        {"custom_id": "z", "result": {"type": "expired"}},
        {"custom_id": "y", "response": 5, "error": 5},
        '{"custom_id": "x", "response": ' + "[" * 5_000 + "]" * 5_000 + "}",
    ]
    file = lines(tmp_path / "results", [OF_OPENAI[0], *bad, {**OF_OPENAI[0], "id": "batch_req_9"}])

    ended = shell("import", file)

    reasons = [line.rpartition(": ")[2] for line in ended.errors.splitlines() if "line" in line]
    assert ended.code == 1
    assert reasons == [
        *["it is no result of a batch"] * 4,
        "it is a request, not what became of one",
    ]
    assert "2 calls imported, 0 there already, 8 refused." in ended.errors
    assert all(
        "request: it is in none of the files" in call["encoding_notes"] for call in calls.find()
    )
    assert [call["model"] for call in calls.find()] == ["gpt-4o-mini"] * 2


def test_a_file_of_results_is_told_from_an_export(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """Also where exported calls were of a batch."""
    shell("import", lines(tmp_path / "results", OF_OPENAI[:1]))
    exported = tmp_path / "export"
    assert shell("export", "-o", exported).code == 0
    before = list(calls.find())
    calls.delete_many({})

    assert shell("import", exported).code == 0

    [call] = calls.find()
    assert {name: call[name] for name in call if not name.startswith("imported")} == {
        name: value
        for name, value in before[0].items()
        if not name.startswith("imported") and name != "outcome_key"
    }


def test_secrets_stay_out(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """The rules of redaction hold for what comes in, as for what is recorded."""
    key = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3
    said = {**CHAT["choices"][0], "message": {"role": "assistant", "content": f"It is {key}."}}  # type: ignore[index]
    body = {**CHAT, "choices": [said]}
    file = lines(
        tmp_path / "results",
        [{"id": "r", "custom_id": "a", "response": {"status_code": 200, "body": body}}],
    )

    assert shell("import", file).code == 0

    [call] = calls.find()
    assert key not in str(call)
    assert call["redacted"]


def test_in_many_steps(
    shell: Shell, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cut off goes on where it stopped; a line that stands twice is one call."""
    monkeypatch.setattr(importing_batches, "_BATCH", 3)
    results = [{**OF_OPENAI[0], "id": f"batch_req_{number % 10}"} for number in range(15)]
    shell("import", lines(tmp_path / "some", results[:4]))

    ended = shell("import", lines(tmp_path / "all", results))

    assert "6 calls imported, 9 there already, 0 refused." in ended.errors
    assert calls.count_documents({}) == 10
