"""The messages of real providers, as they were recorded."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_audit.providers.messages import read_answers, read_request
from llm_audit.providers.response import read_response
from llm_audit.providers.tool_calls import tools_asked_for
from llm_audit.queries.answers.pairing import pair

TRAFFIC = Path(__file__).parents[3] / "shared" / "traffic"
FILES = ["openllmetry", "pydantic-ai", "logfire"]

pytestmark = pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")


def recorded() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield a call as it is stored, and the recorded one."""
    for name in FILES:
        for line in (TRAFFIC / f"{name}.jsonl").read_text("utf-8").split("\n"):
            if line and isinstance((call := json.loads(line))["request"], dict):
                request = call["request"]
                stored = {
                    "system_prompt": request.get("system") or request.get("systemInstruction"),
                    "messages": request.get("messages") or request.get("contents"),
                    "input": request.get("input"),
                }
                yield stored | read_response(call["response"] or {}), call


def test_tools_asked_for_are_those_that_recording_finds() -> None:
    """The tool calls of an answer have the names of the field `tools_called`."""
    compared = 0
    for stored, call in recorded():
        answer, *_ = read_answers(stored)
        names = [part.name for part in answer if part.type == "tool_call"]
        assert names == tools_asked_for(stored.get("response_message"))[0], call["id"]
        compared += bool(names)
    assert compared > 200


def test_nearly_every_result_finds_what_was_asked() -> None:
    """A result stands alone only where the request has no call for it."""
    found = Counter[str]()
    for stored, _ in recorded():
        for parts in pair(read_request(stored), *read_answers(stored)):
            for one in parts:
                found["paired"] += len(one.responses)
                found["alone"] += one.part.type == "tool_call_response"
    assert found["paired"] > 300
    assert found["alone"] < 0.05 * found["paired"], found
