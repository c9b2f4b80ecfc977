"""What stands for frameworks' steps and models, without any of them."""

import asyncio
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx2
import pytest

import llm_audit
from llm_audit import LLMLogger, audit_context
from llm_audit.call import LLMCallTypeEnum
from llm_audit.capture.frameworks.steps import Asking, Step, StepAnswer, hooked, start
from llm_audit.capture.patches import Hook, put_on
from llm_audit.context import NOWHERE, current_context
from llm_audit.testing import RecordedCalls

URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
NAME = "framework"


class GraphBubbleUp(Exception):  # noqa: N818  (LangGraph's name)
    """Stands for LangGraph's."""


class Local(Asking):
    """A model that may be of this process."""

    def __init__(self) -> None:
        super().__init__(lambda: {"tags": ["beta"]})

    def returned(self, value: object) -> None:
        """Record what no wire has seen."""
        if not self.is_sent:
            call_id = self.record(NAME, model="local", tags=["beta"])
            LLMLogger.complete(call_id, response_message={"content": value})


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    """Record by themselves whatever calls a test makes."""
    llm_audit.instrument()
    yield
    llm_audit.uninstrument()


def ask() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"choices": []}))
    with httpx2.Client(transport=transport) as client:
        client.post(URL, json=BODY)


def past_this_millisecond() -> None:
    """Wait until ids begin with another time."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass


def test_a_model_is_recorded_by_the_wire_or_by_its_framework(
    llm_audit_records: RecordedCalls,
) -> None:
    """Never by both; also where models ask models, or ask twice: then it is one trace."""
    asking = hooked(lambda _, __: Local())
    hooked_ask, hooked_local = asking(ask), asking(lambda: "here")
    for work in (hooked_ask, hooked_local, asking(hooked_local), asking(lambda: [ask(), ask()])):
        work()
        past_this_millisecond()  # in one, what is told afterwards has no order
    calls = [*llm_audit_records]
    assert [call.captured_by for call in calls] == ["httpx2", NAME, NAME, "httpx2", "httpx2"]
    assert {tuple(call.tags) for call in calls} == {("beta",)}
    assert len({call.trace_id for call in calls}) == 4
    assert calls[3].trace_id == calls[4].trace_id
    assert calls[1].latency_ms is not None
    asked = Local()
    assert asked.context().shared is asked.context().shared  # whichever threads ask
    with audit_context(trace_id="mine"):
        hooked_ask()
    assert llm_audit_records[-1].trace_id == "mine"
    assert current_context() == NOWHERE


def test_a_step_that_stops_to_ask_is_paused(llm_audit_records: RecordedCalls) -> None:
    """Sync and async, by LangGraph's exception; any other fails it."""

    def step(_: Any, __: Any) -> Step:
        call_id = start(NAME, LLMCallTypeEnum.TOOL_EXECUTION, "step", None)
        return Step(call_id, StepAnswer("tool"), {"tags": ["inner"]})

    def raising(error: Exception) -> None:
        ask()
        raise error

    async def raising_later(error: Exception) -> None:
        raising(error)

    for error in (GraphBubbleUp(), ZeroDivisionError()):
        with pytest.raises(type(error)):
            hooked(step)(raising)(error)
        with pytest.raises(type(error)):
            asyncio.run(hooked(step)(raising_later)(error))
    steps = [call for call in llm_audit_records if call.model == "step"]
    assert [(call.status, call.ended_by) for call in steps] == [
        *[("INCOMPLETE", "paused")] * 2,
        *[("ERROR", "exception")] * 2,
    ]
    inner = [call for call in llm_audit_records if call.model != "step"]
    assert [call.parent_call_id for call in inner] == [call.id for call in steps]
    assert {tuple(call.tags) for call in inner} == {("inner",)}


def test_a_function_that_was_taken_before_is_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it has closed over, however it was wrapped since; and it is put back."""
    module = ModuleType("taken_before")
    monkeypatch.setitem(sys.modules, "taken_before", module)

    def outer(inner: Any) -> Any:
        def function() -> Any:
            return inner()

        return function

    taken = outer(lambda: "plain")

    def around() -> Any:
        return taken()

    around.__wrapped__ = taken  # type: ignore[attr-defined]
    for there in (taken, around):
        module.function = there  # type: ignore[attr-defined]
        hook = Hook("taken_before", "function", "inner", lambda inner: lambda: f"hooked {inner()}")
        put_on((hook,))
        put_on((hook,))
        assert (taken(), around()) == ("hooked plain", "hooked plain")
        llm_audit.uninstrument()
        assert (taken(), around()) == ("plain", "plain")
