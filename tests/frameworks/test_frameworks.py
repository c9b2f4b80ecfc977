"""What is built on a client: each request that it sends is recorded, once."""

from collections.abc import Iterator
from typing import Any

import pytest
from replay import bodies as b
from replay.server import ReplayServer

from llm_audit.capture.instrument import instrument, uninstrument
from llm_audit.testing.records import RecordedCalls

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, of each other
KEY = "sk-none"


@pytest.fixture
def url() -> Iterator[str]:
    """Give where a chat completion is answered, and record what is asked."""
    with ReplayServer() as server:
        server.play(b.CHAT)
        instrument()
        yield server.url
        uninstrument()


@pytest.fixture(autouse=True)
def no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody report to their makers."""
    for name in ("CREWAI_DISABLE_TELEMETRY", "OTEL_SDK_DISABLED", "OPENAI_AGENTS_DISABLE_TRACING"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def assert_recorded(records: RecordedCalls, *apis: str) -> None:
    """Check that of what was sent there is one record for each API, in order, and all succeeded."""
    captured = [
        call for call in records if call.endpoint
    ]  # frameworks add what they did themselves
    assert [(call.status, call.api) for call in captured] == [("SUCCESS", api) for api in apis]


def test_langchain_of_anthropic(llm_audit_records: RecordedCalls) -> None:
    """LangChain's model of Anthropic's."""
    langchain = pytest.importorskip("langchain_anthropic")
    with ReplayServer() as server:
        server.play(b.MESSAGES)
        instrument()
        named = {"model": "claude-sonnet-4-5", "base_url": server.url, "api_key": KEY}
        langchain.ChatAnthropic(**named).invoke("hello")
        uninstrument()
    assert_recorded(llm_audit_records, "anthropic.messages")


def test_langgraph(url: str, llm_audit_records: RecordedCalls) -> None:
    """A node of a graph that asks a model."""
    langchain = pytest.importorskip("langchain_openai")
    graphs = pytest.importorskip("langgraph.graph")
    model = langchain.ChatOpenAI(model="gpt-4o", base_url=url + "/v1", api_key=KEY)

    def ask(state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = graphs.StateGraph(graphs.MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(graphs.START, "ask")
    graph.compile().invoke({"messages": [("user", "hello")]})
    assert_recorded(llm_audit_records, "openai.chat")


def test_together(url: str, llm_audit_records: RecordedCalls) -> None:
    """Together's client."""
    together = pytest.importorskip("together")
    together.Together(api_key=KEY, base_url=url + "/v1").chat.completions.create(**b.ASK)
    assert_recorded(llm_audit_records, "openai.chat")


def test_crewai(url: str, llm_audit_records: RecordedCalls) -> None:
    """CrewAI's model."""
    crewai = pytest.importorskip("crewai")
    crewai.LLM(model="openai/gpt-4o", base_url=url + "/v1", api_key=KEY).call("hello")
    assert_recorded(llm_audit_records, "openai.chat")


def test_instructor(llm_audit_records: RecordedCalls) -> None:
    """Instructor asks again where the answer does not fit: these are two calls."""
    instructor = pytest.importorskip("instructor")
    openai = pytest.importorskip("openai")
    pydantic = pytest.importorskip("pydantic")
    with ReplayServer() as server:
        server.play(b.CHAT, b.CHAT_JSON)
        instrument()
        client = openai.OpenAI(base_url=server.url + "/v1", api_key=KEY)
        person = pydantic.create_model("Person", name=str, age=int)
        asking = instructor.from_openai(client, mode=instructor.Mode.JSON)
        asking.chat.completions.create(**b.ASK, response_model=person, max_retries=2)
        uninstrument()
    assert_recorded(llm_audit_records, "openai.chat", "openai.chat")


def test_llama_index(url: str, llm_audit_records: RecordedCalls) -> None:
    """LlamaIndex's model."""
    llms = pytest.importorskip("llama_index.llms.openai")
    llms.OpenAI(model="gpt-4o", api_base=url + "/v1", api_key=KEY).complete("hello")
    assert_recorded(llm_audit_records, "openai.chat")
