"""The table of calls that this process has started."""

import pytest

from llm_audit.recorder import open_calls as table
from llm_audit.recorder.open_calls import OpenCall, OpenCalls


def begin(calls: OpenCalls, call_id: str, attempt_id: str | None = None) -> OpenCall:
    call = OpenCall(0, 0, "openai", "gpt-4o", attempt_id, f"trace of {call_id}")
    calls.begin(call_id, call)
    return call


def test_a_call_ends_once() -> None:
    """Only the first to end a call gets it; it counts as running until its end is recorded."""
    calls = OpenCalls()
    call = begin(calls, "a")

    assert calls.get("a") is call
    assert calls.take("a", call, "fields")
    assert not calls.take("a", call, "fields")
    assert (call.over, calls.unended(None), calls.ids()) == (True, [], {"a"})
    call.recorded = True
    assert not calls.take("a", call, "fields")
    assert calls.ids() == set()


def test_the_trace_outlives_the_call() -> None:
    """A call that has ended is still known as a parent."""
    calls = OpenCalls()
    calls.take("a", begin(calls, "a"), "fields")

    assert calls.trace_of("a") == "trace of a"
    assert calls.trace_of("b") is None


def test_open_calls_are_found_by_their_attempt() -> None:
    """An attempt of a task finds its own open calls; without one, all are found."""
    calls = OpenCalls()
    begin(calls, "a", "one")
    begin(calls, "b", "two")
    begin(calls, "c")
    calls.take("d", begin(calls, "d", "one"), "fields")

    assert calls.unended("one") == ["a"]
    assert calls.unended(None) == ["a", "b", "c"]


def test_an_unfinished_call_is_not_ended_again_but_may_still_finish() -> None:
    """A call ended without a real outcome is left out, and its owner may still give one."""
    calls = OpenCalls()
    call = begin(calls, "a")

    assert calls.give_up("a") is call
    assert (call.over, calls.unended(None), calls.ids()) == (False, [], set())
    assert calls.take("a", call, "fields")
    assert calls.give_up("a") is None


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest calls are forgotten first, and of those that have ended only a few are kept."""
    monkeypatch.setattr(table, "OPEN_MAX", 5)
    monkeypatch.setattr(table, "ENDED_MAX", 2)
    calls = OpenCalls()
    for name in "abc":
        calls.take(name, begin(calls, name), "fields")
    begin(calls, "d")
    calls.give_up("d")
    assert [name for name in "abcd" if calls.get(name)] == ["c", "d"]

    for name in "efgh":
        begin(calls, name)
    assert [name for name in "abcdefgh" if calls.get(name)] == ["d", "e", "f", "g", "h"]
