"""Where something was said: every text of a call counts, and nothing else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import plain_answers
import pytest
import pytest_asyncio
from made_up_calls import START, Call, bound, call_id
from pymongo.database import Database

import llm_audit
from llm_audit import LLMCallRepository, embedded, pipelines
from llm_audit.settings import reset_settings
from llm_audit.store.indexes import call_indexes
from llm_audit.testing import in_memory_client

DAY = timedelta(days=1)
DECOMPOSED = "e\u0301cole"

SAID: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Where is order 4711?"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "ORDER 4711 (urgent)"}]}]},
    {"messages": [{"role": "user", "parts": [{"text": "a.b*c"}]}], "system_prompt": "Órder"},
    {"system_prompt": [{"type": "text", "text": "You know order 4711."}]},
    {"input": "order 4711"},
    {"input": ["a", "b", "abbc"]},
    {"response_message": {"role": "assistant", "output": [{"content": [{"text": "order 4711"}]}]}},
    {
        "response_message": {
            "role": "assistant",
            "content": [{"toolUse": {"name": "find", "input": {"order": {"ids": ["order 4711"]}}}}],
        }
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [{"toolResult": {"content": [{"json": {"a": {"b": "order 4711"}}}]}}],
            }
        ]
    },
    {
        "response_message": {
            "content": None,
            "tool_calls": [{"function": {"name": "find", "arguments": '{"id": "order 4711"}'}}],
        }
    },
    {
        "response_message": {"role": "assistant", "content": "Which one?"},
        "other_choices": [{"index": 1, "message": {"role": "assistant", "content": "Order 4711"}}],
    },
    {"metadata": {"note": "order 4711"}, "error_message": "order 4711", "messages": [None, 5, []]},
    {"messages": [{"order 4711": "a key is no text"}], "response_message": None},
    {"input": f"नमस्ते दुनिया, {DECOMPOSED}"},
    {},
]


@pytest.fixture
def said() -> list[Call]:
    """Make up calls, newest first, an hour apart."""
    lot = Random(3)
    return [
        {
            "_id": call_id(START - timedelta(hours=n), lot),
            "status": "SUCCESS",
            "user_id": str(n % 2),
        }
        | call
        for n, call in enumerate(SAID)
    ]


@pytest_asyncio.fixture(autouse=True)
async def calls(
    mongod: embedded.Mongod, database: Database[Call], said: list[Call]
) -> AsyncIterator[None]:
    """Bind LLMCall to the calls."""
    database["llm_calls"].insert_many(said)
    async with bound(mongod.url, database):
        yield


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *(("order 4711", 9), ("Order 4711", 9), ("(URGENT)", 1), ("óRDER", 1), ("find", 2)),
        *(("a.b", 1), ("b*c", 1), (".", 2), ("4711?", 1), ('{"id": ', 1)),
        *(("^", 0), ("\\", 0), ("nowhere", 0)),
    ],
)
async def test_search_finds_every_text(said: list[Call], text: str, count: int) -> None:
    """A text is found wherever it was said, in capitals or not, and as it is."""
    found = await LLMCallRepository.search(text, end_date=START + DAY)
    expected = [call["_id"] for call in said if plain_answers.says(call, text)]

    assert [call.id for call in found] == expected
    assert len(expected) == count
    in_memory = in_memory_client()["app"]["llm_calls"]
    await in_memory.insert_many(said)
    assert await LLMCallRepository(in_memory).search(text, end_date=START + DAY) == found


@pytest.fixture
def every_word(database: Database[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every word be indexed, and searches know it."""
    monkeypatch.setenv("LLM_AUDIT_TEXT_INDEX", "true")
    reset_settings()
    database["llm_calls"].create_indexes(call_indexes(text=True))


@pytest.mark.usefixtures("every_word")
@pytest.mark.parametrize(
    ("text", "count"),
    [
        *(("order 4711", 9), ("Order 4711", 9), ("(URGENT)", 1), ("4711?", 1), ("find", 2)),
        *(("नमस्ते", 1), (DECOMPOSED, 1)),
        *(("ORDER is 4711", 0), ("rder", 0), ("^", 0), ("nowhere", 0)),
    ],
)
async def test_search_in_the_index_finds_whole_words(
    said: list[Call], text: str, count: int
) -> None:
    """With the index no dates are needed, and what was said is found if its words are whole."""
    found = await LLMCallRepository.search(text)
    expected = [call["_id"] for call in said if plain_answers.says(call, text)]

    assert [call.id for call in found] == (expected if count else [])
    assert len(found) == count


@pytest.mark.usefixtures("every_word")
async def test_search_in_the_index_reads_what_has_the_words(database: Database[Call]) -> None:
    """Other calls are not read."""
    stages = pipelines.search("urgent", text_index=True)
    sent = {"aggregate": "llm_calls", "pipeline": stages, "cursor": {}}
    explained = str(database.command("explain", sent, verbosity="executionStats"))

    assert "'indexName': 'every_word'" in explained
    assert "'totalKeysExamined': 1," in explained


@pytest.mark.usefixtures("every_word")
def test_a_call_may_say_that_it_is_in_any_language(database: Database[Call]) -> None:
    """A field `language` of what was sent is not taken for that of the index, and refused."""
    words = {"language": "Klingon", "text": "nuqneH"}
    call = {"_id": "1", "status": "SUCCESS", "messages": [words], "language": {"of": "nobody"}}
    database["llm_calls"].insert_one(call)

    assert database["llm_calls"].find_one({"$text": {"$search": "nuqneh"}}) == call


async def test_search_reads_page_by_page(said: list[Call]) -> None:
    """Pages follow each other as in a list, and filters restrict."""
    dates: Any = {"end_date": START + DAY}
    everything = await LLMCallRepository.search("order 4711", **dates)
    pages = [await LLMCallRepository.search("order 4711", limit=3, **dates)]
    while len(pages[-1]) == 3:
        after = pages[-1][-1].id
        pages.append(await LLMCallRepository.search("order 4711", limit=3, after=after, **dates))
    mine = await LLMCallRepository.search("order 4711", user_id=1, limit=None, **dates)

    assert [call for page in pages for call in page] == everything
    assert mine == [call for call in everything if call.user_id == "1"]
    assert 0 < len(mine) < len(everything)
    assert everything[0].messages == said[0]["messages"]


async def test_search_looks_at_a_week(database: Database[Call]) -> None:
    """By default at the last one, else at that before the end that is given."""
    now, lot = datetime.now(UTC), Random(4)
    ages = [timedelta(minutes=1), 6 * DAY, 8 * DAY]
    ids = [call_id(now - age, lot) for age in ages]
    database["llm_calls"].insert_many(
        {"_id": one, "status": "PENDING", "input": "needle"} for one in ids
    )

    assert [call.id for call in await LLMCallRepository.search("needle")] == ids[:2]
    earlier = await LLMCallRepository.search("needle", end_date=now - 2 * DAY)
    assert [call.id for call in earlier] == ids[1:]
    longer = await LLMCallRepository.search("needle", start_date=now - 30 * DAY)
    assert [call.id for call in longer] == ids


async def test_what_was_not_searched_is_said(database: Database[Call], said: list[Call]) -> None:
    """Content in GridFS is, and older calls where the time was over; what was found counts."""
    calls, end, lot = database["llm_calls"], START + DAY, Random(5)
    whole = await LLMCallRepository.search("order 4711", end_date=end)
    assert whole.not_searched == ()

    calls.update_one({"_id": said[4]["_id"]}, {"$set": {"media": ["0" * 64]}})
    in_gridfs = await LLMCallRepository.search("order 4711", end_date=end)
    assert [call.id for call in in_gridfs] == [call.id for call in whole]
    assert in_gridfs.not_searched == ("1 call has content in GridFS, which is not searched.",)
    other_user = await LLMCallRepository.search("order 4711", end_date=end, user_id="1")
    assert other_user.not_searched == ()

    calls.insert_many(
        {
            "_id": call_id(START - timedelta(days=1, seconds=n), lot),
            "status": "SUCCESS",
            "messages": [[[1]] for _ in range(20_000)],
        }
        for n in range(30)
    )
    llm_audit.configure(query_timeout_seconds=0.05)
    cut_off = await LLMCallRepository.search("order 4711", end_date=end)
    assert cut_off == in_gridfs[: len(cut_off)]
    assert "(query_timeout_seconds): older calls may say it, too." in cut_off.not_searched[0]
