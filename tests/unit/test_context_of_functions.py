"""`audit_context` around functions: every call of one is in a context of its own."""

import asyncio
import contextvars
import functools
import gc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from llm_audit import LLMLogger, UsageError, audit_context, configure
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

inside = audit_context(user_id="u", tags=["decorated"])


def user() -> str | None:
    return current_context().user_id


@inside
def plain(value: int, *, more: int = 0) -> tuple[int, str | None]:
    """Add."""
    return value + more, user()


@inside
async def coroutine(value: int) -> tuple[int, str | None]:
    await asyncio.sleep(0)
    return value, user()


@inside
def generator(count: int) -> Generator[str | None, str | None, str]:
    for _ in range(count):
        sent = yield user()
        assert sent in {None, "sent"}
    return "returned"


@inside
async def async_generator(count: int) -> AsyncIterator[str | None]:
    for _ in range(count):
        await asyncio.sleep(0)
        yield user()


class Thing:
    """With methods of every kind."""

    name = "thing"

    @inside
    def method(self) -> tuple[str, str | None]:
        """Say who it is."""
        return self.name, user()

    @inside
    @classmethod
    def class_method(cls) -> tuple[str, str | None]:
        """Say what it is."""
        return cls.__name__, user()

    @classmethod
    @inside
    def inner_class_method(cls) -> tuple[str, str | None]:
        """Say what it is."""
        return cls.__name__, user()

    @inside
    @staticmethod
    def static() -> str | None:
        """Say nothing."""
        return user()

    @inside
    async def __call__(self) -> str | None:
        """Say who asks."""
        return user()


async def test_each_kind_of_function_runs_inside_and_stays_what_it_was() -> None:
    """What is asked of functions has the same answer; nothing is left in force after each."""
    assert plain(1, more=2) == (3, "u")
    assert await coroutine(1) == (1, "u")
    assert list(generator(2)) == ["u", "u"]
    assert [item async for item in async_generator(2)] == ["u", "u"]
    thing = Thing()
    assert (thing.method(), Thing.class_method()) == (("thing", "u"), ("Thing", "u"))
    assert (thing.inner_class_method(), thing.static()) == (("Thing", "u"), "u")
    assert await thing() == "u"
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)
    assert not inspect.iscoroutinefunction(plain)
    assert (plain.__name__, plain.__doc__) == ("plain", "Add.")
    assert list(inspect.signature(plain).parameters) == ["value", "more"]
    assert current_context() == CallContext()


def test_a_generator_leaks_nothing_into_who_consumes_it() -> None:
    """Between its steps the consumer's own context is in force, and blocks of its body wait."""

    @audit_context(user_id="of the function")
    def steps() -> Iterator[tuple[str | None, str | None]]:
        yield user(), current_context().session_id
        with audit_context(session_id="of its block"):
            yield user(), current_context().session_id
            yield user(), current_context().session_id
        yield user(), current_context().session_id

    seen = []
    with audit_context(user_id="consumer's"):
        for step in steps():
            seen.append(step)
            assert (user(), current_context().session_id) == ("consumer's", None)
            with audit_context(session_id="consumer's"):
                assert user() == "consumer's"
    assert [session for _, session in seen] == [None, "of its block", "of its block", None]
    assert {name for name, _ in seen} == {"of the function"}
    assert current_context() == CallContext()


async def test_steps_may_be_taken_anywhere() -> None:
    """Each step in another task or context, or closing there, leaves nothing behind."""
    begun = generator(3)
    for _ in range(2):
        assert contextvars.copy_context().run(next, begun) == "u"
        assert user() is None
    contextvars.copy_context().run(begun.close)
    assert user() is None
    asynchronous = async_generator(3)
    for _ in range(2):
        assert await asyncio.create_task(anext(asynchronous)) == "u"  # type: ignore[arg-type]
        assert user() is None
    with pytest.raises(ZeroDivisionError):
        await asynchronous.athrow(ZeroDivisionError)  # type: ignore[attr-defined]
    left = generator(2)
    next(left)
    del left
    gc.collect()
    assert user() is None


def test_a_generator_keeps_its_protocol() -> None:
    """What is sent and thrown arrives, what is returned comes out, also by `yield from`."""

    def naked() -> Generator[object, object, str]:
        got: object = None
        while got != "end":
            try:
                got = yield got
            except KeyError as error:
                got = ("caught", error.args)
            except GeneratorExit:
                return "left"
        return "done"

    def drive(generator: Generator[object, object, str]) -> list[object]:
        seen: list[object] = [next(generator), generator.send(1)]
        seen.append(generator.throw(KeyError("k")))
        try:
            generator.send("end")
        except StopIteration as over:
            seen.append(over.value)
        return seen

    def outer(make: Callable[[], Generator[object, object, str]]) -> Generator[object, object, str]:
        return (yield from make())

    decorated = inside(naked)
    for make in (decorated, lambda: outer(decorated)):
        assert drive(make()) == drive(naked())
    for one in (naked(), decorated()):
        next(one)
        with pytest.raises(StopIteration) as over:
            one.throw(GeneratorExit)
        assert over.value.value == "left"
    stubborn = inside(stubborn_generator)()
    next(stubborn)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        stubborn.close()


def stubborn_generator() -> Generator[int]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2
            return


async def test_what_is_handed_on_runs_inside_too() -> None:
    """A plain function that returns another's coroutine or generator, and a partial of one."""

    @inside
    def hands_on_coroutine() -> Awaitable[str | None]:
        async def asked() -> str | None:
            await asyncio.sleep(0)
            return user()

        return asked()

    @inside
    def hands_on_generator() -> Iterator[str | None]:
        return (user() for _ in range(2))

    assert await hands_on_coroutine() == "u"
    assert list(hands_on_generator()) == ["u", "u"]
    assert list(inside(functools.partial(generator, 1))()) == ["u"]
    assert await inside(functools.partial(coroutine, 1))() == (1, "u")
    assert user() is None


async def test_one_object_serves_many_at_once() -> None:
    """A block that is kept and entered by several tasks, or twice, is left by each for itself."""
    block = audit_context(session_id="s")
    both = asyncio.Barrier(2)

    async def work() -> list[str | None]:
        with block:
            await both.wait()
            with block:
                await both.wait()
        seen = [current_context().session_id]
        await both.wait()
        return seen

    assert await asyncio.gather(work(), work()) == [[None], [None]]
    assert current_context() == CallContext()


def test_what_is_no_function_stays_as_it_is() -> None:
    """A class or anything else that is decorated is a mistake."""
    configure(strict=True)
    with pytest.raises(UsageError, match="class"):
        inside(Thing)
    configure(strict=False)
    anything: Any = 7
    assert inside(Thing) is Thing
    assert inside(anything) == 7


def test_type_and_review_reach_the_calls(llm_audit_records: RecordedCalls) -> None:
    """Where a call does not say itself what it is for, and about which review."""
    with audit_context(call_type="sentiment_analysis", review_id=7):
        LLMLogger.start(model="inherits")
        LLMLogger.start(model="says", call_type="CHAT", review_id="8")
        with audit_context(call_type="PRODUCT_GAP"):
            LLMLogger.start(model="inner")
    LLMLogger.start(model="outside")
    seen = {call.model: (call.call_type, call.review_id) for call in llm_audit_records}
    assert seen == {
        "inherits": ("SENTIMENT_ANALYSIS", "7"),
        "says": ("CHAT", "8"),
        "inner": ("PRODUCT_GAP", "7"),
        "outside": ("CHAT", None),
    }


def test_a_type_that_is_none_is_a_mistake() -> None:
    """Strict mode raises it; otherwise as much as fits is the type."""
    for given, kept in (("x" * 65, "X" * 64), (7, "OTHER"), ("", "OTHER")):
        configure(strict=True)
        with pytest.raises(UsageError, match="call_type"), audit_context(call_type=given):
            pass
        configure(strict=False)
        with audit_context(call_type=given) as context:
            assert context.call_type == kept, given
