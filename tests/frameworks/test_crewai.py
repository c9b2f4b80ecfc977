"""CrewAI: crews, agents, their tools and what they ask are one tree, each recorded once."""

import asyncio
import threading
from typing import Any

import pytest

from llm_audit import LLMLogger, audit_context
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

crewai = pytest.importorskip("crewai")

from crewai.flow.flow import Flow, listen, start  # noqa: E402
from crewai.tools import tool  # noqa: E402

from .conftest import ANSWER, BROKEN  # noqa: E402

pytestmark = [pytest.mark.usefixtures("instrumented"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it report to nobody."""
    for name in ("CREWAI_DISABLE_TELEMETRY", "OTEL_SDK_DISABLED", "CREWAI_TRACING_ENABLED"):
        monkeypatch.setenv(name, "false" if name == "CREWAI_TRACING_ENABLED" else "true")


@tool("weather")
def weather(city: str) -> str:
    """Say how the weather is."""
    LLMLogger.complete(LLMLogger.start(model="by hand"), response_message={"content": "x"})
    return f"rain in {city}"


@tool("broken")
def broken(city: str) -> str:
    """Fail."""
    raise ZeroDivisionError(city)


@pytest.fixture
def model(provider_url: str) -> Any:
    """Make a model on loopback."""
    return crewai.LLM(model="openai/gpt-4o", base_url=provider_url, api_key="none")


def crew_of(model: Any, *tools: Any, question: str = "How is it?", **more: Any) -> Any:
    agent = crewai.Agent(
        role="forecaster", goal="tell", backstory="none", llm=model, tools=[*tools]
    )
    task = crewai.Task(name="today", description=question, expected_output="one word", agent=agent)
    return crewai.Crew(name="forecast", agents=[agent], tasks=[task], **more)


def tree(calls: Any) -> list[tuple[object, ...]]:
    """Return what each call is, and the model of its parent."""
    named = {call.id: call.model for call in calls}
    return [
        (call.call_type, call.model, named.get(call.parent_call_id), call.captured_by)
        for call in calls
    ]


AGENT = [
    ("CHAT", "gpt-4o", "forecaster", "httpx"),
    ("TOOL_EXECUTION", "weather", "forecaster", "crewai"),
    ("CHAT", "by hand", "weather", None),
    ("CHAT", "gpt-4o", "forecaster", "httpx"),
]
CREW = [
    ("AGENT", "forecast", None, "crewai"),
    ("AGENT", "forecaster", "forecast", "crewai"),
    *AGENT,
]


async def test_a_crew_is_a_tree(model: Any, llm_audit_records: RecordedCalls) -> None:
    """In plain code, in a thread, natively asynchronous, and streamed."""

    async def plain() -> Any:
        return await asyncio.to_thread(crew_of(model, weather).kickoff)

    async def in_thread() -> Any:
        return await crew_of(model, weather).kickoff_async()

    async def native() -> Any:
        return await crew_of(model, weather).akickoff()

    async def streamed() -> Any:
        output = await asyncio.to_thread(crew_of(model, weather, stream=True).kickoff)
        for _ in output:
            assert current_context() == CallContext()
        return output.result

    for ask in (plain, in_thread, native, streamed):
        before = len(llm_audit_records)
        assert (await ask()).raw == ANSWER, ask
        calls = llm_audit_records[before:]
        assert tree(calls) == CREW, ask
        assert {call.status for call in calls} == {"SUCCESS"}, ask
        assert len({call.trace_id for call in calls}) == 1, ask
        assert current_context() == CallContext(), ask
        crew, agent, first, tool_call, *_ = calls
        assert (crew.response_message or {})["content"] == ANSWER, ask
        assert (agent.response_message or {})["content"] == ANSWER, ask
        assert agent.input["task"] == "How is it?", ask
        assert tool_call.input == {"city": "Oslo"}, ask
        assert (tool_call.response_message or {})["content"] == "rain in Oslo", ask
        own = first.metadata["crewai"]
        assert (own["crew"], own["agent"], own["task"]) == ("forecast", "forecaster", "today"), ask


async def test_an_agent_alone_is_a_tree(model: Any, llm_audit_records: RecordedCalls) -> None:
    """It asks without a crew, from a flow as well."""

    def agent() -> Any:
        (one,) = crew_of(model, weather).agents
        return one

    class Forecast(Flow):  # type: ignore[misc,type-arg]
        @start()
        async def first(self) -> Any:
            return await agent().kickoff_async("How is it?")

        @listen(first)
        def then(self, answer: Any) -> Any:
            return answer

    async def plain() -> Any:
        return await asyncio.to_thread(agent().kickoff, "How is it?")

    async def awaited() -> Any:
        return await agent().kickoff_async("How is it?")

    async def in_a_loop() -> Any:
        return await agent().kickoff("How is it?")

    async def flowing() -> Any:
        return await Forecast().kickoff_async()

    for ask in (plain, awaited, in_a_loop, flowing):
        before = len(llm_audit_records)
        assert (await ask()).raw == ANSWER, ask
        calls = llm_audit_records[before:]
        flow = [("AGENT", "Forecast", None, "crewai")] if ask is flowing else []
        parent = "Forecast" if flow else None
        expected = [*flow, ("AGENT", "forecaster", parent, "crewai"), *AGENT]
        assert tree(calls) == expected, ask
        assert len({call.trace_id for call in calls}) == 1, ask
        assert current_context() == CallContext(), ask


async def test_what_fails_or_is_cancelled_says_so(
    model: Any, provider_url: str, llm_audit_records: RecordedCalls
) -> None:
    """A tool that raises, which the agent is told; a model that fails; a run that is cancelled."""
    with audit_context(user_id="ada"):
        await crew_of(model, broken).akickoff()
        ends = [(call.call_type, call.status) for call in llm_audit_records]
        assert ("TOOL_EXECUTION", "ERROR") in ends
        assert ends[0] == ("AGENT", "SUCCESS")

        before = len(llm_audit_records)
        bad = crewai.LLM(model=f"openai/{BROKEN}", base_url=provider_url, api_key="none")
        with pytest.raises(Exception, match="broken"):
            await crew_of(bad).akickoff()
        ends = [(call.call_type, call.status) for call in llm_audit_records[before:]]
        assert ends[0] == ("AGENT", "ERROR")
        assert {status for _, status in ends} == {"ERROR"}

        before = len(llm_audit_records)
        held = threading.Event()

        @tool("slow")
        def slow(city: str) -> str:
            """Take long."""
            held.wait(60)
            return city

        (agent,) = crew_of(model, slow).agents
        task = asyncio.create_task(agent.kickoff_async("How is it?"))
        while len(llm_audit_records) < before + 3:  # noqa: ASYNC110  (a journal, not an event)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.set()  # CrewAI's thread goes on
        assert llm_audit_records[before].status == "CANCELLED"
        assert current_context().parent_call_id is None
    assert {call.user_id for call in llm_audit_records} == {"ada"}
