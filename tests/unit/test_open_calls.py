"""The table of calls that this process has started and not yet ended."""

import pytest

from llm_audit.recorder import open_calls as table
from llm_audit.recorder.open_calls import OpenCall, OpenCalls


def a_call(attempt_id: str | None = None) -> OpenCall:
    return OpenCall(0, 0, "openai", "gpt-4o", attempt_id)


def test_a_call_ends_once() -> None:
    """Only the first to end a call gets it."""
    calls = OpenCalls()
    call = a_call()
    calls.begin("a", call, "trace")

    assert calls.get("a") is call
    assert calls.end("a") is call
    assert calls.end("a") is None
    assert calls.get("a") is None


def test_the_trace_outlives_the_call() -> None:
    """A call that has ended is still known as a parent."""
    calls = OpenCalls()
    calls.begin("a", a_call(), "trace")
    calls.end("a")

    assert calls.trace_of("a") == "trace"
    assert calls.trace_of("b") is None


def test_open_calls_are_found_by_their_attempt() -> None:
    """An attempt of a task finds its own open calls; without one, all are found."""
    calls = OpenCalls()
    calls.begin("a", a_call("one"), "t")
    calls.begin("b", a_call("two"), "t")
    calls.begin("c", a_call(), "t")
    calls.begin("d", a_call("one"), "t")
    calls.end("d")

    assert calls.unended("one") == ["a"]
    assert calls.unended(None) == ["a", "b", "c"]


def test_an_unfinished_call_is_not_ended_again_but_may_still_finish() -> None:
    """A call ended without a real outcome is left out, and its owner may still give one."""
    calls = OpenCalls()
    call = a_call()
    calls.begin("a", call, "t")

    assert calls.end_unfinished("a") is call
    assert calls.unended(None) == []
    assert calls.end("a") == call._replace(unfinished=True)
    assert calls.end_unfinished("a") is None


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest calls and traces are forgotten first."""
    monkeypatch.setattr(table, "OPEN_MAX", 2)
    monkeypatch.setattr(table, "TRACES_MAX", 3)
    calls = OpenCalls()
    for name in "abcd":
        calls.begin(name, a_call(), name)

    assert calls.unended(None) == ["c", "d"]
    assert [calls.trace_of(name) for name in "abcd"] == [None, "b", "c", "d"]
