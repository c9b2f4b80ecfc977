"""What the garbage collector ends sets no context variable, and changes nothing where it runs."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import closing
from contextvars import ContextVar, copy_context
from types import FrameType
from typing import Any

import pytest

from llm_audit import LLMLogger, audit_context, audited
from llm_audit.context import current_context
from llm_audit.runtime.collecting import is_collecting
from llm_audit.testing import RecordedCalls

seen: list[str | None] = []


def user() -> str | None:
    return current_context().user_id


@audit_context(user_id="inner")
@audited(call_type="STREAM")
def steps() -> Iterator[int]:
    try:
        with audit_context(session_id="s"), LLMLogger.log_call(model="m"):
            yield 1
            yield 2
    finally:
        seen.append(user())


def outer() -> Iterator[int]:
    yield from steps()


def around() -> Iterator[int]:
    for step in steps():  # noqa: UP028 - it is closed by dropping the iterator
        yield step


def block() -> Iterator[int]:
    with audit_context(user_id="a block's"):
        yield 1


def logged() -> Iterator[int]:
    with LLMLogger.log_call(model="m"):
        yield 1


@audited
async def without_loop() -> AsyncIterator[int]:
    with audit_context(session_id="s"):
        yield 1


@audited
async def waits() -> None:
    with audit_context(session_id="s"):
        await Suspended()


async def waits_in_a_block() -> None:
    with audit_context(user_id="a block's"):
        await Suspended()


class Suspended:
    """Waits for ever."""

    def __await__(self) -> Generator[None]:
        yield


def begun(one: Any) -> object:
    """Begin it in a context of its own, as a task would."""
    if isinstance(one, Coroutine):
        copy_context().run(one.send, None)
    elif isinstance(one, AsyncIterator):
        with pytest.raises(StopIteration):
            one.__anext__().send(None)  # type: ignore[attr-defined]
    else:
        next(one)
    return one


KINDS: list[Callable[[], object]] = [
    *(steps, outer, around, block, logged, without_loop, waits, waits_in_a_block)
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_collected_sets_no_context_variable(
    kind: Callable[[], object], llm_audit_records: RecordedCalls
) -> None:
    """Python 3.11 crashes if the collector comes while another is set, and one is set meanwhile."""
    set_here: list[str] = []

    def profile(_: FrameType, event: str, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        if event == "c_call" and isinstance(owner, ContextVar) and function.__name__ != "get":
            set_here.append(owner.name)

    cycle = [begun(kind())]
    cycle.append(cycle)
    with audit_context(user_id="somebody else's"):
        sys.setprofile(profile)
        try:
            del cycle
            gc.collect()
        finally:
            sys.setprofile(None)
        assert user() == "somebody else's"
    assert set_here == []
    assert user() is None
    LLMLogger.end_open_calls(None)
    assert all(call.status == "INCOMPLETE" for call in llm_audit_records)


def test_what_the_app_closes_runs_in_its_context() -> None:
    """By `close`, by leaving a loop, or by dropping it: what follows in it is still inside."""
    seen.clear()
    with closing(steps()) as closed:
        next(closed)
    for _ in around():
        break
    dropped = outer()
    next(dropped)
    del dropped
    assert seen == ["inner"] * 3
    assert user() is None


async def test_a_coroutine_that_is_dropped_changes_nothing_elsewhere() -> None:
    """Its context was that of its task, which is not the one where the last reference goes."""
    loop = asyncio.get_running_loop()
    for kind in (waits, waits_in_a_block):
        with audit_context(user_id="of both"):
            dropped = kind()
            await loop.create_task(asyncio.to_thread(copy_context().run, dropped.send, None))
            del dropped
            assert user() == "of both"
        assert user() is None


def test_the_collector_is_noticed_at_work() -> None:
    """Also by what it does not call itself: what goes with what it takes away."""
    noticed: list[bool] = []

    class Ends:
        def __init__(self) -> None:
            self.me: object = self

        def __del__(self) -> None:
            noticed.append(is_collecting())

    one = Ends()
    one.me = None
    del one
    Ends()
    cycle: list[object] = [Ends()]
    cycle.append(cycle)
    gc.disable()
    try:
        assert not is_collecting()
    finally:
        gc.enable()
    del cycle
    gc.collect()
    assert noticed == [False, True, True]
    assert not is_collecting()
