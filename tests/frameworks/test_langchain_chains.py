"""Whole chains and graphs of LangChain: every call once, in one trace, however they are run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypedDict

import pytest

from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

pytest.importorskip("langchain_core")
langchain_openai = pytest.importorskip("langchain_openai")

import httpx2  # noqa: E402
import pydantic  # noqa: E402
from langchain.agents import create_agent  # noqa: E402
from langchain.agents.middleware import HumanInTheLoopMiddleware  # noqa: E402
from langchain_core.documents import Document  # noqa: E402
from langchain_core.output_parsers import StrOutputParser  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate  # noqa: E402
from langchain_core.retrievers import BaseRetriever  # noqa: E402
from langchain_core.runnables import RunnableParallel, RunnablePassthrough  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langchain_core.vectorstores import InMemoryVectorStore  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.graph import END, START, MessagesState, StateGraph  # noqa: E402
from langgraph.types import Command, interrupt  # noqa: E402

from .conftest import ANSWER, BROKEN, PERSON  # noqa: E402

pytestmark = [pytest.mark.usefixtures("instrumented"), pytest.mark.filterwarnings("ignore")]
GIVEN = {"text": "How is it?"}
QUESTION: Any = {"messages": [{"role": "user", "content": "How is it?"}]}
Ways = dict[str, Callable[[], Awaitable[Any]]]


class Person(pydantic.BaseModel):
    """Whoever."""

    name: str
    age: int


class Remembering(BaseRetriever):
    """Finds one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        del query, run_manager
        return [Document("Oslo is rainy", metadata={"source": "a"}, id="1")]


class Failing(Remembering):
    """Finds none."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        del run_manager
        raise ZeroDivisionError(query)


@tool
def weather(city: str) -> str:
    """Say how the weather is."""
    return f"rain in {city}"


@pytest.fixture
async def model(provider_url: str) -> AsyncIterator[Any]:
    """Make a model with an async client of its own: others are shared between event loops."""
    async with httpx2.AsyncClient() as client:
        yield langchain_openai.ChatOpenAI(
            model="gpt-4o",
            base_url=provider_url,
            api_key="none",
            max_retries=0,
            http_async_client=client,
        )


def tree(calls: Any) -> list[tuple[object, ...]]:
    """Return what each call is, and the model of its parent."""
    named = {call.id: call.model for call in calls}
    return [(call.call_type, call.model, named.get(call.parent_call_id)) for call in calls]


async def assert_each(
    ways: Ways, records: RecordedCalls, expected: list[tuple[object, ...]], answer: object
) -> None:
    """Check what each way answers, and that it records what is expected, in one trace."""
    for name, ask in ways.items():
        before = len(records)
        assert await ask() == answer, name
        assert current_context() == CallContext(), name
        calls = records[before:]
        assert tree(calls) == expected, name
        assert {call.status for call in calls} == {"SUCCESS"}, name
        assert len({call.trace_id for call in calls}) == 1, name


def ways_of(chain: Any, given: Any = GIVEN) -> Ways:
    """Return the ways to run a chain; a stream is joined."""

    async def invoke() -> Any:
        return chain.invoke(given)

    async def stream() -> Any:
        return "".join(chain.stream(given))

    async def batch() -> Any:
        (answer,) = chain.batch([given])
        return answer

    async def ainvoke() -> Any:
        return await chain.ainvoke(given)

    async def astream() -> Any:
        return "".join([piece async for piece in chain.astream(given)])

    async def abatch() -> Any:
        (answer,) = await chain.abatch([given])
        return answer

    async def events() -> Any:
        found = [event async for event in chain.astream_events(given, version="v2")]
        (end,) = [event for event in found if event["event"] == "on_parser_end"]
        return end["data"]["output"]

    ways = (invoke, stream, batch, ainvoke, astream, abatch, events)
    return {way.__name__: way for way in ways}


async def test_a_chain_of_prompt_model_and_parser(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """Each way asks the model once."""
    chain = ChatPromptTemplate([("user", "{text}")]) | model | StrOutputParser()
    await assert_each(ways_of(chain), llm_audit_records, [("CHAT", "gpt-4o", None)], ANSWER)


async def test_a_chain_with_a_retriever(model: Any, llm_audit_records: RecordedCalls) -> None:
    """It is a step before the call; both are of one trace."""
    prompt = ChatPromptTemplate([("user", "{docs} {text}")])
    docs = (lambda given: given["text"]) | Remembering(name="docs", tags=["beta"])
    chain = RunnablePassthrough.assign(docs=docs) | prompt | model | StrOutputParser()
    ways = ways_of(chain)
    for apart in ("batch", "abatch"):  # step by step, not chain by chain
        del ways[apart]
    expected = [("TOOL_EXECUTION", "docs", None), ("CHAT", "gpt-4o", None)]
    await assert_each(ways, llm_audit_records, expected, ANSWER)
    step = llm_audit_records[0]
    assert (step.input, step.tags, step.captured_by) == ("How is it?", ["beta"], "langchain")
    found = {"content": "Oslo is rainy", "metadata": {"source": "a"}, "id": "1"}
    assert (step.response_message or {})["content"] == [found]
    with pytest.raises(ZeroDivisionError):
        await Failing().ainvoke("how")
    assert llm_audit_records[-1].error_type == "ZeroDivisionError"


async def test_a_retriever_that_embeds(provider_url: str, llm_audit_records: RecordedCalls) -> None:
    """What it asks is below it."""
    embeddings = langchain_openai.OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=provider_url,
        api_key="none",
        check_embedding_ctx_length=False,
    )
    store = InMemoryVectorStore(embeddings)
    store.add_texts(["Oslo is rainy"])
    before = len(llm_audit_records)
    assert store.as_retriever(search_kwargs={"k": 1}).invoke("How is it?")
    name = "VectorStoreRetriever"
    expected = [("TOOL_EXECUTION", name, None), ("EMBEDDING", "text-embedding-3-small", name)]
    assert tree(llm_audit_records[before:]) == expected


async def test_structured_output_and_tools(model: Any, llm_audit_records: RecordedCalls) -> None:
    """By the API's own JSON schema, by tools, and with what a model says of tools."""
    person = Person(name=PERSON["name"], age=PERSON["age"])
    for method in ("json_schema", "function_calling"):
        asking = model.with_structured_output(Person, method=method)
        chain = ChatPromptTemplate([("user", "{text}")]) | asking
        ways = ways_of(chain)
        ways = {name: ways[name] for name in ("invoke", "ainvoke", "batch", "abatch")}
        expected = [("CHAT", "gpt-4o", None)]
        await assert_each(ways, llm_audit_records, expected, person)
        call = llm_audit_records[-1]
        assert bool(call.tools) is (method == "function_calling")
    before = len(llm_audit_records)
    answer = await model.bind_tools([weather]).ainvoke("How is it?")
    (called,) = answer.tool_calls
    assert weather.invoke(called).content == "rain in Oslo"
    asked, step = llm_audit_records[before:]
    assert asked.tools
    assert (asked.response_message or {})["tool_calls"][0]["function"]["name"] == "weather"
    assert step.request_params == {"tool_call_id": "call_1"}


async def test_fallbacks_of_a_chain(
    model: Any, provider_url: str, llm_audit_records: RecordedCalls
) -> None:
    """Each model that is asked is a call, in one trace."""
    bad = langchain_openai.ChatOpenAI(
        model=BROKEN, base_url=provider_url, api_key="none", max_retries=0
    )
    prompt = ChatPromptTemplate([("user", "{text}")])
    falling: Any = bad.with_fallbacks([model])
    for chain, given in ((prompt | falling, GIVEN), (falling, "hello")):
        before = len(llm_audit_records)
        chain.invoke(given)
        calls = llm_audit_records[before:]
        ends = [(call.model, call.status) for call in calls]
        assert ends == [(BROKEN, "ERROR"), ("gpt-4o", "SUCCESS")]
        assert len({call.trace_id for call in calls}) == 1

    before = len(llm_audit_records)
    with pytest.raises(Exception, match="broken"):
        await bad.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).ainvoke("hello")
    RunnableParallel(one=model, other=model).invoke("hello")
    first, second, *parallel = llm_audit_records[before:]
    assert first.trace_id == second.trace_id
    assert len({call.trace_id for call in parallel}) == 1


async def test_an_agent_by_its_events(model: Any, llm_audit_records: RecordedCalls) -> None:
    """`astream_events` in each version, and `astream` in each mode."""
    agent = create_agent(model, [weather], name="forecast")

    async def events(version: str) -> None:
        found = agent.astream_events(QUESTION, version=version)
        async for _ in await found if asyncio.iscoroutine(found) else found:
            assert current_context() == CallContext()

    async def stream(mode: Any) -> None:
        async for _ in agent.astream(QUESTION, stream_mode=mode, subgraphs=True):
            assert current_context() == CallContext()

    ways: list[tuple[Any, Any]] = [(events, version) for version in ("v2", "v3")]
    ways += [(stream, mode) for mode in ("values", "updates", "messages", ["messages", "values"])]
    for ask, how in ways:
        before = len(llm_audit_records)
        await ask(how)
        calls = llm_audit_records[before:]
        assert tree(calls) == [
            ("AGENT", "forecast", None),
            ("CHAT", "gpt-4o", "forecast"),
            ("TOOL_EXECUTION", "weather", "forecast"),
            ("CHAT", "gpt-4o", "forecast"),
        ], how
        assert {call.status for call in calls} == {"SUCCESS"}, how
        assert ANSWER in str((calls[0].response_message or {})["content"]), how  # v3 has blocks


async def test_graphs_within_graphs_and_branches(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """A graph in a node is below the graph; branches run at the same time, in their places."""

    class Both(TypedDict):
        left: str
        right: str

    def inner_of(name: str) -> Any:
        async def ask(state: Any) -> Any:
            return {"messages": [await model.ainvoke(state["messages"])]}

        graph = StateGraph(MessagesState)
        graph.add_node("ask", ask)
        graph.add_edge(START, "ask")
        return graph.compile(name=name)

    inner = inner_of("inner")

    async def left(_: Any) -> Any:
        return {"left": (await inner.ainvoke(QUESTION))["messages"][-1].content}

    async def right(_: Any) -> Any:
        return {"right": (await model.ainvoke("hello")).content}

    graph = StateGraph(Both)
    for node in (left, right):
        graph.add_node(node.__name__, node)
        graph.add_edge(START, node.__name__)
        graph.add_edge(node.__name__, END)
    answer = await graph.compile(name="outer").ainvoke({"left": "", "right": ""})
    assert answer == {"left": ANSWER, "right": ANSWER}
    calls = [*llm_audit_records]
    places = sorted(
        (call.model, parent) for call, (*_, parent) in zip(calls, tree(calls), strict=True)
    )
    assert places == [("gpt-4o", "inner"), ("gpt-4o", "outer"), ("inner", "outer"), ("outer", None)]
    assert len({call.trace_id for call in calls}) == 1

    before = len(llm_audit_records)  # a graph that is a node itself
    nested = StateGraph(MessagesState)
    nested.add_node("inner", inner)
    nested.add_edge(START, "inner")
    await nested.compile(name="outer").ainvoke(QUESTION)
    assert tree(llm_audit_records[before:]) == [
        ("AGENT", "outer", None),
        ("AGENT", "inner", "outer"),
        ("CHAT", "gpt-4o", "inner"),
    ]


async def test_an_interrupt_is_no_error(model: Any, llm_audit_records: RecordedCalls) -> None:
    """What stops to ask somebody is paused: a graph, one within it, a tool, an agent's middleware.

    The run that goes on is another one, of the same session.
    """

    @tool
    def careful(city: str) -> str:
        """Ask first."""
        return f"{interrupt('may I?')} in {city}"

    def ask(_: Any) -> Any:
        return {"messages": [("user", interrupt("may I?"))]}

    inner = StateGraph(MessagesState)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner.compile(name="inner"))
    outer.add_edge(START, "inner")
    saver = InMemorySaver()
    asks_first = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    approved = {"decisions": [{"type": "approve"}]}
    runs = {
        "graph": (inner.compile(name="graph", checkpointer=saver), "yes", ["graph"]),
        "outer": (outer.compile(name="outer", checkpointer=saver), "yes", ["outer", "inner"]),
        "tool": (
            create_agent(model, [careful], name="tool", checkpointer=saver),
            "yes",
            ["tool", "careful"],
        ),
        "middleware": (
            create_agent(
                model, [weather], name="middleware", checkpointer=saver, middleware=[asks_first]
            ),
            approved,
            ["middleware"],
        ),
    }
    for name, (graph, answer, paused) in runs.items():
        config: Any = {"configurable": {"thread_id": name}}
        before = len(llm_audit_records)
        state = await graph.ainvoke(QUESTION, config)
        assert state["__interrupt__"], name
        calls = llm_audit_records[before:]
        stopped = [call for call in calls if call.ended_by]
        assert [call.model for call in stopped] == paused, name
        assert {(call.status, call.ended_by) for call in stopped} == {("INCOMPLETE", "paused")}
        assert (stopped[0].response_message or {})["content"], name
        assert stopped[0].error_type is None, name
        assert not [call for call in calls if call.status == "ERROR"], name

        before = len(llm_audit_records)
        graph.invoke(Command(resume=answer), config)
        goes_on = llm_audit_records[before:]
        assert {call.status for call in goes_on} == {"SUCCESS"}, name
        assert {call.session_id for call in [*calls, *goes_on]} == {name}
        assert current_context() == CallContext(), name
