"""Which trace a call belongs to, who its parent is, and what else it inherits."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

import llm_audit
from llm_audit import LLMLogger, audit_context, carry_context
from llm_audit.recorder.process import open_calls
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
    open_calls().clear()
    parent, child = recorded(llm_audit_records, parent_id, start(parent_call_id=str(parent_id)))
    assert child.trace_id == parent.trace_id


def test_the_nearest_trace_counts(llm_audit_records: RecordedCalls) -> None:
    """Given, named by the context, the parent's, OpenTelemetry's, shared in the context, its own.

    The first of these that is there is the trace, in every combination.
    """
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 1, is_remote=False))
    parent_id = start(trace_id="parent's")
    expected, call_ids = [], []
    for given, named, has_parent, traced, shared in product([False, True], repeat=5):
        with ExitStack() as stack:
            first_id = None
            if shared:
                stack.enter_context(audit_context(user_id="u"))
                first_id = str(start())
            if named:
                stack.enter_context(audit_context(trace_id="context's"))
            if traced:
                stack.enter_context(trace.use_span(span))
            call_id = start(
                trace_id="given" if given else None,
                parent_call_id=parent_id if has_parent else None,
            )
        there = [
            *(["given"] if given else []),
            *(["context's"] if named else []),
            *(["parent's"] if has_parent else []),
            *([f"{0xABC:032x}"] if traced else []),
            *([first_id] if first_id else []),
            str(call_id),
        ]
        call_ids.append(call_id)
        expected.append(there[0])
    assert [call.trace_id for call in recorded(llm_audit_records, *call_ids)] == expected


def traces(calls: RecordedCalls, *call_ids: str) -> list[str | None]:
    return [call.trace_id for call in recorded(calls, *call_ids)]


def test_a_context_is_one_trace(llm_audit_records: RecordedCalls) -> None:
    """Calls in one context share a trace, named after the first; nested ones stay in it."""
    with audit_context(user_id="u"):
        first = start()
        with audit_context(session_id="s"), LLMLogger.log_call(model="m", messages=[]) as block:
            inner = start()
        last = start()
    with audit_context(user_id="u"):
        another = start()
    assert traces(llm_audit_records, first, block, inner, last) == [first] * 4
    assert traces(llm_audit_records, another, after := start()) == [another, after]


def test_a_context_in_a_block_is_in_the_trace_of_the_block(
    llm_audit_records: RecordedCalls,
) -> None:
    """What log_call has begun goes on in the contexts inside, whether they share one or not."""
    with LLMLogger.log_call(model="m", messages=[]) as block:
        with audit_context(user_id="u"):
            inside = start()
        with audit_context(one_trace=False):
            apart = start()
    assert traces(llm_audit_records, block, inside, apart) == [block] * 3


def test_a_backfill_has_a_trace_for_each_call(llm_audit_records: RecordedCalls) -> None:
    """With one_trace=False calls share none, until a context inside is one or names one."""
    with audit_context(tags=["backfill"], one_trace=False):
        one, other = start(), start()
        with audit_context(user_id="u"):
            together = start(), start()
    with audit_context(trace_id="named", one_trace=False):
        named = start()
    with audit_context(user_id="u"):
        outer = start()
        with audit_context(one_trace=False):
            alone = start()
    assert traces(llm_audit_records, one, other, alone) == [one, other, alone]
    assert traces(llm_audit_records, *together) == [together[0]] * 2
    assert traces(llm_audit_records, named, outer) == ["named", outer]


async def test_whoever_inherits_a_context_shares_its_trace(
    llm_audit_records: RecordedCalls,
) -> None:
    """Threads and asyncio tasks that race for the first call of a context agree on its trace."""
    barrier = threading.Barrier(8)

    def race() -> str:
        barrier.wait()
        return start()

    async def work() -> str:
        return start()

    with audit_context(user_id="u"), ThreadPoolExecutor(8) as executor:
        jobs = [executor.submit(carry_context(race)) for _ in range(8)]
        call_ids = [job.result() for job in jobs]
        call_ids += await asyncio.gather(work(), work())
    (trace_id,) = set(traces(llm_audit_records, *call_ids))
    assert trace_id in call_ids


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
