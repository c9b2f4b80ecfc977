"""Frameworks of which nothing is known: each request that they send is one call, word for word."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from replay import bodies as b
from replay.server import ReplayServer

from llm_audit import audit_context
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

from .conftest import ANSWER, WAITS

pytestmark = [pytest.mark.usefixtures("instrumented"), pytest.mark.filterwarnings("ignore")]
KEY = "none"


@pytest.fixture(autouse=True)
def no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody report to their makers, nor look for prices."""
    for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "OTEL_SDK_DISABLED"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")


def by_autogen(url: str) -> Any:
    """An agent of AutoGen's."""
    agents = pytest.importorskip("autogen_agentchat.agents")
    models = pytest.importorskip("autogen_ext.models.openai")

    async def run() -> Any:
        client = models.OpenAIChatCompletionClient(model="gpt-4o", base_url=url, api_key=KEY)
        result = await agents.AssistantAgent("forecast", client).run(task="hello")
        await client.close()
        return result.messages[-1].content

    return asyncio.run(run())


def by_dspy(url: str) -> Any:
    """A model of DSPy's, which has a transport of its own."""
    dspy = pytest.importorskip("dspy")
    (answer,) = dspy.LM("openai/gpt-4o", api_base=url, api_key=KEY, cache=False)("hello")
    return answer


def by_dspy_async(url: str) -> Any:
    """The same awaited."""
    dspy = pytest.importorskip("dspy")
    model = dspy.LM("openai/gpt-4o", api_base=url, api_key=KEY, cache=False)
    (answer,) = asyncio.run(model.acall("hello"))
    return answer


def by_dspy_on_litellm(url: str) -> Any:
    """The same by LiteLLM, as it was."""
    dspy = pytest.importorskip("dspy")
    given = {"api_base": url, "api_key": KEY, "cache": False}
    (answer,) = dspy.LM("openai/gpt-4o", engine="litellm", **given)("hello")
    return answer


def by_haystack(url: str) -> Any:
    """A pipeline of Haystack's."""
    haystack = pytest.importorskip("haystack")
    chat = pytest.importorskip("haystack.components.generators.chat")
    secret = pytest.importorskip("haystack.utils").Secret.from_token(KEY)
    message = pytest.importorskip("haystack.dataclasses").ChatMessage.from_user("hello")
    pipeline = haystack.Pipeline()
    generator = chat.OpenAIChatGenerator(api_key=secret, api_base_url=url, model="gpt-4o")
    pipeline.add_component("llm", generator)
    return pipeline.run({"llm": {"messages": [message]}})["llm"]["replies"][0].text


def by_semantic_kernel(url: str) -> Any:
    """An agent of Semantic Kernel's."""
    agents = pytest.importorskip("semantic_kernel.agents")
    services = pytest.importorskip("semantic_kernel.connectors.ai.open_ai")
    openai = pytest.importorskip("openai")

    async def run() -> Any:
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
            service = services.OpenAIChatCompletion(ai_model_id="gpt-4o", async_client=client)
            agent = agents.ChatCompletionAgent(service=service, name="forecast")
            return str((await agent.get_response(messages="hello")).message.content)

    return asyncio.run(run())


def by_smolagents(url: str) -> Any:
    """A model of smolagents'."""
    smolagents = pytest.importorskip("smolagents")
    model = smolagents.OpenAIServerModel("gpt-4o", api_base=url, api_key=KEY)
    return model([{"role": "user", "content": [{"type": "text", "text": "hello"}]}]).content


def by_strands(url: str) -> Any:
    """An agent of Strands', which streams."""
    strands = pytest.importorskip("strands")
    models = pytest.importorskip("strands.models.openai")
    given = {"base_url": url, "api_key": KEY}
    model = models.OpenAIModel(client_args=given, model_id="gpt-4o")
    return str(strands.Agent(model=model, callback_handler=None)("hello")).strip()


WAYS = (
    by_autogen,
    by_dspy,
    by_dspy_async,
    by_dspy_on_litellm,
    by_haystack,
    by_semantic_kernel,
    by_smolagents,
    by_strands,
)


@pytest.mark.parametrize("ask", WAYS)
def test_a_call_is_recorded_once_word_for_word(
    ask: Callable[[str], Any],
    provider_url: str,
    exchanged: list[tuple[dict[str, Any], dict[str, Any]]],
    llm_audit_records: RecordedCalls,
) -> None:
    """Also from threads and event loops that they start: the app's context is around it."""
    with audit_context(user_id="ada", tags=["app"]):
        assert ask(provider_url) == ANSWER
    assert current_context() == CallContext()
    (call,) = llm_audit_records
    assert (call.api, call.status, call.model) == ("openai.chat", "SUCCESS", "gpt-4o")
    assert (call.user_id, call.tags) == ("ada", ["app"])
    assert (call.response_message or {})["content"] == ANSWER
    for request, answer in exchanged:  # a stream is put together elsewhere
        assert call.messages == request["messages"]
        assert call.response_message == answer["choices"][0]["message"]
        assert call.total_tokens == answer["usage"]["total_tokens"]


def test_google_adk(llm_audit_records: RecordedCalls) -> None:
    """An agent of Google's kit, which asks by google-genai."""
    agents = pytest.importorskip("google.adk.agents")
    models = pytest.importorskip("google.adk.models")
    runners = pytest.importorskip("google.adk.runners")
    types = pytest.importorskip("google.genai.types")

    async def run(url: str) -> list[str]:
        model = models.Gemini(model="gemini-2.5-flash", base_url=url)
        runner = runners.InMemoryRunner(agents.Agent(name="forecast", model=model), app_name="app")
        session = await runner.session_service.create_session(app_name="app", user_id="u")
        message = types.Content(role="user", parts=[types.Part(text="hello")])
        asked = runner.run_async(user_id="u", session_id=session.id, new_message=message)
        return [event.content.parts[0].text async for event in asked]

    with ReplayServer() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("GOOGLE_API_KEY", KEY)
        server.play(b.GEMINI)
        with audit_context(user_id="ada"):
            assert asyncio.run(run(server.url))
    (call,) = llm_audit_records
    assert (call.api, call.status, call.user_id) == ("google.generate_content", "SUCCESS", "ada")


def test_a_stream_of_dspys_and_what_fails(
    provider_url: str, llm_audit_records: RecordedCalls
) -> None:
    """Streams that are left, and answers that are errors, say so."""
    dspy = pytest.importorskip("dspy")
    pytest.importorskip("dspy.lm15")

    def model(url: str) -> Any:
        return dspy.LM("openai/gpt-4o", api_base=url, api_key=KEY, cache=False, num_retries=0)

    program = dspy.streamify(
        dspy.Predict("question -> answer"),
        stream_listeners=[dspy.streaming.StreamListener("answer")],
        async_streaming=False,
    )
    using = dspy.context(lm=model(provider_url), adapter=dspy.ChatAdapter())
    with using, pytest.raises(Exception, match=r"(?i)adapter"):  # the answer is not as it asks
        for _ in program(question="hello"):
            pass
    assert llm_audit_records[0].status == "SUCCESS"
    assert llm_audit_records[0].captured_by == "dspy"

    before = len(llm_audit_records)
    with pytest.raises(Exception, match="broken"):
        model(f"{provider_url}/broken")("hello")
    (call,) = llm_audit_records[before:]
    assert (call.status, call.captured_by) == ("ERROR", "dspy")

    async def cancelled() -> None:
        task = asyncio.create_task(model(provider_url).acall(WAITS))
        while len(llm_audit_records) < before + 2:  # noqa: ASYNC110  (a journal, not an event)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert llm_audit_records[-1].status == "CANCELLED"
