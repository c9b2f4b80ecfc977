"""OpenAI's Agents SDK: agents, functions and what they ask are one tree, each recorded once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_audit import LLMLogger, audit_context
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

agents = pytest.importorskip("agents")

import openai  # noqa: E402

from .conftest import ANSWER, WAITS  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented", "traced")


@agents.function_tool
async def weather(city: str) -> str:
    """Say how the weather is."""
    LLMLogger.complete(LLMLogger.start(model="by hand"), response_message={"content": "x"})
    return f"rain in {city}"


@agents.function_tool(failure_error_function=None)
def broken(city: str) -> str:
    """Fail."""
    raise ZeroDivisionError(city)


class _Nowhere(agents.TracingProcessor):  # type: ignore[misc,name-defined]
    """Keeps spans from being uploaded."""

    def on_trace_start(self, trace: Any) -> None:
        """Do nothing."""

    on_trace_end = on_span_start = on_span_end = on_trace_start

    def shutdown(self) -> None:
        """Do nothing."""

    force_flush = shutdown


@pytest.fixture
def traced() -> None:
    """Trace, as is the default, but to nowhere."""
    agents.set_trace_processors([_Nowhere()])
    agents.set_tracing_disabled(disabled=False)


@pytest.fixture
async def model(provider_url: str) -> AsyncIterator[Any]:
    """Make a model on loopback."""
    async with openai.AsyncOpenAI(base_url=provider_url, api_key="none") as client:
        yield agents.OpenAIChatCompletionsModel(model="gpt-4o", openai_client=client)


async def test_an_agent_is_a_tree(model: Any, llm_audit_records: RecordedCalls) -> None:
    """Run, and streamed; what a function records by hand is below that function."""
    agent = agents.Agent(name="forecast", model=model, tools=[weather])
    about = agents.RunConfig(
        workflow_name="weather", group_id="chat-7", trace_metadata={"plan": "free"}
    )

    async def run() -> str:
        return (await agents.Runner.run(agent, "How is it?", run_config=about)).final_output

    async def streamed() -> str:
        result = agents.Runner.run_streamed(agent, "How is it?", run_config=about)
        async for _ in result.stream_events():
            assert current_context() == CallContext()
        return result.final_output

    for name, ask in (("run", run), ("streamed", streamed)):
        before = len(llm_audit_records)
        assert await ask() == ANSWER
        assert current_context() == CallContext()
        whole, first, tool, by_hand, last = calls = llm_audit_records[before:]
        kinds = [(call.call_type, call.model, call.captured_by) for call in calls]
        assert kinds == [
            ("AGENT", "forecast", "openai-agents"),
            ("CHAT", "gpt-4o", "httpx2"),
            ("TOOL_EXECUTION", "weather", "openai-agents"),
            ("CHAT", "by hand", None),
            ("CHAT", "gpt-4o", "httpx2"),
        ], name
        assert {call.status for call in calls} == {"SUCCESS"}, name
        parents = [call.parent_call_id for call in calls]
        assert parents == [None, whole.id, whole.id, tool.id, whole.id], name
        assert len({call.trace_id for call in calls}) == 1, name
        assert {call.session_id for call in calls} == {"chat-7"}, name
        assert (tool.input, (tool.response_message or {})["content"]) == (
            {"city": "Oslo"},
            "rain in Oslo",
        ), name
        assert (whole.response_message or {})["content"] == ANSWER, name
        assert whole.input == [{"role": "user", "content": "How is it?"}], name
        assert {call.metadata["plan"] for call in calls} == {"free"}, name
        assert first.metadata["agent"] == last.metadata["agent"] == "forecast", name
        assert by_hand.metadata["openai_agents"]["workflow"] == "weather", name


async def test_what_fails_or_is_cancelled_says_so(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """A function that raises, and a run that is cancelled in the middle of a call."""
    agent = agents.Agent(name="forecast", model=model, tools=[broken])
    with audit_context(user_id="ada"):
        with pytest.raises(Exception, match="Oslo"):
            await agents.Runner.run(agent, "How is it?")
        assert current_context().parent_call_id is None
    ends = {call.call_type: call.status for call in llm_audit_records}
    assert ends == {"AGENT": "ERROR", "CHAT": "SUCCESS", "TOOL_EXECUTION": "ERROR"}
    assert {call.user_id for call in llm_audit_records} == {"ada"}

    before = len(llm_audit_records)
    task = asyncio.create_task(agents.Runner.run(agents.Agent("waits", model=model), WAITS))
    while len(llm_audit_records) < before + 2:  # noqa: ASYNC110  (a journal, not an event)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ends = {call.call_type: call.status for call in llm_audit_records[before:]}
    assert ends == {"AGENT": "CANCELLED", "CHAT": "CANCELLED"}
    assert current_context() == CallContext()


async def test_without_tracing_it_is_the_same_tree(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """Switched off for all, or for one run; the SDK still says where its steps begin and end."""
    agent = agents.Agent("forecast", model=model, tools=[weather])

    async def off() -> None:
        agents.set_tracing_disabled(disabled=True)
        await agents.Runner.run(agent, "How is it?")
        agents.set_tracing_disabled(disabled=False)

    async def off_for_one() -> None:
        about = agents.RunConfig(tracing_disabled=True)
        result = agents.Runner.run_streamed(agent, "How is it?", run_config=about)
        async for _ in result.stream_events():
            assert current_context() == CallContext()

    for ask in (off, off_for_one):
        before = len(llm_audit_records)
        await ask()
        calls = llm_audit_records[before:]
        named = {call.id: call.model for call in calls}
        assert [(call.model, named.get(call.parent_call_id)) for call in calls] == [
            ("forecast", None),
            ("gpt-4o", "forecast"),
            ("weather", "forecast"),
            ("by hand", "weather"),
            ("gpt-4o", "forecast"),
        ], ask
        assert {call.status for call in calls} == {"SUCCESS"}, ask
        assert {call.trace_id for call in calls} == {calls[0].id}, ask
        assert calls[2].input == {"city": "Oslo"}, ask
        assert "openai_agents" not in calls[1].metadata, ask
        assert current_context() == CallContext(), ask


async def test_handoffs_and_guardrails_are_in_the_tree(
    model: Any, llm_audit_records: RecordedCalls
) -> None:
    """Who is handed to is an agent of the same trace; a guardrail is a step."""
    judge = agents.Agent("judge", model=model)

    @agents.input_guardrail(run_in_parallel=False)
    async def is_fine(_context: Any, _agent: Any, given: Any) -> Any:
        answer = await agents.Runner.run(judge, given)
        return agents.GuardrailFunctionOutput(answer.final_output, tripwire_triggered=False)

    @agents.output_guardrail
    async def is_too_much(_context: Any, _agent: Any, _answer: Any) -> Any:
        return agents.GuardrailFunctionOutput(None, tripwire_triggered=True)

    forecast = agents.Agent("forecast", model=model)
    triage = agents.Agent("triage", model=model, handoffs=[forecast], input_guardrails=[is_fine])
    result = await agents.Runner.run(triage, "How is it?")
    assert result.last_agent is forecast
    calls = [*llm_audit_records]
    named = {call.id: call.model for call in calls}
    places = sorted((str(named.get(call.parent_call_id)), call.model) for call in calls)
    assert places == [
        ("None", "forecast"),
        ("None", "triage"),
        ("forecast", "gpt-4o"),
        ("is_fine", "judge"),
        ("judge", "gpt-4o"),
        ("triage", "gpt-4o"),
        ("triage", "is_fine"),
    ]
    assert len({call.trace_id for call in calls}) == 1
    assert {call.status for call in calls} == {"SUCCESS"}
    (guardrail,) = [call for call in calls if call.model == "is_fine"]
    assert guardrail.call_type == "TOOL_EXECUTION"
    assert (guardrail.response_message or {})["content"] == {"triggered": False}

    before = len(llm_audit_records)
    with pytest.raises(agents.OutputGuardrailTripwireTriggered):
        await agents.Runner.run(
            agents.Agent("much", model=model, output_guardrails=[is_too_much]), "How is it?"
        )
    (tripped,) = [call for call in llm_audit_records[before:] if call.model == "is_too_much"]
    assert (tripped.response_message or {})["content"] == {"triggered": True}
    assert current_context() == CallContext()
