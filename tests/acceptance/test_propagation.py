"""What the producer's context says arrives in every task that follows from it."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group
from deployment import PREFORK, Deployment
from waiting import PATIENCE, ended_calls, until

import celery_hooks
from celery_hooks.propagation import HEADER, MAX_BYTES, dump
from llm_audit import audit_context
from llm_audit.context import current_context

IDS = {"session_id": "s", "user_id": "7", "company_id": "c", "parent_call_id": "p"}
LABELS = {"tags": ["beta", "ü"], "metadata": {"plan": {"name": "free", "seats": 3}}}

on_prefork = pytest.mark.parametrize("pool", ["prefork"], indirect=True)

Calls = list[dict[str, Any]]
TraceOf = Callable[[str, int], Calls]


@pytest.fixture
def trace_id() -> str:
    """Name a trace that no other test has."""
    return f"request-{uuid.uuid4()}"


@pytest.fixture
def trace_of(deployment: Deployment) -> TraceOf:
    """Wait until a trace has so many calls that have ended, and return them, the oldest first."""

    def wait(trace_id: str, count: int) -> Calls:
        return ended_calls(deployment.calls, {"trace_id": trace_id}, count)

    return wait


@pytest.fixture
def travelling(tasks: Any) -> Any:
    """Import the tasks that pass a context on."""
    assert tasks.app
    import travelling_tasks

    return travelling_tasks


# Each publishes in its way, given the tasks; with how many calls follow from it.
WAYS: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "delay": (lambda tasks, _: tasks.analyze.delay("x"), 1),
    "apply_async": (lambda tasks, _: tasks.analyze.apply_async(("x",), countdown=0.1), 1),
    "send_task": (lambda tasks, _: tasks.app.send_task("audited_tasks.analyze", ("x",)), 1),
    "retry": (lambda tasks, _: tasks.retry_once.delay(), 2),
    "autoretry": (lambda _, travelling: travelling.retried_by_itself.delay("x"), 2),
    "redelivery": (lambda _, travelling: travelling.delivered_twice.delay("x"), 2),
    "chain": (lambda tasks, _: chain(tasks.analyze.s("x"), tasks.then.s("y"))(), 2),
    "group": (lambda tasks, _: group(tasks.analyze.s(n) for n in "abc")(), 3),
    "chord": (lambda tasks, _: chord([tasks.analyze.s(n) for n in "ab"])(tasks.join.s()), 3),
    "nested canvases": (
        lambda tasks, _: chain(
            tasks.analyze.s("x"),
            group(
                chain(tasks.then.s("a"), tasks.then.s("b")),
                chord([tasks.then.s("c"), tasks.then.s("d")], tasks.join.s()),
            ),
            tasks.join.s(),
        )(),
        7,
    ),
    "link": (lambda tasks, _: tasks.analyze.apply_async(("x",), link=tasks.then.s("y")), 2),
    "link_error": (
        lambda tasks, travelling: travelling.failing.apply_async(
            ("x",), link_error=tasks.analyze.s()
        ),
        2,
    ),
    "link_error of a lost child": (
        lambda tasks, _: tasks.die_in_call.apply_async(link_error=tasks.analyze.s()),
        2,
    ),
    "replace": (lambda _, travelling: travelling.replaced.delay("x"), 2),
}


@pytest.mark.core
@pytest.mark.parametrize("way", WAYS)
@on_prefork
@pytest.mark.usefixtures("pool")
def test_the_context_arrives(
    tasks: Any, travelling: Any, trace_of: TraceOf, trace_id: str, way: str
) -> None:
    """However a task is published, its calls carry what the producer set."""
    publish, count = WAYS[way]
    with audit_context(trace_id=trace_id, **IDS, **LABELS):
        publish(tasks, travelling)

    for call in trace_of(trace_id, count):
        assert {name: call.get(name) for name in (*IDS, *LABELS)} == IDS | LABELS


@pytest.mark.core
@on_prefork
@pytest.mark.usefixtures("pool")
def test_without_a_context_nested_canvases_are_one_trace(tasks: Any, trace_of: TraceOf) -> None:
    """Chords in groups, in chains and in chords: all is in the trace of the outermost group."""

    def of_chords() -> chord:
        return chord([tasks.analyze.s(n) for n in "ab"], tasks.join.s())

    group_id = group(of_chords(), chain(of_chords(), tasks.then.s("c")), tasks.analyze.s("d"))().id

    assert len(trace_of(group_id, 8)) == 8


@on_prefork
@pytest.mark.usefixtures("pool")
def test_without_a_context_what_follows_a_lost_child_is_in_its_trace(
    tasks: Any, trace_of: TraceOf
) -> None:
    """The main process, which publishes the errback, knows the trace without being told."""
    result = tasks.die_in_call.apply_async(link_error=tasks.analyze.s())

    lost, errback = trace_of(result.id, 2)
    assert lost["task_id"] == result.id
    assert errback["task"]["parent_id"] == result.id


@on_prefork
@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("protocol", [1, 2])
def test_every_protocol_carries_it(
    tasks: Any, trace_of: TraceOf, trace_id: str, protocol: int
) -> None:
    """Producers that still speak the first message protocol are heard as well."""
    tasks.app.conf.task_protocol = protocol
    with audit_context(trace_id=trace_id, **IDS, **LABELS):
        result = tasks.analyze.delay("x")

    (call,) = trace_of(trace_id, 1)
    assert (call["task_id"], call["user_id"], call["tags"]) == (result.id, "7", ["beta", "ü"])


@on_prefork
@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("protocol", [1, 2])
def test_a_producer_without_llm_audit(tasks: Any, trace_of: TraceOf, protocol: int) -> None:
    """A message that carries nothing begins a trace of its own."""
    celery_hooks.uninstall()
    tasks.app.conf.task_protocol = protocol
    with audit_context(trace_id="unheard of", **IDS):
        result = tasks.analyze.delay("x")

    (call,) = trace_of(result.id, 1)
    assert call["task_id"] == result.id
    assert not {*IDS, *LABELS} & set(call)


@on_prefork
@pytest.mark.usefixtures("pool")
def test_the_users_own_header_wins(tasks: Any, trace_of: TraceOf, trace_id: str) -> None:
    """Who sets the header by hand knows better than the context."""
    with audit_context(trace_id="another", user_id="another"):
        tasks.analyze.apply_async(("x",), headers={HEADER: json.dumps({"trace_id": trace_id})})

    (call,) = trace_of(trace_id, 1)
    assert "user_id" not in call


@on_prefork
@pytest.mark.usefixtures("pool")
def test_a_context_too_large_is_cut(tasks: Any, trace_of: TraceOf, trace_id: str) -> None:
    """What does not fit is left out, the message goes out, and the calls say what is missing."""

    class Unserialisable:
        def __str__(self) -> str:
            raise RuntimeError("not even as text")

    metadata = {"what": Unserialisable()}
    with audit_context(
        trace_id=trace_id, user_id="7" * MAX_BYTES, tags=["beta"], metadata=metadata
    ):
        tasks.analyze.delay("x")

    until(lambda: "encoding_notes" in trace_of(trace_id, 1)[0])  # a moment after the call
    (call,) = trace_of(trace_id, 1)
    assert call["tags"] == ["beta"]
    assert "metadata" not in call
    [note] = call["encoding_notes"]
    assert note.startswith(f"{HEADER}: user_id, metadata left out")


@on_prefork
@pytest.mark.usefixtures("pool")
def test_the_header_does_not_grow(tasks: Any, travelling: Any, trace_id: str) -> None:
    """After 50 retries the message says what it said at first, and nothing more."""
    assert tasks.app
    with audit_context(trace_id=trace_id, **IDS, **LABELS):
        sent = dump(current_context())
        seen = travelling.retried_often.delay([]).get(timeout=2 * PATIENCE)

    assert seen == [sent] * 51


def test_beat_inherits_nothing(own_queue: Deployment) -> None:
    """A scheduled task begins a trace of its own each time."""
    text = f"beat {uuid.uuid4()}"
    scheduling = own_queue.with_settings(BEAT_TEXT=text)
    schedule = str(own_queue.folder / uuid.uuid4().hex)
    made = {"messages.content": {"$regex": text}}
    with scheduling.worker(*PREFORK, "--beat", "--schedule", schedule):
        until(lambda: own_queue.calls.count_documents({**made, "status": "SUCCESS"}) >= 2)

    calls = list(own_queue.calls.find(made))
    assert len({call["trace_id"] for call in calls}) == len(calls)
    assert all(call["trace_id"] == call["task_id"] for call in calls)
    assert not any({*IDS, *LABELS} & set(call) for call in calls)


@pytest.mark.parametrize("order", ["before", "after"])
def test_other_tools_beside_us(
    own_queue: Deployment, travelling: Any, trace_of: TraceOf, trace_id: str, order: str
) -> None:
    """Whoever else puts headers into the messages, first or last, ours arrives, and theirs too."""
    beside = own_queue.with_settings(OTHER_TOOLS=order)
    with beside.worker(*PREFORK):
        published = travelling.publish_all.delay(trace_id, IDS | LABELS)
        arrived, seen = (
            travelling.app.AsyncResult(task_id).get(timeout=PATIENCE)
            for task_id in published.get(timeout=PATIENCE)
        )
        calls = trace_of(trace_id, 11)
        coroutine = travelling.app.send_task("coroutine_tasks.spans_async")
        assert coroutine.get(timeout=PATIENCE) == ["queue.process", True]

    assert arrived == [HEADER, "sentry-trace", "traceparent"]
    assert len(seen) == 51
    assert len(set(seen)) == 1
    for call in calls:
        assert {name: call.get(name) for name in (*IDS, *LABELS)} == IDS | LABELS
