"""pydantic-ai: agents, tools and what they ask are one tree, each recorded once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_audit import LLMLogger, audit_context
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

pydantic_ai = pytest.importorskip("pydantic_ai")

import openai  # noqa: E402
from pydantic_ai.direct import model_request  # noqa: E402
from pydantic_ai.messages import ModelResponse, TextPart  # noqa: E402
from pydantic_ai.models.function import FunctionModel  # noqa: E402
from pydantic_ai.models.openai import OpenAIChatModel  # noqa: E402
from pydantic_ai.models.test import TestModel  # noqa: E402
from pydantic_ai.providers.openai import OpenAIProvider  # noqa: E402

from .conftest import ANSWER, WAITS  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented")


async def weather(city: str) -> str:
    """Say how the weather is."""
    LLMLogger.complete(LLMLogger.start(model="by hand"), response_message={"content": "x"})
    return f"rain in {city}"


def broken(city: str) -> str:
    """Fail."""
    raise ZeroDivisionError(city)


@pytest.fixture
async def model(provider_url: str) -> AsyncIterator[Any]:
    """Make a model on loopback."""
    async with openai.AsyncOpenAI(base_url=provider_url, api_key="none") as client:
        yield OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))


async def test_an_agent_is_a_tree(model: Any, llm_audit_records: RecordedCalls) -> None:
    """Run, iterated, and streamed; what a tool records by hand is below that tool."""
    agent = pydantic_ai.Agent(model, name="forecast", tools=[weather])
    about: Any = {"conversation_id": "chat-7", "metadata": {"plan": "free"}}

    async def run() -> str:
        return (await agent.run("How is it?", **about)).output

    async def iterated() -> str:
        async with agent.iter("How is it?", **about) as steps:
            async for _ in steps:
                pass
        return steps.result.output

    async def streamed() -> str:
        async with agent.run_stream("How is it?", **about) as result:
            return await result.get_output()

    for name, ask in (("run", run), ("iter", iterated), ("run_stream", streamed)):
        before = len(llm_audit_records)
        assert await ask() == ANSWER, name
        assert current_context() == CallContext(), name
        whole, first, tool, by_hand, last = calls = llm_audit_records[before:]
        kinds = [(call.call_type, call.model, call.captured_by) for call in calls]
        assert kinds == [
            ("AGENT", "forecast", "pydantic-ai"),
            ("CHAT", "gpt-4o", "httpx2"),
            ("TOOL_EXECUTION", "weather", "pydantic-ai"),
            ("CHAT", "by hand", None),
            ("CHAT", "gpt-4o", "httpx2"),
        ], name
        assert {call.status for call in calls} == {"SUCCESS"}, name
        parents = [call.parent_call_id for call in calls]
        assert parents == [None, whole.id, whole.id, tool.id, whole.id], name
        assert {call.trace_id for call in calls} == {whole.id}, name
        assert {call.session_id for call in calls} == {"chat-7"}, name
        assert {call.metadata["plan"] for call in calls} == {"free"}, name
        assert whole.input == "How is it?", name
        assert (tool.input, (tool.response_message or {})["content"]) == (
            {"city": "Oslo"},
            "rain in Oslo",
        ), name
        assert tool.request_params == {"tool_call_id": "call_1"}, name
        assert first.metadata["agent"] == last.metadata["agent"] == "forecast", name
        assert by_hand.parent_call_id == tool.id, name
        assert (whole.response_message or {}).get("content") == ANSWER, name


async def test_what_fails_or_is_cancelled_says_so(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """A tool that raises, and a run that is cancelled in the middle of a call."""
    with audit_context(user_id="ada"):
        with pytest.raises(ZeroDivisionError):
            await pydantic_ai.Agent(model, tools=[broken]).run("How is it?")
        assert current_context().parent_call_id is None
    ends = {call.call_type: call.status for call in llm_audit_records}
    assert ends == {"AGENT": "ERROR", "CHAT": "SUCCESS", "TOOL_EXECUTION": "ERROR"}
    assert {call.user_id for call in llm_audit_records} == {"ada"}

    before = len(llm_audit_records)
    task = asyncio.create_task(pydantic_ai.Agent(model).run(WAITS))
    while len(llm_audit_records) < before + 2:  # noqa: ASYNC110  (a journal, not an event)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ends = {call.call_type: call.status for call in llm_audit_records[before:]}
    assert ends == {"AGENT": "CANCELLED", "CHAT": "CANCELLED"}
    assert current_context() == CallContext()


def test_plain_code_too(provider_url: str, llm_audit_records: RecordedCalls) -> None:
    """`run_sync` has an event loop of its own."""
    client = openai.AsyncOpenAI(base_url=provider_url, api_key="none")
    model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))
    assert pydantic_ai.Agent(model).run_sync("hello").output == ANSWER
    assert [call.call_type for call in llm_audit_records] == ["AGENT", "CHAT"]
    assert current_context() == CallContext()


async def test_models_of_this_process_are_recorded(llm_audit_records: RecordedCalls) -> None:
    """TestModel and FunctionModel have no wire; each answer once, streamed as well."""

    def answer(_messages: Any, _info: Any) -> Any:
        return ModelResponse(parts=[TextPart(ANSWER)])

    async def pieces(_messages: Any, _info: Any) -> AsyncIterator[str]:
        for piece in ("yes, ", "indeed"):
            yield piece

    tested = pydantic_ai.Agent(TestModel(custom_output_text=ANSWER), tools=[weather], name="tested")
    function = FunctionModel(answer, stream_function=pieces)
    asked = pydantic_ai.Agent(function, instructions="Be short.", name="asked")
    for agent in (tested, asked):
        for ask in ("run", "run_stream"):
            before = len(llm_audit_records)
            if ask == "run":
                assert (await agent.run("How is it?")).output == ANSWER
            else:
                async with agent.run_stream("How is it?") as result:
                    assert await result.get_output() == ANSWER
            assert current_context() == CallContext()
            calls = [call for call in llm_audit_records[before:] if call.call_type == "CHAT"]
            whole = llm_audit_records[before]
            models = [call for call in calls if call.captured_by == "pydantic-ai"]
            assert len(models) == (2 if agent is tested else 1), ask
            assert {call.parent_call_id for call in models} == {whole.id}, ask
            assert {call.status for call in calls} == {"SUCCESS"}, ask
            last = models[-1]
            assert (last.response_message or {})["content"] == ANSWER, ask
            assert {"role": "user", "content": "How is it?"} in (last.messages or []), ask
            assert last.total_tokens, ask
            if agent is tested:
                assert last.provider == "test"
                assert [message["role"] for message in last.messages or []] == [
                    *("user", "assistant", "tool")
                ]
                (called,) = (models[0].response_message or {})["tool_calls"]
                assert called["function"]["name"] == "weather"
            else:
                assert (last.messages or [])[0] == {"role": "system", "content": "Be short."}


async def test_a_function_that_asks_a_model_is_no_call_itself(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """The wire has the call then."""

    async def asks(_messages: Any, _info: Any) -> Any:
        answer = await model_request(model, _messages)
        return ModelResponse(parts=answer.parts)

    await pydantic_ai.Agent(FunctionModel(asks)).run("How is it?")
    assert [call.captured_by for call in llm_audit_records] == ["pydantic-ai", "httpx2"]

    def fails(_messages: Any, _info: Any) -> Any:
        raise ZeroDivisionError

    before = len(llm_audit_records)
    with pytest.raises(ZeroDivisionError):
        await pydantic_ai.Agent(FunctionModel(fails)).run("How is it?")
    ends = [(call.call_type, call.status) for call in llm_audit_records[before:]]
    assert sorted(ends) == [("AGENT", "ERROR"), ("CHAT", "ERROR")]
