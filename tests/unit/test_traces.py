"""Which trace a call belongs to, who its parent is, and what else it inherits."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

import llm_audit
from llm_audit import LLMLogger, audit_context
from llm_audit.recorder.open_calls import forget_open_calls
from llm_audit.testing import RecordedCall, RecordedCalls


def start(**given: Any) -> str:
    return LLMLogger.start(model="m", messages=[], **given)


def recorded(calls: RecordedCalls, *call_ids: str) -> list[RecordedCall]:
    """Return calls in this order."""
    found = {call.id: call for call in calls}
    return [found[call_id] for call_id in call_ids]


def test_a_call_alone_is_a_trace_of_its_own(llm_audit_records: RecordedCalls) -> None:
    """Two calls that nothing joins are two traces, each named after its call."""
    one, other = recorded(llm_audit_records, start(), start())
    assert one.trace_id == one.id
    assert other.trace_id == other.id
    assert one.parent_call_id is None


@pytest.mark.parametrize("ended", [False, True])
def test_a_follow_up_is_one_trace_with_its_parent(
    llm_audit_records: RecordedCalls, *, ended: bool
) -> None:
    """A call that names its parent, running or ended, continues the parent's trace."""
    parent_id = start(trace_id="request-1")
    if ended:
        LLMLogger.complete(parent_id)
    parent, child = recorded(llm_audit_records, parent_id, start(parent_call_id=parent_id))
    assert child.parent_call_id == parent.id
    assert child.trace_id == parent.trace_id == "request-1"


def test_the_parent_may_be_of_another_process(llm_audit_records: RecordedCalls) -> None:
    """A call whose parent began a trace in another process is in that trace all the same."""
    parent_id = start()
    forget_open_calls()
    parent, child = recorded(llm_audit_records, parent_id, start(parent_call_id=str(parent_id)))
    assert child.trace_id == parent.trace_id


def test_a_given_trace_counts_most(llm_audit_records: RecordedCalls) -> None:
    """Explicit, then the context's, then the parent's: the first that is there is the trace."""
    parent_id = start(trace_id="parent's")
    with audit_context(trace_id="context's"):
        explicit = start(trace_id="given", parent_call_id=parent_id)
        inherited = start(parent_call_id=parent_id)
    traces = [call.trace_id for call in recorded(llm_audit_records, explicit, inherited)]
    assert traces == ["given", "context's"]


def test_calls_in_a_block_are_children(llm_audit_records: RecordedCalls) -> None:
    """Calls made inside log_call name it as parent and share its trace; those after do not."""
    with LLMLogger.log_call(model="m", messages=[]) as outer_id:
        with LLMLogger.log_call(model="m", messages=[]) as middle_id:
            inner_id = start()
        sibling_id = start()
    outer, middle, inner, sibling, after = recorded(
        llm_audit_records, outer_id, middle_id, inner_id, sibling_id, start()
    )
    assert middle.parent_call_id == sibling.parent_call_id == outer.id
    assert inner.parent_call_id == middle.id
    assert {call.trace_id for call in (outer, middle, inner, sibling)} == {outer.id}
    assert after.trace_id == after.id


async def test_concurrent_blocks_do_not_mix(llm_audit_records: RecordedCalls) -> None:
    """Each of two concurrent blocks has its own children."""

    async def one_block(barrier: asyncio.Barrier) -> tuple[str, str]:
        async with LLMLogger.log_call(model="m", messages=[]) as outer_id:
            await barrier.wait()
            return outer_id, await LLMLogger.start(model="m", messages=[])

    barrier = asyncio.Barrier(2)
    pairs = await asyncio.gather(one_block(barrier), one_block(barrier))
    for outer_id, inner_id in pairs:
        (inner,) = recorded(llm_audit_records, inner_id)
        assert inner.parent_call_id == inner.trace_id == outer_id


def test_an_opentelemetry_trace_is_continued(llm_audit_records: RecordedCalls) -> None:
    """Under an active span and nothing nearer, the call is in the span's trace."""
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(
        trace.SpanContext(0x0123456789ABCDEF0123456789ABCDEF, 1, is_remote=False)
    )
    with trace.use_span(span):
        in_span = start()
        in_context = start(trace_id="nearer")
    one, other, outside = recorded(llm_audit_records, in_span, in_context, start())
    assert one.trace_id == "0123456789abcdef0123456789abcdef"
    assert other.trace_id == "nearer"
    assert outside.trace_id == outside.id


def test_everything_else_is_inherited(llm_audit_records: RecordedCalls) -> None:
    """Ids come from the context unless given, tags unite, metadata merge, ids become str."""
    user, company = uuid4(), uuid4()
    with audit_context(
        session_id="s", user_id=user, company_id=7, tags=["a"], metadata={"x": 1, "y": 1}
    ):
        call_id = start(
            company_id=company, review_id=9, tags=["b", "a"], metadata={"y": 2}, task_id="t"
        )
    (call,) = recorded(llm_audit_records, call_id)
    assert (call.session_id, call.user_id) == ("s", str(user))
    assert (call.company_id, call.review_id, call.task_id) == (str(company), "9", "t")
    assert call.tags == ["a", "b"]
    assert call.metadata == {"x": 1, "y": 2}


def test_the_origin_is_recorded(llm_audit_records: RecordedCalls) -> None:
    """A call says which process made it, and which service in which environment."""
    llm_audit.configure(environment="test", service="billing")
    one, other = recorded(llm_audit_records, start(), start())
    assert (one.environment, one.service) == ("test", "billing")
    assert one.host
    assert one.process_nonce == other.process_nonce
