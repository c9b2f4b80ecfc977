"""LiteLLM: each call once, with what LiteLLM was told of it; answers out of its cache too."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import llm_audit
from llm_audit import audit_context
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

from .conftest import ANSWER

pytestmark = [
    pytest.mark.usefixtures("instrumented"),
    pytest.mark.filterwarnings("ignore"),  # it warns of itself when it is imported
]
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import it without a look into the internet; leave its cache off."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    module = pytest.importorskip("litellm")
    yield module
    module.cache = None


@pytest.fixture
def given(provider_url: str) -> dict[str, Any]:
    """Return the arguments of a call."""
    return {
        "model": "openai/gpt-4o",
        "messages": MESSAGES,
        "api_base": provider_url,
        "api_key": "none",
        "metadata": {"tags": ["beta"], "plan": "free", "session_id": "chat-7", "odd": object()},
    }


async def test_a_call_is_recorded_once_with_its_metadata(
    litellm: Any, given: dict[str, Any], llm_audit_records: RecordedCalls
) -> None:
    """Sync, async and streamed; nothing is left in force."""

    async def awaited_stream() -> None:
        async for _ in await litellm.acompletion(**given, stream=True):
            pass

    async def plain() -> None:
        assert litellm.completion(**given).choices[0].message.content == ANSWER

    async def stream() -> None:
        assert list(litellm.completion(**given, stream=True))

    async def awaited() -> None:
        await litellm.acompletion(**given)

    ways: tuple[Callable[[], Any], ...] = (plain, stream, awaited, awaited_stream)
    for ask in ways:
        before = len(llm_audit_records)
        await ask()
        assert current_context() == CallContext(), ask
        (call,) = llm_audit_records[before:]
        assert (call.call_type, call.model, call.status) == ("CHAT", "gpt-4o", "SUCCESS"), ask
        assert call.captured_by in {"httpx", "httpx2", "aiohttp"}, ask
        assert (call.tags, call.session_id) == (["beta"], "chat-7"), ask
        assert set(call.metadata) == {"plan", "session_id", "litellm"}, ask
        assert call.metadata["plan"] == "free", ask


async def test_an_answer_out_of_the_cache_is_recorded_without_tokens(
    litellm: Any,
    given: dict[str, Any],
    llm_audit_records: RecordedCalls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those were counted and paid by the call that had it."""
    # LiteLLM loads its proxy for a hit, and that loads these, one for nothing that is used here
    pytest.importorskip("orjson")
    monkeypatch.setitem(sys.modules, "soundfile", ModuleType("soundfile"))
    litellm.cache = litellm.Cache(type="local")
    with audit_context(user_id="ada"):
        for _ in range(2):
            litellm.completion(**given, caching=True)
        for _ in range(2):
            await litellm.acompletion(**given, caching=True)
            await asyncio.sleep(0)
    asked, *cached = llm_audit_records
    assert asked.total_tokens == 7
    assert cached
    for call in cached:
        if call.captured_by == "litellm":
            assert (call.total_tokens, call.estimated_cost, call.user_id) == (None, 0.0, "ada")
            assert (call.response_message or {})["content"] == ANSWER
            assert call.metadata["litellm"]["cache_hit"] is True
    assert [call.captured_by for call in cached].count("litellm") >= 2


async def test_a_stream_out_of_the_cache_has_its_text(
    litellm: Any, given: dict[str, Any], llm_audit_records: RecordedCalls
) -> None:
    """It is recorded as it is found, whoever reads it then."""
    pytest.importorskip("orjson")
    litellm.cache = litellm.Cache(type="local")
    for _ in range(2):
        assert list(litellm.completion(**given, caching=True, stream=True))
    asked, cached = llm_audit_records
    assert (asked.captured_by, cached.captured_by) == ("httpx", "litellm")
    assert (cached.response_message or {})["content"] == ANSWER
    assert (cached.total_tokens, cached.tags) == (None, ["beta"])


async def test_mocks_are_recorded_once(
    litellm: Any, given: dict[str, Any], llm_audit_records: RecordedCalls
) -> None:
    """They never reach a wire."""
    litellm.completion(**given, mock_response="a mock")
    await litellm.acompletion(**given, mock_response="a mock")
    assert len(llm_audit_records) == 2
    for call in llm_audit_records:
        assert (call.captured_by, call.status, call.tags) == ("litellm", "SUCCESS", ["beta"])
        assert (call.response_message or {})["content"] == "a mock"


async def test_functions_taken_before_pass_on_what_they_know(
    litellm: Any, given: dict[str, Any], llm_audit_records: RecordedCalls
) -> None:
    """`from litellm import completion` may stand above `instrument()`."""
    llm_audit.uninstrument()
    taken, taken_async, taken_embedding = litellm.completion, litellm.acompletion, litellm.embedding
    llm_audit.instrument()
    taken(**given)
    assert list(taken(**given, stream=True))
    await taken_async(**given)
    asked = {name: value for name, value in given.items() if name != "messages"}
    taken_embedding(**{**asked, "model": "openai/text-embedding-3-small"}, input=["hello"])
    kinds = [call.call_type for call in llm_audit_records]
    assert kinds == ["CHAT", "CHAT", "CHAT", "EMBEDDING"]
    for call in llm_audit_records:
        assert (call.tags, call.session_id) == (["beta"], "chat-7")


async def test_each_try_of_another_provider_is_a_call_of_one_trace(
    litellm: Any, given: dict[str, Any], llm_audit_records: RecordedCalls
) -> None:
    """Fallbacks of a call, and of a router."""
    broken = {"model": "openai/broken", "api_key": "none", "api_base": given["api_base"]}
    fine = {**broken, "model": "openai/gpt-4o"}
    router = litellm.Router(
        model_list=[
            {"model_name": "first", "litellm_params": broken},
            {"model_name": "second", "litellm_params": fine},
        ],
        fallbacks=[{"first": ["second"]}],
        num_retries=0,
    )
    by_router = {"model": "first", "messages": MESSAGES, "metadata": {"tags": ["beta"]}}
    by_call = {**given, "model": "openai/broken", "num_retries": 0, "max_retries": 0}

    async def routed() -> None:
        router.completion(**by_router)

    async def routed_async() -> None:
        await router.acompletion(**by_router)

    async def called() -> None:
        litellm.completion(**by_call, fallbacks=["openai/gpt-4o"])

    async def called_async() -> None:
        await litellm.acompletion(**by_call, fallbacks=["openai/gpt-4o"])

    for ask in (routed, routed_async, called, called_async):
        before = len(llm_audit_records)
        await ask()
        calls = llm_audit_records[before:]
        ends = [(call.model, call.status) for call in calls]
        assert ends == [("broken", "ERROR"), ("gpt-4o", "SUCCESS")], ask
        assert len({call.trace_id for call in calls}) == 1, ask
        assert [call.tags for call in calls] == [["beta"], ["beta"]], ask
        assert current_context() == CallContext(), ask
    assert len({call.trace_id for call in llm_audit_records}) == 4
    (group,) = {call.metadata["litellm"].get("model_group") for call in llm_audit_records[:1]}
    assert group == "first"


def test_uninstrumenting_takes_it_away(
    litellm: Any, given: dict[str, Any], llm_audit_records: RecordedCalls
) -> None:
    """Its functions are the same objects all the time."""
    ours = litellm.completion
    llm_audit.uninstrument()
    assert litellm.completion is ours
    litellm.completion(**given)
    assert len(llm_audit_records) == 0
