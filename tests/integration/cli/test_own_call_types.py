"""A call type of a user's own, from the recording to every way of asking for it."""

import json
from collections.abc import Callable
from typing import Any

from waiting import Calls, Recording, arrived

from llm_audit import LLMCallTypeEnum, LLMLogger, pipelines

Shell = Callable[..., Any]


def test_it_is_found_and_summed_up(recording: Recording, calls: Calls, shell: Shell) -> None:
    """Filters, sums and the command line take it in any case, and show it as it is stored."""
    recording()
    call_id = LLMLogger.start(call_type="product_gap", model="m", messages=[])
    LLMLogger.complete(call_id)
    LLMLogger.complete(LLMLogger.start(call_type="CHAT", model="m", messages=[]))
    assert arrived(calls, call_id)["call_type"] == "PRODUCT_GAP"

    for filters in ("product_gap", LLMCallTypeEnum("PRODUCT_GAP"), ["PRODUCT_GAP", "RAG_QUERY"]):
        [found] = calls.aggregate(pipelines.failure_summary(call_type=filters))
        assert found["calls"] == 1
    [line] = shell("calls", "--type", "product_gap", "--json").lines
    assert json.loads(line)["call_type"] == "PRODUCT_GAP"
    sums = shell("costs", "--by", "call_type", "--json").lines
    assert sorted(json.loads(line)["group"] for line in sums) == ["CHAT", "PRODUCT_GAP"]
    for words in (("show", call_id), ("trace", call_id), ("export", "--type", "PRODUCT_GAP")):
        assert "PRODUCT_GAP" in shell(*words).output


def test_a_status_of_a_later_version_is_read(calls: Calls, shell: Shell) -> None:
    """What only a later version knows is shown as it is."""
    calls.insert_one({"_id": "1", "status": "PAUSED", "trace_id": "t", "model": "m"})
    for words in (("calls",), ("show", "1"), ("trace", "t")):
        ended = shell(*words)
        assert (ended.code, ended.errors) == (0, "")
        assert "PAUSED" in ended.output
