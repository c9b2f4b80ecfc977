"""instructor: each request once, with the response model that is asked for."""

from collections.abc import AsyncIterator
from typing import Any

import pydantic
import pytest

import llm_audit
from llm_audit.context import CallContext, current_context
from llm_audit.testing import RecordedCalls

instructor = pytest.importorskip("instructor")

import openai  # noqa: E402
from instructor.cache import AutoCache  # noqa: E402

from .conftest import PERSON  # noqa: E402

pytestmark = [pytest.mark.usefixtures("instrumented"), pytest.mark.filterwarnings("ignore")]
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Who?"}]}


class Person(pydantic.BaseModel):
    """Whoever."""

    name: str
    age: int


class Old(Person):
    """Whoever is old, as nobody here is; so the answer never fits."""

    age: int = pydantic.Field(gt=100)


@pytest.fixture
def client(provider_url: str) -> Any:
    """Make a client on loopback."""
    return openai.OpenAI(base_url=provider_url, api_key="none", max_retries=0)


@pytest.fixture
async def async_client(provider_url: str) -> AsyncIterator[Any]:
    """Make another one."""
    async with openai.AsyncOpenAI(base_url=provider_url, api_key="none", max_retries=0) as one:
        yield one


async def test_a_call_has_its_response_model(
    client: Any, async_client: Any, llm_audit_records: RecordedCalls
) -> None:
    """By tools and as JSON, sync, async, streamed; of a patched client, too."""
    tools, json = instructor.Mode.TOOLS, instructor.Mode.JSON
    ask = {**ASK, "response_model": Person}

    async def by_tools() -> Any:
        return instructor.from_openai(client).create(**ask)

    async def as_json() -> Any:
        return instructor.from_openai(client, mode=json).chat.completions.create(**ask)

    async def with_completion() -> Any:
        return instructor.from_openai(client).create_with_completion(**ask)[0]

    async def partial() -> Any:
        return [*instructor.from_openai(client).create_partial(**ask)][-1]

    async def awaited() -> Any:
        return await instructor.from_openai(async_client).create(**ask)

    async def awaited_partial() -> Any:
        client = instructor.from_openai(async_client)
        return [piece async for piece in client.create_partial(**ask)][-1]

    async def patched() -> Any:
        return instructor.patch(client, mode=tools).chat.completions.create(**ask)

    ways = (by_tools, as_json, with_completion, partial, awaited, awaited_partial, patched)
    for way in ways:
        before = len(llm_audit_records)
        answer = await way()
        assert (answer.name, answer.age) == (PERSON["name"], PERSON["age"]), way
        (call,) = llm_audit_records[before:]
        assert (call.captured_by, call.status) == ("httpx", "SUCCESS"), way
        known = call.metadata["instructor"]
        assert "Person" in known["response_model"], way
        assert known["mode"] == ("json_mode" if way is as_json else "tool_call"), way
        assert current_context() == CallContext(), way


def test_asking_again_is_another_call_of_the_trace(
    client: Any, llm_audit_records: RecordedCalls
) -> None:
    """As is asked where an answer did not fit."""
    with pytest.raises(Exception, match="100"):
        instructor.from_openai(client).create(**ASK, response_model=Old, max_retries=2)
    first, *others = llm_audit_records
    assert len(others) >= 1
    assert {call.trace_id for call in others} == {first.trace_id}
    assert {call.metadata["instructor"]["response_model"] for call in others} == {"Old"}


def test_an_answer_out_of_the_cache_is_recorded_without_tokens(
    client: Any, llm_audit_records: RecordedCalls
) -> None:
    """Those were counted and paid by the call that had it."""
    asking = instructor.from_openai(client, cache=AutoCache(maxsize=10))
    for _ in range(2):
        assert asking.create(**ASK, response_model=Person).name == "Ada"
    asked, cached = llm_audit_records
    assert (asked.captured_by, asked.total_tokens) == ("httpx", 7)
    assert (cached.captured_by, cached.status) == ("instructor", "SUCCESS")
    assert (cached.model, cached.total_tokens, cached.estimated_cost) == ("gpt-4o", None, 0.0)
    assert cached.metadata["instructor"]["cache_hit"] is True
    assert (cached.response_message or {})["content"]["name"] == "Ada"


def test_uninstrumenting_takes_it_away(client: Any, llm_audit_records: RecordedCalls) -> None:
    """Nothing is recorded any more."""
    llm_audit.uninstrument()
    instructor.from_openai(client).create(**ASK, response_model=Person)
    assert len(llm_audit_records) == 0
