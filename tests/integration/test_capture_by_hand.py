"""A call that the app records by hand is not recorded again by capture."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pages import EXAMPLES, run_page
from pymongo.database import Database
from scripted_provider import STREAM, Provider, captured_provider

import llm_audit
from llm_audit import LLMCallTypeEnum, LLMLogger, embedded
from llm_audit.demo import provider as demo_provider
from llm_audit.recorder.captured import Captured
from llm_audit.settings import reset_settings
from llm_audit.testing import RecordedCalls

celery_hooks = pytest.importorskip("celery_hooks")
celery_state = pytest.importorskip("celery._state")

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
# of one run only
RUNS_OWN = (
    *("_id", "created_at", "completed_at", "latency_ms", "outcome_key", "process_nonce"),
    *("trace_id", "session_id", "user_id", "parent_call_id", "review_id", "task_id", "task"),
    *("response_id", "response_extra", "metadata", "error_traceback"),
)


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_the_examples_give_the_same_documents(
    page: Path,
    mongod: embedded.Mongod,
    database: Database[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With instrument() and without it, each example leaves the same calls."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", mongod.url)
    monkeypatch.setenv("LLM_AUDIT_DATABASE", database.name)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("LLM_AUDIT_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("LLM_AUDIT_STRICT", "true")
    found = []
    for instrumented in (False, True):
        monkeypatch.setattr(celery_state, "_on_app_finalizers", set())
        reset_settings()
        if instrumented:
            llm_audit.instrument()
        with demo_provider.serve() as url:
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            run_page(page)
        celery_hooks.uninstall()
        stats = llm_audit.stats()
        llm_audit.uninstrument()
        assert llm_audit.shutdown(timeout_seconds=30)
        calls = database["llm_calls"]
        found.append(
            [
                {name: value for name, value in call.items() if name not in RUNS_OWN}
                for call in calls.find().sort("_id", 1)
            ]
        )
        calls.delete_many({})
        assert stats.get("capture_faults", 0) == 0
    without, with_us = found

    assert with_us == without
    assert without or page.stem.startswith("8")


@pytest.fixture
def client(llm_audit_records: RecordedCalls) -> Iterator[tuple[openai.OpenAI, Provider]]:
    """Give a client, and the provider that it asks."""
    assert len(llm_audit_records) == 0
    with (
        captured_provider() as provider,
        openai.OpenAI(api_key="sk-1", base_url=f"{provider.url}/v1", max_retries=2) as made,
    ):
        yield made, provider


def test_an_open_call_stands_for_its_request(
    client: tuple[openai.OpenAI, Provider], llm_audit_records: RecordedCalls
) -> None:
    """For one that is answered, however often it is tried; what is asked then is another call."""
    made, provider = client
    before = Captured.counts.by_hand

    def ask(model: str = "gpt-5", **given: Any) -> Any:
        return made.chat.completions.create(model=model, messages=MESSAGES, **given)

    def count() -> int:
        return len(llm_audit_records)

    with LLMLogger.log_call(model="openai/gpt-5", messages=MESSAGES) as call_id:
        provider.refuse(429, retry_after_ms="1")
        ask()
        assert count() == 1
        ask()  # the tool's answer, say
        assert count() == 2
        ask("text-embedding")
        assert count() == 3
        LLMLogger.complete(call_id)
        ask()
        assert count() == 4
    assert {call.parent_call_id for call in llm_audit_records[1:]} == {call_id}
    call_id = LLMLogger.start(model="gpt-5", messages=MESSAGES)
    provider.stream(STREAM)
    list(ask(stream=True))
    LLMLogger.complete(call_id)
    assert count() == 5
    ask()
    assert count() == 6
    with LLMLogger.log_call(call_type=LLMCallTypeEnum.AGENT, model="gpt-5"):
        ask()
        ask()
    assert count() == 9
    assert Captured.counts.by_hand - before == 3


def test_an_open_call_of_another_task_stands_for_nothing(
    client: tuple[openai.OpenAI, Provider], llm_audit_records: RecordedCalls
) -> None:
    """Calls by hand and captured ones run beside each other; each by hand is for one request."""
    _, provider = client

    async def by_hand(made: openai.AsyncOpenAI) -> None:
        call_id = await LLMLogger.start(model="gpt-5", messages=MESSAGES)
        await made.chat.completions.create(model="gpt-5", messages=MESSAGES)
        await LLMLogger.complete(call_id)

    async def captured(made: openai.AsyncOpenAI) -> None:
        await made.chat.completions.create(model="gpt-5", messages=MESSAGES)

    async def run() -> None:
        async with openai.AsyncOpenAI(api_key="sk-1", base_url=f"{provider.url}/v1") as made:
            await asyncio.gather(*(work(made) for work in (by_hand, captured) * 5))

    async def fan_out() -> None:
        async with (
            openai.AsyncOpenAI(api_key="sk-1", base_url=f"{provider.url}/v1") as made,
            LLMLogger.log_call(model="gpt-5", messages=MESSAGES) as call_id,
        ):
            await asyncio.gather(*(captured(made) for _ in range(3)))
            await LLMLogger.complete(call_id)

    asyncio.run(fan_out())
    assert [call.captured_by for call in llm_audit_records] == [None, "httpx2", "httpx2"]
    asyncio.run(run())
    by = [call.captured_by for call in llm_audit_records]
    assert (by.count(None), by.count("httpx2")) == (6, 7)
