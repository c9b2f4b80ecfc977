"""`audited`: every call of a function of one's own is a record of ours, whatever kind it is."""

import asyncio
import functools
import gc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

import llm_audit
from llm_audit import LLMLogger, UsageError, audit_context, audited, configure
from llm_audit.context import CallContext, current_context
from llm_audit.decorators import CHARACTERS_MAX, ITEMS_MAX
from llm_audit.settings import changed_settings
from llm_audit.testing import RecordedCall, RecordedCalls


@audited
def search(query: str, /, *more: str, limit: int = 5, **where: Any) -> list[str]:
    """Find orders."""
    return [query, *more, *where][:limit]


@audited(call_type="AGENT", name="assistant", tags=["a"], metadata={"version": 2})
async def answer(question: str) -> str:
    await asyncio.sleep(0)
    found = search(question)
    LLMLogger.complete(LLMLogger.start(model="gpt-4o"), response_message={"content": "yes"})
    return found[0]


@audited(call_type="STREAM")
def words(text: str) -> Generator[str, None, int]:
    yield from (f"{word} " for word in text.split())
    return 7


@audited(call_type="STREAM")
async def awaited_words(text: str) -> AsyncIterator[str]:
    for word in text.split():
        await asyncio.sleep(0)
        search(word)
        yield f"{word} "


class Tools:
    """With methods of every kind."""

    @audited
    def method(self, order: int) -> dict[str, int]:
        """Look up."""
        return {"order": order}

    @audited
    @classmethod
    def outer_class_method(cls, order: int) -> int:
        """Look up."""
        return order

    @classmethod
    @audited
    def class_method(cls, order: int) -> int:
        """Look up."""
        return order

    @staticmethod
    @audited
    def static(order: int) -> int:
        """Look up."""
        return order


def said(call: RecordedCall) -> tuple[object, ...]:
    message = call.response_message or {}
    return call.model, call.call_type, call.status, call.input, message.get("content")


async def test_a_call_of_a_function_is_a_record(llm_audit_records: RecordedCalls) -> None:
    """It has the function's name, the arguments by name, and the result; what it calls is below."""
    assert search("shoes", "boots", limit=1, color="red") == ["shoes"]
    assert await answer("Who?") == "Who?"

    alone, agent, tool, asked = llm_audit_records
    given = {"query": "shoes", "more": ["boots"], "limit": 1, "color": "red"}
    assert said(alone) == ("search", "TOOL_EXECUTION", "SUCCESS", given, ["shoes"])
    assert (alone.provider, alone.response_message) == (
        "function",
        {"role": "tool", "content": ["shoes"]},
    )
    assert alone.estimated_cost is None
    assert said(agent) == ("assistant", "AGENT", "SUCCESS", {"question": "Who?"}, "Who?")
    assert (agent.tags, agent.metadata) == (["a"], {"version": 2})
    assert (agent.response_message or {})["role"] == "assistant"
    assert agent.latency_ms is not None
    for child in (tool, asked):
        assert (child.parent_call_id, child.trace_id) == (agent.id, agent.id)
    assert current_context() == CallContext()


async def test_functions_stay_what_they_were(llm_audit_records: RecordedCalls) -> None:
    """Names, signatures, kinds and methods are as before."""
    assert inspect.iscoroutinefunction(answer)
    assert inspect.isgeneratorfunction(words)
    assert inspect.isasyncgenfunction(awaited_words)
    assert (search.__name__, search.__doc__) == ("search", "Find orders.")
    assert list(inspect.signature(search).parameters) == ["query", "more", "limit", "where"]
    tools = Tools()
    assert tools.method(order=1) == {"order": 1}
    assert [tools.outer_class_method(2), Tools.class_method(3), Tools.static(4)] == [2, 3, 4]
    assert [call.input for call in llm_audit_records] == [{"order": n} for n in (1, 2, 3, 4)]
    names = ["method", "outer_class_method", "class_method", "static"]
    assert [call.model for call in llm_audit_records] == names


async def test_exceptions_fail_it_and_go_on(llm_audit_records: RecordedCalls) -> None:
    """The very exception comes out, and how the call ended is what it means."""
    error = KeyError("missing")

    @audited
    def fails() -> None:
        raise error

    @audited
    async def hangs() -> None:
        await asyncio.get_running_loop().create_future()

    @audited
    def fails_late() -> Iterator[str]:
        yield "so far"
        raise error

    with pytest.raises(KeyError) as raised:
        fails()
    assert raised.value is error
    task = asyncio.create_task(hangs())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hangs(), 0.001)
    with pytest.raises(KeyError):
        list(fails_late())
    with pytest.raises(TypeError):
        search(limit=1)  # type: ignore[call-arg]
    assert llm_audit_records[-1].input == {"limit": 1}
    ends = [(call.model, call.status, call.error_type) for call in llm_audit_records]
    assert ends == [
        ("fails", "ERROR", "KeyError"),
        ("hangs", "CANCELLED", "CancelledError"),
        ("hangs", "CANCELLED", "CancelledError"),
        ("fails_late", "ERROR", "KeyError"),
        ("search", "ERROR", "TypeError"),
    ]
    assert (llm_audit_records[3].response_message or {})["content"] == "so far"


async def test_a_generator_ends_once_with_what_it_yielded(llm_audit_records: RecordedCalls) -> None:
    """Exhausted, left, closed, dropped, or never read: each says what became of it."""
    assert list(words("one two")) == ["one ", "two "]
    assert [word async for word in awaited_words("one two")] == ["one ", "two "]
    for _ in words("left by break"):
        break
    gc.collect()
    closed = words("closed early")
    next(closed)
    closed.close()
    async with aclosing(awaited_words("closed too")) as closing:  # type: ignore[type-var]
        await anext(closing)
    dropped = awaited_words("dropped early")
    await anext(dropped)
    del dropped
    gc.collect()
    await asyncio.sleep(0)  # asyncio closes it
    await asyncio.sleep(0)
    words("never read")
    awaited_words("never read")

    streams = [call for call in llm_audit_records if call.call_type == "STREAM"]
    assert [said(call)[2:] for call in streams] == [
        ("SUCCESS", {"text": "one two"}, "one two "),
        ("SUCCESS", {"text": "one two"}, "one two "),
        ("INCOMPLETE", {"text": "left by break"}, "left "),
        ("INCOMPLETE", {"text": "closed early"}, "closed "),
        ("INCOMPLETE", {"text": "closed too"}, "closed "),
        ("INCOMPLETE", {"text": "dropped early"}, "dropped "),
    ]
    assert {(call.ended_by, call.error_type) for call in streams[2:]} == {("stream_closed", None)}
    assert [(call.response_message or {}).get("returned") for call in streams[:2]] == [7, None]
    children = [call for call in llm_audit_records if call.call_type == "TOOL_EXECUTION"]
    parents = {call.parent_call_id for call in children}
    assert parents == {call.id for call in (streams[1], streams[4], streams[5])}


def test_a_stream_whose_loop_is_gone_ends_as_dropped(llm_audit_records: RecordedCalls) -> None:
    """Nobody can close an asynchronous generator any more; its record still ends."""
    kept = []

    async def begin() -> None:
        kept.append(awaited_words("without end"))
        await anext(kept[0])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    kept.clear()
    gc.collect()
    stream, _ = llm_audit_records
    assert (stream.status, stream.ended_by) == ("INCOMPLETE", "stream_dropped")
    assert said(stream)[4] == "without "


def test_a_stream_that_is_open_at_the_end_has_what_came(llm_audit_records: RecordedCalls) -> None:
    """Whoever ends its call, a task's end or the process's, says what it had yielded."""
    for end, cause in (
        (lambda: LLMLogger.end_open_calls(None), "task_ended"),
        (lambda: llm_audit.shutdown(0), "shutdown"),
    ):
        stream = words("so far and further")
        assert [next(stream), next(stream)] == ["so ", "far "]
        end()
        stream.close()
        call = llm_audit_records[-1]
        assert (call.status, call.ended_by) == ("INCOMPLETE", cause)
        assert said(call)[4] == "so far "


def test_what_is_kept_of_a_long_stream_is_bounded(llm_audit_records: RecordedCalls) -> None:
    """A thousand items, a million characters; how many there were is said."""

    @audited
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    @audited
    def texts(count: int) -> Iterator[str]:
        yield from ("x " * (CHARACTERS_MAX // 4) for _ in range(count))

    assert sum(numbers(ITEMS_MAX + 1)) == sum(range(ITEMS_MAX + 1))
    assert len(list(texts(3))) == 3
    many, long = (call.response_message or {} for call in llm_audit_records)
    assert (len(many["content"]), many["yielded"]) == (ITEMS_MAX, ITEMS_MAX + 1)
    assert (len(long["content"]), long["yielded"]) == (CHARACTERS_MAX, 3)


async def test_what_is_handed_on_ends_with_its_own_end(llm_audit_records: RecordedCalls) -> None:
    """A plain function that returns a coroutine or a generator is over when that is."""

    @audited
    def hands_on() -> Awaitable[str]:
        return answer("Who?")

    @audited
    def hands_on_words() -> Iterator[str]:
        return (word for word in ("one", "two"))

    coroutine = hands_on()
    assert llm_audit_records[0].status == "PENDING"
    assert await coroutine == "Who?"
    assert list(hands_on_words()) == ["one", "two"]
    outer, inner = llm_audit_records[0], llm_audit_records[1]
    assert (outer.status, inner.parent_call_id) == ("SUCCESS", outer.id)
    assert said(llm_audit_records[-1])[4] == "onetwo"


def test_what_a_task_says_by_raising_is_no_failure(llm_audit_records: RecordedCalls) -> None:
    """Celery's Retry, Ignore and Reject, as where they leave a call open."""
    exceptions = pytest.importorskip("celery.exceptions")

    @audited
    def body(error: BaseException) -> None:
        raise error

    for error in (exceptions.Retry(), exceptions.Ignore(), exceptions.Reject()):
        with pytest.raises(type(error)):
            body(error)
    ends = [(call.status, call.ended_by) for call in llm_audit_records]
    assert ends == [
        ("INCOMPLETE", "task_retry"),
        ("INCOMPLETE", "task_ended"),
        ("INCOMPLETE", "task_ended"),
    ]


def test_what_may_be_left_out(llm_audit_records: RecordedCalls) -> None:
    """Arguments and results each by an option; nothing at all where recording is off."""

    @audited(capture_input=False, capture_output=False)
    def quiet(text: str) -> str:
        return text

    @audited(capture_output=False)
    def stream(text: str) -> Iterator[str]:
        yield text

    assert quiet("s") == "s"
    assert list(stream("t")) == ["t"]
    first, second = llm_audit_records
    assert (first.input, first.response_message, first.status) == (None, None, "SUCCESS")
    assert (second.input, second.response_message) == ({"text": "t"}, None)
    with changed_settings(enabled=False):
        assert list(words("not recorded")) == ["not ", "recorded "]
    assert len(llm_audit_records) == 2


def test_odd_functions_are_recorded_too(llm_audit_records: RecordedCalls) -> None:
    """Partials, objects with `__call__`, builtins without a signature, hostile arguments."""

    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError(name)

        __repr__ = __str__ = __eq__ = lambda *_: 1 / 0  # type: ignore[assignment]
        __hash__ = None  # type: ignore[assignment]

    class Adder:
        def __call__(self, value: int) -> int:
            return value

    def takes(value: object, self: object = None) -> object:
        return value or self

    assert audited(functools.partial(takes, 1))() == 1
    assert audited(Adder())(2) == 2
    assert audited(max)(1, 3) == 3  # type: ignore[type-var]
    hostile = Hostile()
    assert audited(takes)(hostile, 5) is hostile
    inputs = [call.input for call in llm_audit_records]
    assert inputs[:3] == [{}, {"value": 2}, {"args": [1, 3]}]
    assert inputs[3]["self"] == 5
    assert [call.model for call in llm_audit_records] == ["takes", "Adder", "max", "takes"]
    assert {call.status for call in llm_audit_records} == {"SUCCESS"}


def test_mistakes_are_told() -> None:
    """A misspelt argument and what is no function; without strict mode both are harmless."""
    given: dict[str, Any] = {"call_typ": "AGENT"}
    configure(strict=True)
    with pytest.raises(UsageError, match="Did you mean call_type"):
        audited(**given)
    with pytest.raises(UsageError, match="class"):
        audited(Tools)
    configure(strict=False)
    decorate: Callable[[Any], Any] = audited(**given)
    assert decorate(Tools) is Tools


async def test_the_context_reaches_it(llm_audit_records: RecordedCalls) -> None:
    """Ids of a context around it, and what its own type is, not the context's."""
    with audit_context(user_id=7, call_type="CLASSIFICATION"):
        await answer("Who?")
    assert {call.user_id for call in llm_audit_records} == {"7"}
    types = [call.call_type for call in llm_audit_records]
    assert types == ["AGENT", "TOOL_EXECUTION", "CLASSIFICATION"]
