"""Calls made in Celery tasks carry the task, and end with a cause, whatever ends the task."""

import os
from typing import Any

import pytest
from celery import chain, group
from deployment import POOLS, PREFORK_BY_AGENT, CallsOf, Deployment
from waiting import PATIENCE

import llm_audit
from llm_audit import audit_context
from llm_audit.context import current_context

pytestmark = pytest.mark.core
alive = pytest.mark.usefixtures("pool")
alive_either_way = pytest.mark.parametrize("pool", [*POOLS, PREFORK_BY_AGENT], indirect=True)


@alive
@alive_either_way
def test_a_call_carries_its_task(tasks: Any, deployment: Deployment, calls_of: CallsOf) -> None:
    """A call made in a task names the task, its run and its worker without a line of user code."""
    result = tasks.analyze.delay("fine")
    call_id = result.get(timeout=PATIENCE)
    (call,) = calls_of(1, result.id)

    task = call["task"]
    assert call["_id"] == call_id
    assert call["status"] == "SUCCESS"
    assert call["trace_id"] == result.id
    assert task["name"] == "audited_tasks.analyze"
    assert task["root_id"] == result.id
    assert task["retries"] == 0
    assert task["queue"] == deployment.settings["QUEUE"]
    assert task["worker"].startswith("worker-")
    assert task["pid"] == call["pid"] != os.getpid()
    assert task["attempt_id"]
    assert task["eager"] is False


@alive
def test_the_producers_context_arrives_and_does_not_leak(tasks: Any, calls_of: CallsOf) -> None:
    """What the producer set arrives in the worker, and the tasks after it start with nothing."""
    with audit_context(trace_id="request-1", user_id=7, tags=["beta"], metadata={"plan": "free"}):
        tagged = tasks.analyze.delay("tagged")
    plain = [tasks.analyze.delay("plain") for _ in range(4)]
    (call,) = calls_of(1, tagged.id)
    others = calls_of(4, *(result.id for result in plain))

    assert call["trace_id"] == "request-1"
    assert call["user_id"] == "7"
    assert call["tags"] == ["beta"]
    assert call["metadata"] == {"plan": "free"}
    for other in others:
        assert other["trace_id"] == other["task_id"]
        assert not {"user_id", "tags", "metadata"} & set(other)


@alive
def test_a_chain_is_one_trace(tasks: Any, calls_of: CallsOf) -> None:
    """The calls of the tasks of a chain share a trace."""
    last = chain(tasks.analyze.s("one"), tasks.then.s("two"))()
    calls = calls_of(2, last.id, last.parent.id)

    assert len({call["trace_id"] for call in calls}) == 1


@alive
def test_a_group_is_one_trace(tasks: Any, calls_of: CallsOf) -> None:
    """The calls of the members of a group share a trace."""
    members = group(tasks.analyze.s(str(n)) for n in range(4))()
    calls = calls_of(4, *(result.id for result in members))

    assert len({call["trace_id"] for call in calls}) == 1


@alive
def test_a_chord_is_one_trace(tasks: Any, calls_of: CallsOf) -> None:
    """The calls of a chord's header and body share a trace."""
    body = (group(tasks.analyze.s(str(n)) for n in range(3)) | tasks.join.s())()
    calls = calls_of(4, body.id, *(result.id for result in body.parent))

    assert len({call["trace_id"] for call in calls}) == 1


@alive
def test_a_subtask_is_a_child_of_the_call_that_caused_it(tasks: Any, calls_of: CallsOf) -> None:
    """A task published inside a call continues its trace and names it as parent."""
    result = tasks.analyze_in_subtask.delay("x")
    outer_id, subtask_id = result.get(timeout=PATIENCE)
    (outer,) = calls_of(1, result.id)
    (inner,) = calls_of(1, subtask_id)

    assert inner["parent_call_id"] == outer["_id"] == outer_id
    assert inner["trace_id"] == outer["trace_id"]


@alive
def test_a_returning_task_ends_the_open_call(tasks: Any, calls_of: CallsOf) -> None:
    """A call left open by a task that returns is INCOMPLETE."""
    result = tasks.leave_open.delay()
    result.get(timeout=PATIENCE)
    (call,) = calls_of(1, result.id)

    assert (call["status"], call["ended_by"]) == ("INCOMPLETE", "task_ended")


@alive
@alive_either_way
def test_a_retry_is_another_attempt_of_the_same_task(tasks: Any, calls_of: CallsOf) -> None:
    """A retried task has its calls under one task_id and one trace, each with its attempt."""
    result = tasks.retry_once.delay()
    result.get(timeout=PATIENCE)
    first, second = calls_of(2, result.id)

    assert first["trace_id"] == second["trace_id"]
    assert (first["task"]["retries"], second["task"]["retries"]) == (0, 1)
    assert first["task"]["attempt_id"] != second["task"]["attempt_id"]


def test_eager_leaves_the_callers_context(tasks: Any, deployment: Deployment) -> None:
    """A task applied in place inherits the caller's context and leaves it as it was."""
    with audit_context(trace_id="request-2", user_id="u"):
        before = current_context()
        call_id = tasks.analyze.apply(args=("here",)).get()
        assert current_context() is before
    assert llm_audit.flush(PATIENCE)
    call = deployment.calls.find_one({"_id": call_id})

    assert call is not None
    assert call["trace_id"] == "request-2"
    assert call["user_id"] == "u"
    assert call["task"]["eager"] is True
    assert call["pid"] == os.getpid()
