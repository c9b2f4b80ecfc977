"""LangChain and LangGraph: each call once, in its place in the tree, with its run and its tags."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llm_audit import LLMLogger, audit_context
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCall, RecordedCalls

pytest.importorskip("langchain_core")
agents = pytest.importorskip("langchain.agents")
langchain_openai = pytest.importorskip("langchain_openai")

import httpx2  # noqa: E402
from langchain_core.caches import InMemoryCache  # noqa: E402
from langchain_core.language_models import GenericFakeChatModel  # noqa: E402
from langchain_core.language_models.fake import FakeListLLM  # noqa: E402
from langchain_core.messages import AIMessage, HumanMessage  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate  # noqa: E402
from langchain_core.runnables import RunnableLambda  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402

from .conftest import ANSWER, WAITS  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented")
CONFIG: Any = {
    "run_name": "greeting",
    "tags": ["beta"],
    "metadata": {"plan": "free"},
    "run_id": uuid.UUID(int=7),
}


@tool
def weather(city: str) -> str:
    """Say how the weather is."""
    return f"rain in {city}"


@tool
async def awaited_weather(city: str) -> str:
    """Say how the weather is."""
    await asyncio.sleep(0)
    return f"rain in {city}"


@pytest.fixture
async def model(provider_url: str) -> AsyncIterator[Any]:
    """Make a model with an async client of its own: others are shared between event loops."""
    async with httpx2.AsyncClient() as client:
        yield langchain_openai.ChatOpenAI(
            model="gpt-4o", base_url=provider_url, api_key="none", http_async_client=client
        )


def shown(call: RecordedCall) -> tuple[object, ...]:
    """Return where a call stands in the tree."""
    return call.call_type, call.model, call.status, call.captured_by


def nothing_is_left() -> None:
    assert current_context() == CallContext()


async def test_a_model_is_recorded_once_with_its_run(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """By whatever method it is asked; what LangChain knows of it is there, and leaves nothing."""
    asked = {"role": "user", "content": "hello"}
    ways = {
        "invoke": lambda: model.invoke("hello", CONFIG),
        "stream": lambda: list(model.stream("hello", CONFIG)),
        "batch": lambda: model.batch(["hello"], CONFIG),
        "chain": lambda: (ChatPromptTemplate([("user", "{text}")]) | model).invoke(
            {"text": "hello"}, CONFIG
        ),
    }
    for name, ask in ways.items():
        before = len(llm_audit_records)
        ask()
        nothing_is_left()
        (call,) = llm_audit_records[before:]
        assert call.captured_by == "httpx2", name
        assert call.status == "SUCCESS", name
        assert (call.response_message or {})["content"] == ANSWER, name
        assert call.messages == [asked], name
        assert call.tags == ["beta"], name
        assert call.metadata["plan"] == "free", name
        run = call.metadata["langchain"]
        if name == "chain":
            assert run["parent_run_id"] == str(CONFIG["run_id"])
        else:
            assert (run["run_name"], len(run["run_id"])) == ("greeting", 36), name

    async def streamed() -> None:
        assert [piece async for piece in model.astream("hello", CONFIG)]
        nothing_is_left()

    awaited = {
        "ainvoke": lambda: model.ainvoke("hello", CONFIG),
        "astream": streamed,
        "abatch": lambda: model.abatch(["hello"], CONFIG),
    }
    for name, asynchronous in awaited.items():
        before = len(llm_audit_records)
        await asynchronous()
        nothing_is_left()
        (call,) = llm_audit_records[before:]
        assert (call.tags, call.captured_by) == (["beta"], "httpx2"), name
        assert call.metadata["langchain"]["run_name"] == "greeting", name


async def test_what_is_cancelled_or_left_leaves_nothing(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """LangChain calls no callback then; the context of who goes on is their own."""
    with audit_context(user_id="ada"):
        outside = current_context()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await model.ainvoke(WAITS, CONFIG)
        assert current_context() is outside
        for _ in model.stream("hello", CONFIG):
            break
        assert current_context() is outside
        async for _ in model.astream("hello", CONFIG):
            assert current_context() is outside
            break
        await model.ainvoke("hello")
        assert current_context() is outside
    last = llm_audit_records[-1]
    assert (last.user_id, last.tags, "plan" in last.metadata) == ("ada", [], False)
    assert {call.user_id for call in llm_audit_records} == {"ada"}


async def test_an_agent_is_a_tree(model: Any, llm_audit_records: RecordedCalls) -> None:
    """The agent, what it asks, and its tools, in one trace; a thread of LangGraph is a session."""
    config: Any = {"configurable": {"thread_id": "chat-7"}, "tags": ["beta"]}
    question: Any = {"messages": [{"role": "user", "content": "How is the weather?"}]}

    def asked(tool: Any) -> Any:
        return agents.create_agent(model, [tool], name="forecast", checkpointer=InMemorySaver())

    async def streamed() -> None:
        async for _ in asked(awaited_weather).astream(question, config, stream_mode="updates"):
            nothing_is_left()

    async def plainly() -> None:
        asked(weather).invoke(question, config)

    async def awaited() -> None:
        await asked(awaited_weather).ainvoke(question, config)

    for name, run in (("invoke", plainly), ("ainvoke", awaited), ("astream", streamed)):
        before = len(llm_audit_records)
        await run()
        nothing_is_left()
        agent, first, tool_call, last = calls = llm_audit_records[before:]
        assert shown(agent) == ("AGENT", "forecast", "SUCCESS", "langgraph"), name
        assert shown(first) == ("CHAT", "gpt-4o", "SUCCESS", "httpx2"), name
        assert tool_call.call_type == "TOOL_EXECUTION", name
        assert tool_call.model in {"weather", "awaited_weather"}, name
        assert tool_call.input == {"city": "Oslo"}, name
        assert tool_call.request_params == {"tool_call_id": "call_1"}, name
        assert (tool_call.response_message or {})["content"] == "rain in Oslo", name
        assert shown(last) == ("CHAT", "gpt-4o", "SUCCESS", "httpx2"), name
        assert {call.parent_call_id for call in calls[1:]} == {agent.id}, name
        assert {call.trace_id for call in calls} == {agent.id}, name
        assert {call.session_id for call in calls} == {"chat-7"}, name
        assert first.metadata["langchain"]["langgraph_node"] == "model", name
        if name != "astream":
            assert (agent.response_message or {})["content"] == ANSWER, name


async def test_what_fails_says_so(model: Any, llm_audit_records: RecordedCalls) -> None:
    """A tool that raises, and the agent with it."""

    @tool
    def broken(city: str) -> str:
        """Fail."""
        raise ZeroDivisionError(city)

    question: Any = {"messages": [{"role": "user", "content": "How is the weather?"}]}
    agent = agents.create_agent(model, [broken])
    with pytest.raises(ZeroDivisionError):
        await agent.ainvoke(question)
    ends = {call.call_type: (call.status, call.error_type) for call in llm_audit_records}
    assert ends["TOOL_EXECUTION"] == ("ERROR", "ZeroDivisionError")
    assert ends["AGENT"] == ("ERROR", "ZeroDivisionError")
    nothing_is_left()


async def test_answers_of_no_wire_are_recorded_once(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """Out of a cache, without tokens and costs; from a model in this process, with its time."""
    model.cache = InMemoryCache()
    for ask in (model.invoke, model.ainvoke):
        for _ in range(2):
            answer = ask("hello", CONFIG)
            if asyncio.iscoroutine(answer):
                await answer
    asked, *cached = llm_audit_records
    assert (asked.captured_by, asked.total_tokens) == ("httpx2", 7)
    assert len(cached) == 3
    for call in cached:
        assert shown(call) == ("CHAT", "gpt-4o", "SUCCESS", "langchain")
        assert (call.total_tokens, call.estimated_cost, call.provider) == (None, 0.0, "openai")
        assert call.messages == [{"role": "user", "content": "hello"}]
        assert (call.response_message or {})["content"] == ANSWER
        assert call.metadata["langchain"]["cache_hit"] == "True"
        assert (call.tags, call.metadata["plan"]) == (["beta"], "free")

    def local() -> Any:
        answer = AIMessage("here", usage_metadata={
            "input_tokens": 3, "output_tokens": 1, "total_tokens": 4,
        })  # fmt: skip
        return GenericFakeChatModel(messages=iter([answer]))

    before = len(llm_audit_records)
    local().invoke([HumanMessage("hello")])
    await local().ainvoke("hello")
    list(local().stream("hello"))
    assert [piece async for piece in local().astream("hello")]
    FakeListLLM(responses=["here"]).invoke("hello")
    await FakeListLLM(responses=["here"]).ainvoke("hello")
    calls = llm_audit_records[before:]
    assert len(calls) == 6
    for call in calls:
        assert (call.status, call.captured_by) == ("SUCCESS", "langchain")
        assert (call.response_message or {})["content"] == "here"
        assert call.latency_ms is not None
    assert [call.total_tokens for call in calls[:2]] == [4, 4]
    assert [call.call_type for call in calls] == ["CHAT"] * 4 + ["COMPLETION"] * 2
    nothing_is_left()


async def test_contexts_of_the_app_stay_around_it(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """Ids of the app reach every call, from threads that LangChain starts too."""

    def asks_twice(text: str) -> str:
        return "".join(answer.text for answer in model.batch([text, text]))

    with audit_context(user_id="ada", tags=["app"]):
        await RunnableLambda(asks_twice).ainvoke("hello", CONFIG)
    assert len(llm_audit_records) == 2
    for call in llm_audit_records:
        assert (call.user_id, call.tags) == ("ada", ["app", "beta"])
    nothing_is_left()


def test_managers_of_the_app_keep_their_lists(llm_audit_records: RecordedCalls) -> None:
    """The list of handlers that an app has made is not changed."""
    from langchain_core.callbacks import BaseCallbackHandler, CallbackManager

    class Theirs(BaseCallbackHandler):
        pass

    handlers: list[BaseCallbackHandler] = [Theirs()]
    manager = CallbackManager(handlers)
    assert len(handlers) == 1
    assert len(manager.handlers) == len(manager.copy().handlers) == 2
    del llm_audit_records


async def test_a_call_by_hand_stands_for_its_run(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """What the app records itself is recorded by nobody else, neither the wire nor LangChain."""
    with LLMLogger.log_call(provider="openai", model="gpt-4o", messages=[]) as call_id:
        answer = await model.ainvoke("hello", CONFIG)
        LLMLogger.complete(call_id, response_message={"role": "assistant", "content": answer.text})
    (call,) = llm_audit_records
    assert (call.id, call.captured_by) == (call_id, None)


def test_threads_see_it(provider_url: str, llm_audit_records: RecordedCalls) -> None:
    """A new thread has no context of anybody's, and LangChain's run all the same."""
    import threading

    model = langchain_openai.ChatOpenAI(model="m", base_url=provider_url, api_key="none")
    thread = threading.Thread(target=lambda: model.invoke("hello", CONFIG))
    thread.start()
    thread.join()
    (call,) = llm_audit_records
    assert call.metadata["langchain"]["run_name"] == "greeting"


def test_a_generator_of_the_app_is_no_run(llm_audit_records: RecordedCalls) -> None:
    """What iterates over models and is left half way leaves nothing."""

    def answers() -> Iterator[str]:
        for _ in range(2):
            yield FakeListLLM(responses=["here"]).invoke("hello")

    for _ in answers():
        nothing_is_left()
        break
    assert len(llm_audit_records) == 1
