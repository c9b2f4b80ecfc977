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
        assert call.metadata == {"plan": "free", "session_id": "chat-7"}, ask


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


def test_uninstrumenting_takes_it_away(
    litellm: Any, given: dict[str, Any], llm_audit_records: RecordedCalls
) -> None:
    """Functions of the module are then its own again."""
    ours = litellm.completion
    llm_audit.uninstrument()
    assert litellm.completion is not ours
    assert litellm.completion.__module__.startswith("litellm")
    litellm.completion(**given)
    assert len(llm_audit_records) == 0
