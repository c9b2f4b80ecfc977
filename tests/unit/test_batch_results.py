"""The page on capture makes calls of the files of a batch, whichever provider's."""

import json
import re
from pathlib import Path
from typing import Any

from llm_audit import LLMLogger
from llm_audit.testing import RecordedCalls

PAGE = Path(__file__).parents[2] / "docs/how-to/capture.md"
REFUSED = {"type": "invalid_request_error", "message": "No."}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "service_tier": "default",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 0, "total_tokens": 1_000},
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
OF_OPENAI = {
    "b": {"response": {"status_code": 200, "body": CHAT}, "error": None},
    "a": {"response": {"status_code": 400, "body": {"error": REFUSED}}, "error": None},
    "c": {"response": None, "error": {"code": "batch_expired", "message": "Late."}},
}
OF_ANTHROPIC = {
    "b": {"result": {"type": "succeeded", "message": MESSAGE}},
    "a": {"result": {"type": "errored", "error": {"type": "error", "error": REFUSED}}},
    "c": {"result": {"type": "expired"}},
}


def test_each_line_is_a_call(llm_audit_records: RecordedCalls) -> None:
    """It has what was asked under its id, what was answered, and costs what a batch does."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    space: dict[str, Any] = {"LLMLogger": LLMLogger}
    exec(next(block for block in blocks if "def record_batch" in block), space)
    for model, place, results in (
        ("gpt-4o-mini", "body", OF_OPENAI),
        ("claude-sonnet-4-5", "params", OF_ANTHROPIC),
    ):
        requests = [
            {"custom_id": name, place: {"model": model, "messages": [{"content": name}]}}
            for name in "abc"
        ]
        lines = [{"custom_id": name, **said} for name, said in results.items()]
        space["record_batch"](model, map(json.dumps, requests), map(json.dumps, lines))

    expected = [("b", "SUCCESS", None), ("a", "ERROR", "No."), ("c", "ERROR", None)]
    found = [
        (call.metadata["custom_id"], call.messages[0]["content"], call.status, call.error_message)
        for call in llm_audit_records
    ]
    late = ("c", "ERROR", "Late.")
    told = [*expected[:2], late, *expected]
    assert found == [(name, name, status, message) for name, status, message in told]
    assert [call.estimated_cost for call in llm_audit_records if call.estimated_cost] == [
        0.000075,
        0.0015,
    ]
