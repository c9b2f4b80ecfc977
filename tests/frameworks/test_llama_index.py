"""LlamaIndex: agents, engines, retrievers, tools and what they ask are one tree, each once."""

import asyncio
import gc
from typing import Any

import pytest

import llm_audit
from llm_audit import LLMLogger, audit_context
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCall, RecordedCalls

core = pytest.importorskip("llama_index.core")
openai = pytest.importorskip("llama_index.llms.openai")

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent  # noqa: E402
from llama_index.core.instrumentation.dispatcher import instrument_tags  # noqa: E402
from llama_index.core.llms import MockLLM  # noqa: E402
from llama_index.core.tools import FunctionTool, QueryEngineTool  # noqa: E402
from llama_index.embeddings.openai import OpenAIEmbedding  # noqa: E402

from .conftest import ANSWER, BROKEN, WAITS  # noqa: E402

pytestmark = [pytest.mark.usefixtures("instrumented"), pytest.mark.filterwarnings("ignore")]


def weather(city: str) -> str:
    """Say how the weather is."""
    LLMLogger.complete(LLMLogger.start(model="by hand"), response_message={"content": "x"})
    return f"rain in {city}"


@pytest.fixture
def model(provider_url: str) -> Any:
    """Make a model on loopback."""
    return openai.OpenAI(model="gpt-4o", api_base=provider_url, api_key="none", max_retries=0)


@pytest.fixture
def index(provider_url: str) -> Any:
    """Make an index of one text, whose embedding is asked for, before anything is recorded."""
    core.set_global_tokenizer(str.split)  # its own would be fetched
    embedding = OpenAIEmbedding(
        model_name="text-embedding-3-small", api_base=provider_url, api_key="none"
    )
    llm_audit.uninstrument()
    made = core.VectorStoreIndex.from_documents(
        [core.Document(text="Oslo is rainy")], embed_model=embedding
    )
    llm_audit.instrument()
    return made


def tree(calls: Any) -> list[tuple[object, ...]]:
    """Return what each call is, and the model of its parent."""
    named = {call.id: call.model for call in calls}
    return [
        (call.call_type, call.model, named.get(call.parent_call_id), call.captured_by)
        for call in calls
    ]


def assert_whole(calls: Any, name: object) -> None:
    assert {call.status for call in calls} == {"SUCCESS"}, name
    assert len({call.trace_id for call in calls}) == 1, name
    assert current_context() == CallContext(), name


QUERY = [
    ("AGENT", "RetrieverQueryEngine", None, "llama-index"),
    ("TOOL_EXECUTION", "VectorIndexRetriever", "RetrieverQueryEngine", "llama-index"),
    ("EMBEDDING", "text-embedding-3-small", "VectorIndexRetriever", "httpx"),
    ("CHAT", "gpt-4o", "RetrieverQueryEngine", "httpx"),
]


async def test_a_query_is_a_tree(index: Any, model: Any, llm_audit_records: RecordedCalls) -> None:
    """Sync, async, and streamed: then it ends with the stream, which others read."""

    async def plain() -> str:
        return str(index.as_query_engine(llm=model).query("How is it?"))

    async def awaited() -> str:
        return str(await index.as_query_engine(llm=model).aquery("How is it?"))

    async def streamed() -> str:
        answer = index.as_query_engine(llm=model, streaming=True).query("How is it?")
        pieces = []
        for piece in answer.response_gen:
            assert current_context() == CallContext()
            pieces.append(piece)
        return "".join(pieces)

    async def streamed_async() -> str:
        engine = index.as_query_engine(llm=model, streaming=True)
        answer = await engine.aquery("How is it?")
        return "".join([piece async for piece in answer.async_response_gen()])

    for ask in (plain, awaited, streamed, streamed_async):
        before = len(llm_audit_records)
        assert await ask() == ANSWER
        calls = llm_audit_records[before:]
        assert tree(calls) == QUERY, ask
        assert_whole(calls, ask)
        query, retriever, _, _ = calls
        assert query.input == retriever.input == "How is it?", ask
        assert (query.response_message or {})["content"] == ANSWER, ask
        (node,) = (retriever.response_message or {})["content"]
        assert node["content"] == "Oslo is rainy", ask


async def test_a_chat_is_a_tree(index: Any, model: Any, llm_audit_records: RecordedCalls) -> None:
    """Streams too, which LlamaIndex reads in a thread."""

    async def plain() -> str:
        return str(index.as_chat_engine(chat_mode="context", llm=model).chat("How is it?"))

    async def awaited() -> str:
        engine = index.as_chat_engine(chat_mode="context", llm=model)
        return str(await engine.achat("How is it?"))

    async def streamed() -> str:
        engine = index.as_chat_engine(chat_mode="context", llm=model)
        return "".join(engine.stream_chat("How is it?").response_gen)

    for ask in (plain, awaited, streamed):
        before = len(llm_audit_records)
        assert await ask() == ANSWER, ask
        calls = llm_audit_records[before:]
        kinds = [("AGENT", "ContextChatEngine", None, "llama-index"), *QUERY[1:]]
        expected = [
            (kind, named, "ContextChatEngine" if parent == QUERY[0][1] else parent, by)
            for kind, named, parent, by in kinds
        ]
        assert tree(calls) == expected, ask
        assert_whole(calls, ask)


async def test_an_agent_is_a_tree(model: Any, llm_audit_records: RecordedCalls) -> None:
    """Alone and in a workflow of several; what a tool records by hand is below that tool."""

    def agent(**more: Any) -> Any:
        return FunctionAgent(name="forecast", tools=[weather], llm=model, **more)

    async def run() -> Any:
        return await agent().run(user_msg="How is it?")

    async def whole_at_once() -> Any:
        return await agent(streaming=False).run("How is it?")

    async def streamed() -> Any:
        handler = agent().run(user_msg="How is it?")
        async for _ in handler.stream_events():
            assert current_context() == CallContext()
        return await handler

    async def several() -> Any:
        return await AgentWorkflow(agents=[agent()]).run(user_msg="How is it?")

    for ask in (run, whole_at_once, streamed, several):
        before = len(llm_audit_records)
        assert str(await ask()) == ANSWER, ask
        calls = llm_audit_records[before:]
        name = "AgentWorkflow" if ask is several else "forecast"
        assert tree(calls) == [
            ("AGENT", name, None, "llama-index"),
            ("CHAT", "gpt-4o", name, "httpx"),
            ("TOOL_EXECUTION", "weather", name, "llama-index"),
            ("CHAT", "by hand", "weather", None),
            ("CHAT", "gpt-4o", name, "httpx"),
        ], ask
        assert_whole(calls, ask)
        whole, first, tool, *_ = calls
        assert whole.input == "How is it?", ask
        assert (whole.response_message or {})["content"] == ANSWER, ask
        assert tool.input == {"city": "Oslo"}, ask
        assert (tool.response_message or {})["content"] == "rain in Oslo", ask
        assert first.metadata["agent"] == name, ask


async def test_a_tool_is_one_step(index: Any, model: Any, llm_audit_records: RecordedCalls) -> None:
    """Its methods call each other; an engine is a tool, too."""
    FunctionTool.from_defaults(weather)(city="Oslo")
    assert [call.model for call in llm_audit_records] == ["weather", "by hand"]
    before = len(llm_audit_records)
    engine = index.as_query_engine(llm=model)
    await QueryEngineTool.from_defaults(engine, name="docs").acall("How is it?")
    calls = llm_audit_records[before:]
    assert [call.model for call in calls][:3] == ["docs", *[one[1] for one in QUERY[:2]]]
    assert_whole(calls, "acall")


async def test_what_fails_is_cancelled_or_left_says_so(
    model: Any, index: Any, provider_url: str, llm_audit_records: RecordedCalls
) -> None:
    """Nothing stays in force then."""

    def broken(city: str) -> str:
        """Fail."""
        raise ZeroDivisionError(city)

    def ends(since: int) -> list[tuple[object, object]]:
        return [(call.call_type, call.status) for call in llm_audit_records[since:]]

    bad = model.model_copy(update={"api_base": f"{provider_url}/{BROKEN}"})
    with audit_context(user_id="ada"):
        outside = current_context()
        with pytest.raises(Exception, match="broken"):
            index.as_query_engine(llm=bad).query("How is it?")
        assert current_context() is outside
        assert ends(0)[0] == ("AGENT", "ERROR")
        assert ends(0)[-1] == ("CHAT", "ERROR")

        before = len(llm_audit_records)  # the agent is told, and goes on
        await FunctionAgent(name="forecast", tools=[broken], llm=model).run("How is it?")
        assert ends(before)[2] == ("TOOL_EXECUTION", "ERROR")
        assert ends(before)[0] == ("AGENT", "SUCCESS")

        before = len(llm_audit_records)
        engine = index.as_query_engine(llm=model)
        task = asyncio.create_task(engine.aquery(WAITS))
        while len(llm_audit_records) < before + 4:  # noqa: ASYNC110  (a journal, not an event)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ends(before)[0] == ("AGENT", "CANCELLED")
        assert ends(before)[-1] == ("CHAT", "CANCELLED")

        before = len(llm_audit_records)
        answer = index.as_query_engine(llm=model, streaming=True).query("How is it?")
        stream = answer.response_gen
        next(stream)
        stream.close()
        del answer, stream
        gc.collect()  # LlamaIndex does not close what it reads itself
        assert ends(before)[0] == ("AGENT", "INCOMPLETE")
        assert current_context() is outside
    assert {call.user_id for call in llm_audit_records} == {"ada"}


def test_models_of_this_process_are_recorded(llm_audit_records: RecordedCalls) -> None:
    """They have no wire; each once, though their methods call each other. Tags are metadata."""
    model, embedding = MockLLM(), core.MockEmbedding(embed_dim=3)
    with instrument_tags({"plan": "free"}):
        model.complete("hello")
        model.chat([core.llms.ChatMessage("hello")])
        embedding.get_text_embedding_batch(["hello", "you"])
    asked: list[RecordedCall] = [*llm_audit_records]
    assert [call.call_type for call in asked] == ["CHAT", "CHAT", "EMBEDDING"]
    for call in asked:
        assert (call.captured_by, call.status) == ("llama-index", "SUCCESS")
        assert call.metadata["plan"] == "free"
    assert (asked[0].response_message or {})["content"] == "hello"
    assert asked[2].input == ["hello", "you"]
